"""Diffusion with variational dequantization: noise on the data's levels that is learnt.

A density p bounds the probability of data on levels of width w. For any noise u in (-w/2, w/2)^D
with density q(u | x) (Ho et al. 2019, arXiv:1902.00275, section 3.1),

    log P(x) = log integral p(x + u) du  >=  E_q[log p(x + u) - log q(u | x)]               (1)

Uniform noise is the simplest q. It asks for an even density between the levels, which a denoiser
that has seen only data on them does not have; here q is learnt by ascent of (1), with the
variational bound of samplers/likelihood.py in the place of log p (as Song et al. 2021,
arXiv:2101.09258, section 5.3):

    u = w (S(l1) - 1/2),   l1 = m(x) + e^{s(x)} l0,   l0 logistic                             (2)
    log q(u | x) = sum [ log S'(l0) - s - log S'(l1) - log w ]

with the logistic function S: uniform noise at m = s = 0, where a network whose last layer starts at
zero begins. Two groups are trained: "denoiser" as in diffusion.py and "dequantizer", on every
fourth step; the denoiser does not feel it.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import diffusion
from genjax.samplers import likelihood

EVERY = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dequantized(diffusion.Diffusion):
  """Groups of diffusion.py, and "dequantizer".

  dequantizer: module (x, 0, cond) -> [B, *event] of twice the channels, m and s of (2).
  """

  dequantizer: core.Network

  def _conflicts(self):
    return [
      *super()._conflicts(),
      (not self.spec.levels, "dequantized: these data have no levels; use model 'diffusion'"),
    ]

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    due = core.every(EVERY)
    return (
      *super().objectives,
      core.Objective("dequantizer", ("dequantizer",), self.gap, due),
    )

  def init(self, key, batch, loaded):
    params, buffers = super().init(key, batch, loaded)
    args = batch["x"], jnp.zeros(len(batch["x"])), core.given(self, batch)
    new = loaded.get("dequantizer") or core.init(self.dequantizer, key, *args)
    params["dequantizer"], buffers["dequantizer"] = new
    return params, buffers

  def gap(self, params, buffers, batch, key, step):
    """Minus (1), nats per dimension, mean over the batch."""
    noise, along, dropout = jax.random.split(key, 3)
    y, nats, buffers = self.noisy(params, buffers, batch, noise, train=True, key=dropout)
    density = likelihood.Bound(terms=1).parts(
      self._believed(params, buffers, batch), self.process, y, along, self._continuous
    )
    total = sum(density.values()) + nats
    return -jnp.mean(total) / y[0].size, (buffers, {"entropy": jnp.mean(nats) / y[0].size})

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """Those of diffusion.py, and along the flow with the noise of (2)."""
    learnt = core.Likelihood(core.LOWER_BOUND, self.dequantized_log_prob)
    return {**super().likelihoods, f"flow-dequantized{self.suffix}": learnt}

  def dequantized_log_prob(self, params, buffers, batch, key):
    """[B] nats, (1) along the probability flow."""
    noise, trace = jax.random.split(key)
    y, nats, _ = self.noisy(params, buffers, batch, noise)
    return self._flow(params, buffers, batch, y, trace) + nats

  def noisy(self, params, buffers, batch, noise_key, **training):
    """(x + u [B, *event], -log q [B], buffers)."""
    x, width = batch["x"], self.spec.level_width
    args = params, buffers, x, jnp.zeros(len(x)), core.given(self, batch)
    out, buffers = core.call(self.dequantizer, "dequantizer", *args, **training)
    m, s = jnp.split(out.reshape(*x.shape[:-1], 2 * x.shape[-1]), 2, axis=-1)
    l0 = jax.random.logistic(noise_key, x.shape)
    l1 = m + jnp.exp(s) * l0
    log_q = _log_slope(l0) - s - _log_slope(l1) - jnp.log(width)
    u = width * (jax.nn.sigmoid(l1) - 0.5)
    return x + u, -jnp.sum(log_q.reshape(len(x), -1), axis=1), buffers

  @property
  def _continuous(self):
    return dataclasses.replace(self.spec, levels=None)


def _log_slope(a):
  """log S'(a)."""
  return -jax.nn.softplus(a) - jax.nn.softplus(-a)
