"""Diffusion with variational dequantization: learnt noise between the grey levels of the data.

Data on levels of width w have a probability P, a model has a density p. For noise u in
(-w/2, w/2)^D of any density q(u | x), the density bounds the probability (Ho et al. 2019,
arXiv:1902.00275, section 3.1):

    log P(x) = log integral p(x + u) du  >=  E_q[log p(x + u) - log q(u | x)]               (1)

The simplest q is uniform noise. The bound is then tight only for a density that is flat between the
levels, and a denoiser that has only seen data on the levels does not have such a density. Here q is
learnt by ascent of (1). In training, log p is replaced by the variational bound of
samplers/likelihood.py, as in Song et al. 2021, arXiv:2101.09258, section 5.3:

    u = w (S(l1) - 1/2),   l1 = m(x) + e^{s(x)} l0,   l0 logistic                             (2)
    log q(u | x) = sum [ log S'(l0) - s - log S'(l1) - log w ]

with the logistic function S. At m = s = 0 the noise is uniform, and a network whose last layer
starts at zero begins there.

Two groups are trained: "denoiser" as in diffusion.py, and "dequantizer" on every fourth step. The
objective of the dequantizer does not train the denoiser.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import diffusion
from genjax.samplers import likelihood

# The dequantizer is trained on every step of this number.
EVERY = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dequantized(diffusion.Diffusion):
  """A diffusion model with the groups of diffusion.py and the group "dequantizer".

  dequantizer: module (x [B, *event], 0 [B], cond) -> m and s of (2), x's shape with twice the
    channels.
  Raises UserError for data without levels, and where Diffusion does.
  """

  dequantizer: core.Network

  def _conflicts(self) -> list[tuple[bool, str]]:
    return [
      *super()._conflicts(),
      (not self.spec.levels, "dequantized: these data have no levels; use model 'diffusion'"),
    ]

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """The loss of the denoiser, and on every fourth step the gap of the dequantizer."""
    due = core.Every(EVERY)
    return (
      *super().objectives,
      core.Objective("dequantizer", ("dequantizer",), self.gap, due),
    )

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict
  ) -> tuple[core.Params, core.Buffers]:
    """Returns initial params and buffers of all groups."""
    params, buffers = super().init(key, batch, loaded)
    # The network takes a time, which means nothing here.
    args = batch["x"], jnp.zeros(len(batch["x"])), core.given(self, batch)
    new = loaded.get("dequantizer") or core.init(self.dequantizer, key, *args)
    params["dequantizer"], buffers["dequantizer"] = new
    return params, buffers

  def gap(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns minus the bound (1) in nats per dimension, the mean over the batch."""
    noise, along, dropout = jax.random.split(key, 3)
    y, nats, buffers = self.noisy(params, buffers, batch, noise, train=True, key=dropout)

    # The variational bound at y, at one time for each example.
    bound = likelihood.Bound(terms=1)
    field = self._believed(params, buffers, batch)
    density = bound.parts(field, self.process, y, along, self._continuous)  # {term: [B]}

    # Equation (1), [B]; `nats` is -log q.
    total = sum(density.values()) + nats
    return -jnp.mean(total) / y[0].size, (buffers, {"entropy": jnp.mean(nats) / y[0].size})

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """The likelihoods of diffusion.py, and one along the flow with the noise of (2), if any."""
    known = super().likelihoods
    if not known:
      return {}
    learnt = core.Likelihood(core.LOWER_BOUND, self.dequantized_log_prob)
    return {**known, f"flow-dequantized{self.suffix}": learnt}

  def dequantized_log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns the bound (1) with log p along the probability flow, [B] nats."""
    noise, trace = jax.random.split(key)
    y, nats, _ = self.noisy(params, buffers, batch, noise)
    return self._flow(params, buffers, batch, y, trace) + nats

  def noisy(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    noise_key: jax.Array,
    **training: Any,
  ) -> tuple[jax.Array, jax.Array, core.Buffers]:
    """Draws the noise (2) and returns (x + u [B, *event], -log q(u | x) [B], buffers).

    training: `train` and the dropout `key` of core.call.
    """
    x = batch["x"]
    width = self.spec.level_width
    args = params, buffers, x, jnp.zeros(len(x)), core.given(self, batch)
    out, buffers = core.call(self.dequantizer, "dequantizer", *args, **training)
    m, s = jnp.split(out.reshape(*x.shape[:-1], 2 * x.shape[-1]), 2, axis=-1)  # [B, *event]

    # Equation (2); log_q holds the summands of log q(u | x), [B, *event].
    l0 = jax.random.logistic(noise_key, x.shape)
    l1 = m + jnp.exp(s) * l0
    log_q = _log_slope(l0) - s - _log_slope(l1) - jnp.log(width)
    u = width * (jax.nn.sigmoid(l1) - 0.5)
    return x + u, -jnp.sum(log_q.reshape(len(x), -1), axis=1), buffers

  @property
  def _continuous(self) -> core.DataSpec:
    """What the data are once noise has been added: no longer on levels."""
    return dataclasses.replace(self.spec, levels=None)


def _log_slope(a: jax.Array) -> jax.Array:
  """Returns log S'(a), where S'(a) = S(a) S(-a)."""
  return -jax.nn.softplus(a) - jax.nn.softplus(-a)
