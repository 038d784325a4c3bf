"""Autoregressive models: an example is written one place at a time, each given all places before.

    log p(x) = sum_i log p(x_i | x_1, ..., x_{i-1})                                             (1)

This is exact. The places are in raster order: rows from the top, columns from the left, and the
last axis (the channels of a picture, the depth of a code) fastest. Each factor is a softmax over K
integers, which are one of two things:

    the codes of a first stage, of which (1) is then the prior (families/latent/latent.py;
                                van den Oord et al. 2017, arXiv:1711.00937, section 3.3)
    the levels of a picture     (van den Oord et al. 2016, arXiv:1601.06759)

Training minimises the mean of -log p(x), in nats per example.

Sampling draws one place after the other; the network keeps a memory of the places before, so that
no place is computed twice. A temperature T divides the logits. T < 1 favours likely values, and the
samples are then no longer distributed as p.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import conditioning


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoregressive:
  """Autoregressive model with one parameter group, "network".

  network: causal module (tokens [B, L], cond) -> logits [B, L, K], where logits i depend on tokens
    before i only. Sampling needs its methods `memory` and `step`, see networks/transformer.py.
  temperature: T of the samples.

  Raises UserError for data that are neither integers nor on levels, and for a network without
  `step`.
  """

  spec: core.DataSpec
  network: core.Network
  temperature: core.Positive = 1.0
  # Models integers, so it can be the prior of integer codes.
  discrete = True
  # Fields that may be changed after training.
  view = ("temperature",)
  pretrained = ()

  def __post_init__(self):
    if not self.spec.levels or (self.spec.kind != "tokens" and not self.spec.range):
      raise core.UserError("autoregressive: needs integers or data on levels, not real numbers")
    if not hasattr(self.network, "step"):
      raise core.UserError(
        "network: an autoregressive model needs a causal network that can write place by place; "
        "use network 'transformer'"
      )

  @property
  def conditions(self) -> tuple[str, ...]:
    """The names of the fields that the network is told."""
    return conditioning.names(self.network.conditions)

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """One objective: the negative log-likelihood."""
    return (core.Objective("network", ("network",), self.loss),)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns new or loaded parameters of the network, and its collections."""
    args = self.tokens(batch["x"]), core.given(self, batch)
    params, own = loaded.get("network") or core.init(self.network, key, *args)
    return {"network": params}, {"network": own}

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Changes nothing: all parameters are trained by gradients."""
    return params, buffers, {}

  def loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns the mean of -log p(x), in nats per example; logs it per token as well."""
    log_p, buffers = self._terms(params, buffers, batch, train=True, key=key)
    nats = -jnp.mean(jnp.sum(log_p, axis=1))
    return nats, (buffers, {"nats_per_token": -jnp.mean(log_p)})

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """The exact log-likelihood, "chain-rule"."""
    given = self.spec.suffix(self.conditions)
    return {f"chain-rule{given}": core.Likelihood(core.EXACT, self.log_prob)}

  def log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns log p(x) of equation (1), [B] nats."""
    return jnp.sum(self._terms(params, buffers, batch)[0], axis=1)

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event], one example for each of keys [N]."""
    return self.event(self._draw(params, buffers, keys, cond))

  def trajectory(
    self,
    params: core.Params,
    buffers: core.Buffers,
    keys: jax.Array,
    cond: core.Batch,
    frames: int,
  ) -> jax.Array:
    """Returns the samples while they are written, [frames, N, *event].

    The last frame is complete. Places that are not written yet are shown as integer 0, which for
    pictures is the lowest level.
    """
    tokens = self._draw(params, buffers, keys, cond)
    # How many places are written in each frame.
    done = jnp.arange(1, frames + 1) * tokens.shape[1] // frames
    there = jnp.arange(tokens.shape[1]) < done[:, None, None]  # [frames, 1, L]
    return jax.vmap(self.event)(jnp.where(there, tokens, 0))

  def tokens(self, x: jax.Array) -> jax.Array:
    """Returns x [B, *event] as int32 [B, L]: integers unchanged, pictures as numbers of levels."""
    x = x.reshape(len(x), -1)
    if self.spec.kind == "tokens":
      return x

    level = jnp.round((x - self.spec.range[0]) / self.spec.level_width)
    # NaN becomes K, an integer out of range: its log-probability is NaN, and so training halts.
    return jnp.where(jnp.isnan(level), self.spec.levels, level).astype(jnp.int32)

  def event(self, tokens: jax.Array) -> jax.Array:
    """Returns the x [B, *event] that int32 [B, L] stand for, the inverse of `tokens`."""
    x = tokens.reshape(len(tokens), *self.spec.shape)
    if self.spec.kind == "tokens":
      return x
    return self.spec.range[0] + self.spec.level_width * x.astype(jnp.float32)

  def _terms(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, **training: Any
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (the terms of the sum (1) [B, L], buffers)."""
    tokens = self.tokens(batch["x"])
    args = self.network, "network", params, buffers, tokens, core.given(self, batch)
    logits, buffers = core.call(*args, **training)

    log_p = jax.nn.log_softmax(logits)  # [B, L, K]
    # The log-probability of the integer that is there, [B, L].
    return jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0], buffers

  def _draw(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws int32 [N, L]; place i of example n uses the key fold_in(keys[n], i)."""

    def write(carry, i):
      memory, token = carry
      args = self.network, "network", params, buffers, memory, token, i, cond
      (logits, memory), _ = core.call(*args, method="step")

      # Every example has a key of its own at every place, so no draw depends on the batch.
      now = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
      token = jax.vmap(jax.random.categorical)(now, logits / self.temperature).astype(jnp.int32)
      return (memory, token), token

    # The token before place 0 is a dummy: the network does not read it.
    start = self.network.memory(len(keys)), jnp.zeros(len(keys), jnp.int32)
    places = jnp.arange(math.prod(self.spec.shape))
    return jax.lax.scan(write, start, places)[1].T
