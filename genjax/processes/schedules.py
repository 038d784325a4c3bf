"""Discrete noise schedules: alpha_bar(k) = prod_{i <= k} (1 - beta_i) for k = 1 ... T.

    linear   beta_i rises linearly from beta_1 to beta_T          Ho et al. 2020, arXiv:2006.11239
    cosine   alpha_bar(k) = f(k/T) / f(0),  f(u) = cos^2(pi/2 (u + s)/(1 + s)),
             beta_i = min(1 - alpha_bar(i)/alpha_bar(i-1), 0.999)   Nichol & Dhariwal 2021, eq. 17

alpha_bar = alpha^2 in the notation of gaussian.py. Tables are computed once, in float64.
"""

import dataclasses

import numpy as np

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
  """beta from `first` to `last`; the paper's values belong to T = 1000."""

  first: core.Fraction = 1e-4
  last: core.Fraction = 0.02

  def alpha_bar(self, steps: int) -> np.ndarray:
    """[steps] float64, decreasing."""
    return np.cumprod(1 - np.linspace(self.first, self.last, steps, dtype=np.float64))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
  """Offset `s` keeps the first steps from being too small, `max_beta` the last finite."""

  s: core.NonNegative = 0.008
  max_beta: core.Fraction = 0.999

  def alpha_bar(self, steps: int) -> np.ndarray:
    """[steps] float64, decreasing."""
    u = np.arange(steps + 1, dtype=np.float64) / steps
    f = np.cos(np.pi / 2 * (u + self.s) / (1 + self.s)) ** 2
    return np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], self.max_beta))


SCHEDULES = {"linear": Linear, "cosine": Cosine}
