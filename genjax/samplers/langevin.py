"""Langevin dynamics at a fixed noise level: samplers that take several steps at one time.

The field predicts eps, and with it the score -eps/sigma. A Langevin step of size h,

    x <- x - h eps/sigma + sqrt(2 h) z                                                       (1)

leaves the distribution of xt unchanged as h -> 0. If that distribution is a Gaussian of variance V,
a chain of such steps ends at the variance V / (1 - h/(2 V)).

    predictor_corrector   a step of another sampler, the predictor, to each time of the grid, then
                          `corrections` steps of (1) at that time, with a size set by the ratio of
                          signal to noise        Song et al. 2021, arXiv:2011.13456, algorithms 2-5
                              h = 2 (snr |z| sigma/|eps|)^2                                  (2)
    annealed_langevin     `corrections` steps of (1) at each time, all with the same h/sigma^2, and
                          no step between times  Song & Ermon 2019, arXiv:1907.05600, algorithm 1
                              2 h = epsilon (sigma/sigma_L)^2                                (3)

Both end with a step to sigma = 0 that returns x0 (Jolicoeur-Martineau et al. 2020,
arXiv:2009.05475; Song & Ermon 2020, arXiv:2006.09011, algorithm 1).

The predictor-corrector sampler departs from the paper in three ways:

  - the factor alpha_i = 1 - beta_i of (2) for VP is left out; it is at least 0.98 in a chain of
    1000 states.
  - the predictor "reverse_diffusion" is the paper's for VE; for VP it agrees with the paper's to
    first order in beta_i.
  - the norms of (2) are taken over each example, where the paper takes their mean over the batch,
    so that no example depends on another. In many dimensions the two differ little; in few
    dimensions (2) is a poor rule.

To stay at a time, the grid names that time several times. The step from t to t is then (1), with
fresh noise in each step.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import grids, singlestep, solvers

# Solvers that evaluate the field exactly once a step, at (xt, t): the corrector shares the answer.
PREDICTORS = {
  "reverse_diffusion": solvers.Ancestral(variance="upper"),
  "ancestral": solvers.Ancestral(),
  "euler_maruyama": singlestep.EulerMaruyama(),
  "ddim": solvers.DDIM(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorCorrector(solvers.Memoryless):
  """A predictor from time to time, with Langevin steps of size (2) at each time.

  steps: number of steps of the predictor.
  predictor: the solver that goes to the next time, a name in PREDICTORS.
  corrections: number of Langevin steps at each time between 1 and 0.
  snr: ratio of signal to noise in equation (2).
  """

  steps: core.Size = 1000
  predictor: str = "reverse_diffusion"
  corrections: core.Count = 1
  snr: core.Positive = 0.16
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.predictor not in PREDICTORS:
      raise core.unknown("predictor", self.predictor, PREDICTORS)

  def stops(self, times: np.ndarray) -> np.ndarray:
    """Repeats each time between the ends: one arrival, then `corrections` steps on the spot."""
    inner = np.repeat(times[1:-1], 1 + self.corrections)
    return np.concatenate([times[:1], inner, times[-1:]])

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
    """Predicts xs if s < t, corrects xt by (1) if s = t, and returns x0 if s = 0."""
    x0, eps, memory = field.at(xt, t, memory)
    _, sigma = process.coefficients(t)

    # Equation (2).
    size = 2 * (self.snr * sigma * _norm(z) / _norm(eps)) ** 2

    # The predictor gets the answer that is already there: one evaluation serves both.
    answered = solvers.VectorField(field.start, lambda *_: (x0, eps, memory))
    predicted, _, _ = PREDICTORS[self.predictor].step(
      answered, process, xt, t, s, z, memory, history
    )

    # s and t are traced, so both steps are computed and one of them is taken.
    corrected = _langevin(xt, eps, sigma, size, z)
    return jnp.where(s == 0, x0, jnp.where(s < t, predicted, corrected)), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnealedLangevin(solvers.Memoryless):
  """Langevin steps of size (3) at each time.

  steps: number of noise levels.
  corrections: number of Langevin steps at each of them.
  ratio: epsilon / sigma_L^2 of equation (3), which is written for processes with alpha = 1.
  """

  steps: core.Size = 10
  corrections: core.Size = 100
  ratio: core.Positive = 0.2
  grid: core.Grid = grids.UniformGrid()

  def stops(self, times: np.ndarray) -> np.ndarray:
    """Repeats each time, so that `corrections` steps start there, then one more goes to 0."""
    stays = np.repeat(times[:-1], self.corrections)
    return np.append(stays, times[-2:])

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
    """Takes the step (1) at the noise of time t, or returns x0 if s = 0."""
    x0, eps, memory = field.at(xt, t, memory)
    _, sigma = process.coefficients(t)

    # Equation (3): h = ratio sigma^2 / 2.
    xs = _langevin(xt, eps, sigma, self.ratio * sigma**2 / 2, z)
    return jnp.where(s == 0, x0, xs), memory, history


def _langevin(
  x: jax.Array, eps: jax.Array, sigma: jax.Array, size: jax.Array, z: jax.Array
) -> jax.Array:
  """Returns x after a Langevin step (1) of the given size."""
  return x - size / sigma * eps + jnp.sqrt(2 * size) * z


def _norm(x: jax.Array) -> jax.Array:
  """Returns the Euclidean norm of each example, [N, *event] -> [N, 1, ..., 1]."""
  return jnp.sqrt(jnp.sum(x**2, axis=range(1, x.ndim), keepdims=True))
