"""Autoregressive models: an example is written place by place, each given all before it.

    log p(x) = sum_i log p(x_i | x_1, ..., x_{i-1})                                             (1)

in raster order, exactly: rows from the top, in each from the left, the last axis (the channels of a
picture, the depth of a code) fastest. Each factor is a softmax over K integers. These may be the
codes of a first stage, whose prior (1) then is (families/latent.py; van den Oord et al. 2017,
arXiv:1711.00937, section 3.3), or the levels of a picture (van den Oord et al. 2016,
arXiv:1601.06759). What is minimised is the mean of -log p(x), in nats per example.

Sampling draws place after place with the network's memory of those before it. A temperature T
divides the logits: T < 1 prefers what is likely, and is then no longer p.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import conditioning


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoregressive:
  """One group, "network".

  network: module (tokens [B, L], cond) -> logits [B, L, K], causal, with the `memory` and `step` of
    networks/transformer.py.
  temperature: T of the samples.
  Raises UserError for data that are neither integers nor on levels, and for another network.
  """

  spec: core.DataSpec
  network: core.Network
  temperature: core.Positive = 1.0
  discrete = True  # a prior of integers
  view = ("temperature",)
  pretrained = ()

  def __post_init__(self):
    if not self.spec.levels or (self.spec.kind != "tokens" and not self.spec.range):
      raise core.UserError("autoregressive: needs integers or data on levels, not real numbers")
    if not hasattr(self.network, "step"):
      raise core.UserError(
        "network: it must not see what it is asked for, and write it place by place; "
        "use network 'transformer'"
      )

  @property
  def conditions(self) -> tuple[str, ...]:
    return conditioning.names(self.network.conditions)

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (core.Objective("network", ("network",), self.loss),)

  def init(self, key, batch, loaded):
    args = self.tokens(batch["x"]), core.given(self, batch)
    params, own = loaded.get("network") or core.init(self.network, key, *args)
    return {"network": params}, {"network": own}

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def loss(self, params, buffers, batch, key, step):
    """The mean of -log p(x), nats per example."""
    log_p, buffers = self._terms(params, buffers, batch, train=True, key=key)
    nats = -jnp.mean(jnp.sum(log_p, axis=1))
    return nats, (buffers, {"nats_per_token": -jnp.mean(log_p)})

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    given = self.spec.suffix(self.conditions)
    return {f"chain-rule{given}": core.Likelihood(core.EXACT, self.log_prob)}

  def log_prob(self, params, buffers, batch, key):
    """Equation (1): [B] nats."""
    return jnp.sum(self._terms(params, buffers, batch)[0], axis=1)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event]."""
    return self.event(self._draw(params, buffers, keys, cond))

  def trajectory(self, params, buffers, keys, cond, frames):
    """The same while they are written, [frames, N, *event]; what is not yet there is at level 0."""
    tokens = self._draw(params, buffers, keys, cond)
    done = jnp.arange(1, frames + 1) * tokens.shape[1] // frames
    there = jnp.arange(tokens.shape[1]) < done[:, None, None]
    return jax.vmap(self.event)(jnp.where(there, tokens, 0))

  def tokens(self, x: jax.Array) -> jax.Array:
    """x [B, *event] -> int32 [B, L]: integers as they are, pictures as the numbers of levels."""
    x = x.reshape(len(x), -1)
    if self.spec.kind == "tokens":
      return x
    level = jnp.round((x - self.spec.range[0]) / self.spec.level_width)
    # What is not a number is no level: K, whose probability is not a number, so training halts.
    return jnp.where(jnp.isnan(level), self.spec.levels, level).astype(jnp.int32)

  def event(self, tokens: jax.Array) -> jax.Array:
    """The inverse of `tokens`."""
    x = tokens.reshape(len(tokens), *self.spec.shape)
    if self.spec.kind == "tokens":
      return x
    return self.spec.range[0] + self.spec.level_width * x.astype(jnp.float32)

  def _terms(self, params, buffers, batch, **training):
    """(the terms of (1) [B, L], buffers)."""
    tokens = self.tokens(batch["x"])
    args = self.network, "network", params, buffers, tokens, core.given(self, batch)
    logits, buffers = core.call(*args, **training)
    log_p = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0], buffers

  def _draw(self, params, buffers, keys, cond):
    """Integers [N, L], place i with keys folded by i."""

    def write(carry, i):
      memory, token = carry
      args = self.network, "network", params, buffers, memory, token, i, cond
      (logits, memory), _ = core.call(*args, method="step")
      now = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
      token = jax.vmap(jax.random.categorical)(now, logits / self.temperature).astype(jnp.int32)
      return (memory, token), token

    start = self.network.memory(len(keys)), jnp.zeros(len(keys), jnp.int32)
    places = jnp.arange(math.prod(self.spec.shape))
    return jax.lax.scan(write, start, places)[1].T
