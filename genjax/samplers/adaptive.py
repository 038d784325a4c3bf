"""Runge-Kutta methods that choose their own steps along the probability flow, by diffrax.

Divide xt = alpha x0 + sigma eps by alpha + sigma and take tau = sigma / (alpha + sigma) for time:
whatever the process, the flow is then that of straight paths,

    y = (1 - tau) x0 + tau eps,      dy/dtau = eps - x0,                                     (1)

finite also at pure noise (tau = 1). Each interval of the grid is crossed by steps of an embedded
pair, whose two results differ by `error`; a step is taken if the mean square over an example of

    error / (atol + rtol max(|y before|, |y after|))                                         (2)

is at most 1 (Song et al. 2021, arXiv:2011.13456, section 4.3, with Dormand & Prince's pair).

A field is asked for all examples at one time, but sample i must not depend on the others. So steps
are halves of halves of the interval: at the earliest place where any example is, those that are
there try the longest such step that starts there, and those for which (2) is too large try its
half, and so on; the others wait. Where an example goes is up to its own errors alone; how many
evaluations there are, to the example that asks for most. Steps of 1/4096 are taken in any case.

Within an interval `memory` stays as it was at its start; the evaluation at its end renews it. The
interval to sigma = 0 is integrated to the smallest time of training, from which x0 is returned.
"""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp

from genjax import core
from genjax.samplers import grids, solvers

PARTS = 4096  # an interval's smallest step is 1/PARTS
METHODS = {"tsit5": "Tsit5", "dopri5": "Dopri5", "dopri8": "Dopri8", "bosh3": "Bosh3"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptive(solvers.Memoryless):
  """steps: intervals at which it surely stops. method: a name in METHODS, as diffrax has it."""

  steps: core.Size = 5
  method: str = "tsit5"
  rtol: core.Positive = 1e-3
  atol: core.Positive = 1e-3
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.method not in METHODS:
      raise core.unknown("method", self.method, METHODS)
    if importlib.util.find_spec("diffrax") is None:
      raise core.UserError("sampler 'adaptive' needs the library diffrax: pip install -e '.[ode]'")

  def step(self, field, process, xt, t, s, z, memory, history):
    stop = jnp.minimum(jnp.maximum(s, process.least), t)
    (start, scale), (end, scale_s) = _straight(process, t), _straight(process, stop)

    def slope(part, y, _):
      tau = start + part * (end - start)
      here = jnp.clip(process.time(jnp.log1p(-tau) - jnp.log(tau)), stop, t)
      x0, eps, _ = field.at(_straight(process, here)[1] * y, here, memory)
      return (end - start) * (eps - x0)

    xs = scale_s * self._cross(slope, xt / scale)
    x0, _, memory = field.at(xs, stop, memory)
    return jnp.where(s > 0, xs, x0), memory, history

  def _cross(self, slope, y):
    """y [N, *event] at part 1 of the interval, from that at part 0."""
    import diffrax

    rule, term = getattr(diffrax, METHODS[self.method])(), diffrax.ODETerm(slope)
    first = rule.init(term, 0.0, 1.0, y, None)

    def attempt(state):
      y, place, size = state
      now = jnp.min(place)
      ends = jnp.array([now, now + size], y.dtype) / PARTS
      new, error, *_ = rule.step(term, *ends, y, None, first, made_jump=True)
      taken = (place == now) & ((self._excess(error, y, new) <= 1) | (size == 1))
      y, place = jnp.where(core.expand(taken, y), new, y), jnp.where(taken, now + size, place)
      then = jnp.min(place)
      return y, place, jnp.where(then > now, then & -then, size // 2)

    state = y, jnp.zeros(len(y), jnp.int32), jnp.int32(PARTS)
    return jax.lax.while_loop(lambda state: jnp.min(state[1]) < PARTS, attempt, state)[0]

  def _excess(self, error, before, after):
    """The root mean square of (2) over each example [N]; nan is too large."""
    scale = self.atol + self.rtol * jnp.maximum(jnp.abs(before), jnp.abs(after))
    return jnp.sqrt(jnp.mean((error / scale) ** 2, range(1, before.ndim)))


def _straight(process, t):
  """(tau, alpha + sigma) at time t."""
  alpha, sigma = process.coefficients(t)
  return sigma / (alpha + sigma), alpha + sigma
