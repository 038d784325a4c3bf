"""Solvers: one step from xt at time t to xs at time s < t, over a field, and the loop over a grid.

A field is what a family makes of its network, guidance and clipping; no solver knows of them:

    start(xt) -> memory                          self-conditioning, momentum; () if there is none
    at(xt, t, memory) -> (x0, eps, memory)       the pair that the field believes in

A solver has `start(xt) -> history` and `step`; it uses the pair as given. `integrate` walks an
explicit grid of times: step i + 1 starts exactly where step i ended, and the last ends at the
grid's last time, 0, where sigma = 0 and no noise is left. A solver that stays at some times for
several steps says so by `stops(times)`: it repeats them, and takes steps from t to t.

    DDIM(eta)   xs = alpha_s x0 + sqrt(sigma_s^2 - w^2) eps + w z,                            (1)
                w = eta sigma_s/sigma_t sqrt(beta)                Song et al. 2021, eq. 12, 16
    ancestral   z-noise around the mean of q(xs | xt, x0), with r = alpha_t/alpha_s,
                beta = sigma_t^2 - r^2 sigma_s^2,                                            (2)
                mean = (r sigma_s^2 xt + alpha_s beta x0) / sigma_t^2,
                variance = beta sigma_s^2/sigma_t^2 ("posterior") or beta ("upper")   Ho et al. 2020
                or, "learned", between their logarithms          Nichol & Dhariwal 2021, eq. 15
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.samplers import grids

VARIANCES = ("posterior", "upper", "learned")
NOISY = ("eta", "churn", "variance", "corrections", "predictor")  # fields that say so, if not 0


class VectorField(NamedTuple):
  """See the module docstring.

  fraction: of a learned variance: memory -> [N, *event], 0 for the posterior's, 1 for "upper".
  """

  start: Callable[[jax.Array], Any]
  at: Callable[[jax.Array, jax.Array, Any], tuple[jax.Array, jax.Array, Any]]
  fraction: Callable[[Any], jax.Array] | None = None


class Memoryless:
  """A solver that looks no further back than the step it is in."""

  def start(self, xt):
    return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDIM(Memoryless):
  """Equation (1). eta: 0 deterministic ... 1 the posterior's noise.

  steps, grid: in all solvers, how many and at which times.
  """

  steps: core.Size = 50
  eta: core.Fraction = 0.0
  grid: core.Grid = grids.UniformGrid()

  def step(self, field, process, xt, t, s, z, memory, history):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.coefficients(t), process.coefficients(s)
    x0, eps, memory = field.at(xt, t, memory)
    beta = jnp.maximum(sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2, 0)
    w = self.eta * sigma_s / sigma_t * jnp.sqrt(beta)
    xs = alpha_s * x0 + jnp.sqrt(jnp.maximum(sigma_s**2 - w**2, 0)) * eps + w * z
    return xs, memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral(Memoryless):
  """Equation (2). variance: "posterior" (of x0 known), "upper" (of x0 ~ N(0, I)) or "learned"."""

  steps: core.Size = 1000
  variance: str = "posterior"
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.variance not in VARIANCES:
      raise core.unknown("variance", self.variance, VARIANCES)

  def step(self, field, process, xt, t, s, z, memory, history):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.coefficients(t), process.coefficients(s)
    x0, _, memory = field.at(xt, t, memory)
    r = alpha_t / alpha_s
    beta = sigma_t**2 - (r * sigma_s) ** 2
    mean = (r * sigma_s**2 * xt + alpha_s * beta * x0) / sigma_t**2
    share = sigma_s**2 / sigma_t**2  # of the posterior's variance in beta
    if self.variance == "upper":
      share = s > 0
    elif self.variance == "learned":
      share = share ** (1 - field.fraction(memory)) * (s > 0)
    return mean + jnp.sqrt(beta * share) * z, memory, history


def stochastic(solver) -> bool:
  """Whether it draws noise on the way."""
  noisy = (getattr(solver, name, 0) for name in NOISY)
  return any(noisy)


def times(solver, process) -> np.ndarray:
  """The solver's grid, from 1 to 0: [steps + 1] times, more if it stays at some.

  UserError where the process has no such grid.
  """
  with jax.ensure_compile_time_eval():
    grid = np.asarray(solver.grid(process, solver.steps))
  return solver.stops(grid) if hasattr(solver, "stops") else grid


def integrate(solver, field, process, grid: np.ndarray, x: jax.Array, keys: jax.Array, frames: int):
  """Runs the solver over `grid` from x [N, *event] at grid[0] -> [frames, N, *event].

  keys [N]: example i draws its noise from keys[i] alone. The frames are equally spaced in the grid
  and the last is the result; memory does not grow with the number of steps. Where there are more
  frames than steps, states are shown several times.
  """
  steps = len(grid) - 1
  shown = min(frames, steps)
  slots = jnp.asarray(np.arange(steps) * shown // steps)  # the last step of a slot stays in it

  def body(carry, inputs):
    xt, memory, history, film = carry
    i, t, s, slot = inputs
    z = core.draw(jax.vmap(jax.random.fold_in, (0, None))(keys, i), jax.random.normal, x.shape[1:])
    xt, memory, history = solver.step(field, process, xt, t, s, z, memory, history)
    film = jax.lax.dynamic_update_index_in_dim(film, xt, slot, 0)
    return (xt, memory, history, film), None

  stops = jnp.asarray(grid, x.dtype)
  carry = x, field.start(x), solver.start(x), jnp.zeros((shown, *x.shape), x.dtype)
  (*_, film), _ = jax.lax.scan(body, carry, (jnp.arange(steps), stops[:-1], stops[1:], slots))
  return film[np.arange(frames) * shown // frames]
