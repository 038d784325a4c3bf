"""Runge-Kutta methods of diffrax that choose their own steps along the probability flow.

Divide xt = alpha x0 + sigma eps by alpha + sigma and take tau = sigma / (alpha + sigma) as the
time. Whatever the process, the flow is then that of straight paths,

    y = (1 - tau) x0 + tau eps,      dy/dtau = eps - x0,                                     (1)

which is finite also at pure noise (tau = 1). Each interval of the grid is crossed by steps of an
embedded pair of Runge-Kutta rules, whose two results differ by `error`. A step is accepted if the
mean square, over the dimensions of an example, of

    error / (atol + rtol max(|y before|, |y after|))                                         (2)

is at most 1 (Song et al. 2021, arXiv:2011.13456, section 4.3, with the pair of Dormand & Prince).

A field is evaluated for all examples at one time, but sample i must not depend on the others.
Therefore every step is the interval, halved some number of times:

  - At the earliest place where any example is, the examples that are there try the longest such
    step that starts there. Those whose error (2) is too large try half of it, and so on; examples
    at later places wait.
  - The path of an example depends on its own errors alone. The evaluations are shared, so their
    number is that of all the different steps that the examples of a batch try.
  - Steps of 1/4096 of the interval are accepted whatever their error is.

Within an interval the field's memory stays as it was at the start; the evaluation at the end renews
it. The interval to sigma = 0 is integrated to the smallest time of training, and x0 is returned
from there.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import grids, solvers

# The smallest step is 1/PARTS of an interval; a power of 2, so that places are exact integers.
PARTS = 4096
# name in a configuration: name of the class in diffrax
METHODS = {"tsit5": "Tsit5", "dopri5": "Dopri5", "dopri8": "Dopri8", "bosh3": "Bosh3"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptive(solvers.Memoryless):
  """The probability flow (1) by Runge-Kutta steps whose size follows from their error (2).

  steps: number of intervals; the solver stops at the ends of each.
  method: the embedded Runge-Kutta pair, a name in METHODS.
  rtol: tolerance relative to the size of y in (2).
  atol: absolute tolerance in (2).
  Raises UserError if diffrax is not installed.
  """

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

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Crosses one interval of the grid, from t to s."""
    # The network knows no times below the least.
    stop = jnp.minimum(jnp.maximum(s, process.least), t)
    start, scale = _straight(process, t)
    end, scale_s = _straight(process, stop)

    # dy/dpart of (1), where `part` runs from 0 to 1 over the interval.
    def slope(part, y, _):
      tau = start + part * (end - start)
      # log(alpha/sigma) = log((1 - tau)/tau)
      here = jnp.clip(process.time(jnp.log1p(-tau) - jnp.log(tau)), stop, t)
      _, scale_here = _straight(process, here)
      x0, eps, _ = field.at(scale_here * y, here, memory)
      return (end - start) * (eps - x0)

    xs = scale_s * self._cross(slope, xt / scale)
    x0, _, memory = field.at(xs, stop, memory)
    return jnp.where(s > 0, xs, x0), memory, history

  def _cross(self, slope: Callable[..., jax.Array], y: jax.Array) -> jax.Array:
    """Integrates dy/dpart = slope(part, y, None) from part 0 to part 1, y [N, *event]."""
    # Imported here, since diffrax is optional.
    import diffrax

    rule = getattr(diffrax, METHODS[self.method])()
    term = diffrax.ODETerm(slope)
    first = rule.init(term, 0.0, 1.0, y, None)

    # One step of `size` for all examples at the earliest place; sizes and places are in 1/PARTS.
    def attempt(state):
      y, place, size = state
      now = jnp.min(place)
      ends = jnp.array([now, now + size], y.dtype) / PARTS
      # made_jump: the slope is evaluated anew, not taken over from the end of another step.
      new, error, *_ = rule.step(term, *ends, y, None, first, made_jump=True)

      # [N]: who is here and may go on.
      taken = (place == now) & ((self._excess(error, y, new) <= 1) | (size == 1))
      y = jnp.where(core.expand(taken, y), new, y)
      place = jnp.where(taken, now + size, place)

      # Once all have left: the largest power of 2 that divides the new place. Otherwise, half.
      then = jnp.min(place)
      return y, place, jnp.where(then > now, then & -then, size // 2)

    state = y, jnp.zeros(len(y), jnp.int32), jnp.int32(PARTS)
    y, _, _ = jax.lax.while_loop(lambda state: jnp.min(state[1]) < PARTS, attempt, state)
    return y

  def _excess(self, error: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """Returns the root mean square of (2) over each example, [N, *event] -> [N].

    A step that diverged has nan, which is not <= 1: it is rejected.
    """
    scale = self.atol + self.rtol * jnp.maximum(jnp.abs(before), jnp.abs(after))
    return jnp.sqrt(jnp.mean((error / scale) ** 2, range(1, before.ndim)))


def _straight(process: gaussian.Process, t: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns (tau, alpha + sigma) at time t."""
  alpha, sigma = process.coefficients(t)
  return sigma / (alpha + sigma), alpha + sigma
