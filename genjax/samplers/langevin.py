"""Langevin dynamics at fixed noise: samplers that stay at a level for several steps.

With the score -eps/sigma that the field believes in, a step of size h of

    x <- x - h eps/sigma + sqrt(2 h) z                                                       (1)

leaves the distribution of xt unchanged as h -> 0; where that is a Gaussian of variance V, chains
end at the variance V / (1 - h/(2 V)).

    predictor_corrector   a step of another sampler to each time of the grid, then `corrections` of
                          (1) there, whose size is set by the ratio of signal to noise    (Song et
                          al. 2021, arXiv:2011.13456, algorithms 2-5)
                              h = 2 (snr |z| sigma/|eps|)^2                                  (2)
    annealed_langevin     `corrections` of (1) at each time with the same h/sigma^2, no step between
                          times                        (Song & Ermon 2019, arXiv:1907.05600, alg. 1)
                              2 h = epsilon (sigma/sigma_L)^2                                (3)

Both end with a step to sigma = 0 that returns x0 (Jolicoeur-Martineau et al. 2020,
arXiv:2009.05475; Song & Ermon 2020, arXiv:2006.09011, algorithm 1). Three departures: the factor
alpha_i = 1 - beta_i of (2) for VP, at least 0.98 in a chain of 1000, is left out; the predictor
"reverse_diffusion" is the paper's for VE, for VP it agrees to first order in beta_i; the norms of
(2) are each example's own where the paper takes their mean over the batch, so that nothing couples
examples. In many dimensions they differ little, in few (2) is a poor rule.

A stay is a grid that names a time several times: the step from t to t is (1), and each of them has
noise of its own like all others.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.samplers import grids, singlestep, solvers

# All evaluate the field once, at (xt, t).
PREDICTORS = {
  "reverse_diffusion": solvers.Ancestral(variance="upper"),
  "ancestral": solvers.Ancestral(),
  "euler_maruyama": singlestep.EulerMaruyama(),
  "ddim": solvers.DDIM(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorCorrector(solvers.Memoryless):
  """predictor: a name in PREDICTORS. corrections: after each step. snr: as in equation (2)."""

  steps: core.Size = 1000
  predictor: str = "reverse_diffusion"
  corrections: core.Count = 1
  snr: core.Positive = 0.16
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.predictor not in PREDICTORS:
      raise core.unknown("predictor", self.predictor, PREDICTORS)

  def stops(self, times):
    return np.concatenate([times[:1], np.repeat(times[1:-1], 1 + self.corrections), times[-1:]])

  def step(self, field, process, xt, t, s, z, memory, history):
    x0, eps, memory = field.at(xt, t, memory)
    _, sigma = process.coefficients(t)
    size = 2 * (self.snr * sigma * _norm(z) / _norm(eps)) ** 2
    answered = solvers.VectorField(field.start, lambda *_: (x0, eps, memory))
    predicted, _, _ = PREDICTORS[self.predictor].step(
      answered, process, xt, t, s, z, memory, history
    )
    corrected = _langevin(xt, eps, sigma, size, z)
    return jnp.where(s == 0, x0, jnp.where(s < t, predicted, corrected)), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnealedLangevin(solvers.Memoryless):
  """corrections: at each time. ratio: epsilon/sigma_L^2 of equation (3), of alpha = 1."""

  steps: core.Size = 10
  corrections: core.Size = 100
  ratio: core.Positive = 0.2
  grid: core.Grid = grids.UniformGrid()

  def stops(self, times):
    return np.append(np.repeat(times[:-1], self.corrections), times[-2:])

  def step(self, field, process, xt, t, s, z, memory, history):
    x0, eps, memory = field.at(xt, t, memory)
    _, sigma = process.coefficients(t)
    xs = _langevin(xt, eps, sigma, self.ratio * sigma**2 / 2, z)
    return jnp.where(s == 0, x0, xs), memory, history


def _langevin(x, eps, sigma, size, z):
  """Equation (1)."""
  return x - size / sigma * eps + jnp.sqrt(2 * size) * z


def _norm(x):
  """Of each example: [N, 1, ..., 1]."""
  return jnp.sqrt(jnp.sum(x**2, axis=range(1, x.ndim), keepdims=True))
