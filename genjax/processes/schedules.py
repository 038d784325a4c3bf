"""Discrete noise schedules: alpha_bar(k) = prod_{i <= k} (1 - beta_i) for k = 1 ... T.

    linear   beta_i rises linearly from beta_1 to beta_T          Ho et al. 2020, arXiv:2006.11239
    cosine   alpha_bar(k) = f(k/T) / f(0),  f(u) = cos^2(pi/2 (u + s)/(1 + s)),
             beta_i = min(1 - alpha_bar(i)/alpha_bar(i-1), 0.999)   Nichol & Dhariwal 2021, eq. 17
    scaled_linear   sqrt(beta_i) rises linearly            Rombach et al. 2022, arXiv:2112.10752
    sigmoid  as cosine with f(u) = S(-(start + u (end - start))/tau), S the logistic function, moved
             and scaled such that it falls from 1 to 0   Jabri, Fleet & Chen 2022, arXiv:2212.11972

alpha_bar is alpha^2 in the notation of gaussian.py. The tables are computed once, in float64.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearNoise:
  """The linear schedule; the paper's values, the defaults, belong to T = 1000.

  first: beta_1.
  last: beta_T.
  """

  first: core.Fraction = 1e-4
  last: core.Fraction = 0.02

  def alpha_bar(self, steps: int) -> np.ndarray:
    """Returns alpha_bar(1) ... alpha_bar(T) for T = `steps`, decreasing, [steps] float64."""
    return np.cumprod(1 - np.linspace(self.first, self.last, steps, dtype=np.float64))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaled:
  """The schedule scaled_linear, linear in sqrt(beta).

  first: beta_1.
  last: beta_T.
  """

  first: core.Fraction = 0.00085
  last: core.Fraction = 0.012

  def alpha_bar(self, steps: int) -> np.ndarray:
    """Returns alpha_bar(1) ... alpha_bar(T) for T = `steps`, decreasing, [steps] float64."""
    return np.cumprod(1 - np.linspace(self.first**0.5, self.last**0.5, steps) ** 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineNoise:
  """The cosine schedule.

  s: offset of the cosine, which keeps the first betas from being too small.
  max_beta: upper limit of beta, which keeps the last alpha_bar above 0.
  """

  s: core.NonNegative = 0.008
  max_beta: core.Fraction = 0.999

  def alpha_bar(self, steps: int) -> np.ndarray:
    """Returns alpha_bar(1) ... alpha_bar(T) for T = `steps`, decreasing, [steps] float64."""
    falling = lambda u: np.cos(np.pi / 2 * (u + self.s) / (1 + self.s)) ** 2
    return _capped(falling, steps, self.max_beta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidNoise:
  """The sigmoid schedule.

  start, end: the part of the logistic function that is used.
  tau: temperature; a smaller one gives a steeper fall.
  max_beta: upper limit of beta, which keeps the last alpha_bar above 0.
  """

  start: float = -3.0
  end: float = 3.0
  tau: core.Positive = 1.0
  max_beta: core.Fraction = 0.999

  def alpha_bar(self, steps: int) -> np.ndarray:
    """Returns alpha_bar(1) ... alpha_bar(T) for T = `steps`, decreasing, [steps] float64."""
    # Subtracting the value at u = 1 lets the schedule end at 0; `_capped` divides by f(0).
    falling = lambda u: 1 / (1 + np.exp((self.start + u * (self.end - self.start)) / self.tau))
    return _capped(lambda u: falling(u) - falling(1.0), steps, self.max_beta)


def _capped(f: Callable[[np.ndarray], np.ndarray], steps: int, max_beta: float) -> np.ndarray:
  """Returns f(k/T)/f(0) for k = 1 ... T, changed where a beta would exceed `max_beta`."""
  f = f(np.arange(steps + 1, dtype=np.float64) / steps)
  # beta_k = 1 - f(k/T)/f((k - 1)/T).
  return np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], max_beta))


SCHEDULES = {
  "linear": LinearNoise,
  "scaled_linear": Scaled,
  "cosine": CosineNoise,
  "sigmoid": SigmoidNoise,
}
