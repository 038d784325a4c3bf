"""Solvers of one step from xt at time t to xs at a time s < t, and the loop over a time grid.

A solver walks over a field: what a family makes of its network, guidance and clipping. No solver
knows about those. A field has two functions,

    start(xt) -> memory                          what the field itself remembers between evaluations
                                                 (self-conditioning, momentum); () if nothing
    at(xt, t, memory) -> (x0, eps, memory)       the pair that the field predicts at xt, time t

and a solver, which uses the pair as given, has two or three,

    start(xt) -> history                         what the solver remembers between steps
    step(field, process, xt, t, s, z, memory, history) -> (xs, memory, history)
    stops(times) -> times                        optional, for solvers that take several steps at
                                                 some times: repeats those, giving steps from t to t

with xt, x0, eps and the standard normal noise z all [N, *event], and scalar times t and s.
`integrate` walks an explicit grid of times: step i + 1 starts exactly where step i ended. The last
step ends at the last time of the grid, 0, where sigma = 0 and no noise is left.

    DDIM(eta)   xs = alpha_s x0 + sqrt(sigma_s^2 - w^2) eps + w z,                            (1)
                w = eta sigma_s/sigma_t sqrt(beta)
                                         Song et al. 2021, arXiv:2010.02502, eq. 12 and 16
    ancestral   draws xs around the mean of q(xs | xt, x0): with r = alpha_t/alpha_s and
                beta = sigma_t^2 - r^2 sigma_s^2,                                            (2)
                mean = (r sigma_s^2 xt + alpha_s beta x0) / sigma_t^2,
                variance = beta sigma_s^2/sigma_t^2    "posterior"
                           beta                        "upper"     Ho et al. 2020, arXiv:2006.11239
                           between the two logarithms  "learned"   Nichol & Dhariwal 2021,
                                                                   arXiv:2102.09672, eq. 15
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import grids

VARIANCES = ("posterior", "upper", "learned")
# A solver draws noise on the way if it has one of these fields and the value is not 0 or "".
NOISY = ("eta", "churn", "variance", "corrections", "predictor")


class VectorField(NamedTuple):
  """The field that a solver follows, see the module docstring.

  start: xt [N, *event] -> memory, at the first time of the grid.
  at: (xt, t, memory) -> (x0, eps, memory), the predicted pair.
  fraction: memory -> [N, *event], for networks that learn the variance of a step: the place of its
    logarithm between the posterior's (0) and the upper one (1). None for all other networks.
  """

  start: Callable[[jax.Array], Any]
  at: Callable[[jax.Array, jax.Array, Any], tuple[jax.Array, jax.Array, Any]]
  fraction: Callable[[Any], jax.Array] | None = None


class Memoryless:
  """A solver whose steps use nothing of the earlier steps."""

  def start(self, xt: jax.Array) -> tuple:
    """Returns an empty history."""
    return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDIM(Memoryless):
  """Equation (1), one evaluation a step.

  steps: number of steps, here and in all solvers.
  eta: noise added in a step, from 0 (deterministic) to 1 (the posterior's, as in "ancestral").
  grid: the times at which the solver stops, here and in all solvers.
  """

  steps: core.Size = 50
  eta: core.Fraction = 0.0
  grid: core.Grid = grids.UniformGrid()

  def step(
    self,
    field: VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Takes the step (1) from t to s."""
    alpha_t, sigma_t = process.coefficients(t)
    alpha_s, sigma_s = process.coefficients(s)
    x0, eps, memory = field.at(xt, t, memory)

    # Neither difference of squares may fall below 0 by rounding.
    beta = jnp.maximum(sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2, 0)
    w = self.eta * sigma_s / sigma_t * jnp.sqrt(beta)
    xs = alpha_s * x0 + jnp.sqrt(jnp.maximum(sigma_s**2 - w**2, 0)) * eps + w * z
    return xs, memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral(Memoryless):
  """Equation (2), one evaluation a step.

  variance: "posterior", which is exact if x0 is known; "upper", which is exact if x0 ~ N(0, I); or
    "learned", which the network chooses between these two.
  """

  steps: core.Size = 1000
  variance: str = "posterior"
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.variance not in VARIANCES:
      raise core.unknown("variance", self.variance, VARIANCES)

  def step(
    self,
    field: VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Draws xs by equation (2)."""
    alpha_t, sigma_t = process.coefficients(t)
    alpha_s, sigma_s = process.coefficients(s)
    x0, _, memory = field.at(xt, t, memory)
    r = alpha_t / alpha_s
    beta = sigma_t**2 - (r * sigma_s) ** 2
    mean = (r * sigma_s**2 * xt + alpha_s * beta * x0) / sigma_t**2

    # variance = share * beta; share is 0 in the step to s = 0, where sigma_s = 0.
    share = sigma_s**2 / sigma_t**2
    if self.variance == "upper":
      share = s > 0
    elif self.variance == "learned":
      share = share ** (1 - field.fraction(memory)) * (s > 0)
    return mean + jnp.sqrt(beta * share) * z, memory, history


def stochastic(solver: core.Sampler) -> bool:
  """Returns whether the solver draws noise on the way."""
  noisy = (getattr(solver, name, 0) for name in NOISY)
  return any(noisy)


def times(solver: core.Sampler, process: gaussian.Process) -> np.ndarray:
  """Returns the solver's times from 1 to 0: [steps + 1], or more if it repeats some of them.

  Raises UserError if the solver's grid does not fit the process.
  """
  # Evaluated at once, also under jit: the number of times fixes the length of the loop.
  with jax.ensure_compile_time_eval():
    grid = np.asarray(solver.grid(process, solver.steps))
  return solver.stops(grid) if hasattr(solver, "stops") else grid


def integrate(
  solver: core.Sampler,
  field: VectorField,
  process: gaussian.Process,
  grid: np.ndarray,
  x: jax.Array,
  keys: jax.Array,
  frames: int,
) -> jax.Array:
  """Runs the solver over `grid` from x [N, *event] at grid[0] -> [frames, N, *event].

  keys: [N]; example i draws its noise from keys[i] alone.
  frames: how many states to return, equally spaced in the grid; the last one is the result. If
    there are more frames than steps, some states are returned several times.

  Storage grows with the number of frames, not with the number of steps.
  """
  steps = len(grid) - 1
  shown = min(frames, steps)
  # [steps]: step i writes into slots[i]; the last of the steps that share a slot stays in it.
  slots = jnp.asarray(np.arange(steps) * shown // steps)

  def body(carry, inputs):
    xt, memory, history, film = carry
    i, t, s, slot = inputs
    # Noise of its own for each example and each step.
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
    z = core.draw(step_keys, jax.random.normal, x.shape[1:])

    xt, memory, history = solver.step(field, process, xt, t, s, z, memory, history)
    film = jax.lax.dynamic_update_index_in_dim(film, xt, slot, 0)
    return (xt, memory, history, film), None

  stops = jnp.asarray(grid, x.dtype)
  film = jnp.zeros((shown, *x.shape), x.dtype)
  carry = x, field.start(x), solver.start(x), film
  inputs = jnp.arange(steps), stops[:-1], stops[1:], slots
  (*_, film), _ = jax.lax.scan(body, carry, inputs)

  # film [shown, N, *event]; more frames than steps repeat states.
  return film[np.arange(frames) * shown // frames]
