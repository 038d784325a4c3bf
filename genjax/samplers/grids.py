"""Grids: at which times a solver stops, from t = 1 to t = 0, as one explicit array.

    uniform     even in t                                        quadratic   t = u^2, u even
    log_snr     even in lambda = log(alpha/sigma)                given       as written
    karras      even in (sigma/alpha)^(1/rho)            Karras et al. 2022, arXiv:2206.00364, eq. 5

But for uniform ones, the last time before 0 is `process.least`, the smallest that training sees:
the step from there to 0 returns x0.
"""

import dataclasses

import numpy as np

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformGrid:
  """As even in t as the process allows."""

  def __call__(self, process, steps: int) -> np.ndarray:
    """[steps + 1] decreasing times, the first 1 and the last 0."""
    return process.grid(steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic:
  """More steps where little noise is left (Song et al. 2021, arXiv:2010.02502, appendix D.2)."""

  def __call__(self, process, steps: int) -> np.ndarray:
    return _ending(np.linspace(1, np.sqrt(process.least), steps) ** 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogSNR:
  """Equal steps of log(alpha/sigma); needs some signal at t = 1."""

  def __call__(self, process, steps: int) -> np.ndarray:
    lam = np.log(_ratio(process))
    return _ending(process.time(np.linspace(*lam, steps)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Karras:
  """rho = 7 spends most steps at low noise, rho = 1 is even in sigma/alpha."""

  rho: core.Positive = 7.0

  def __call__(self, process, steps: int) -> np.ndarray:
    root = (1 / _ratio(process)) ** (1 / self.rho)
    return _ending(process.time(-self.rho * np.log(np.linspace(*root, steps))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
  """times: decreasing from 1 to 0, one more than the solver's steps."""

  times: tuple[float, ...] = (1.0, 0.0)

  def __post_init__(self):
    if self.times[:1] != (1,) or self.times[-1:] != (0,) or np.any(np.diff(self.times) >= 0):
      raise core.UserError(f"times={self.times} must decrease from 1 to 0")

  def __call__(self, process, steps: int) -> np.ndarray:
    if steps != len(self.times) - 1:
      raise core.UserError(
        f"grid.times has {len(self.times)} entries, expected steps + 1 = {steps + 1}"
      )
    return np.array(self.times)


def _ratio(process):
  """alpha/sigma at t = 1 and at the least time, float64. UserError where t = 1 is pure noise."""
  alpha, sigma = (
    np.asarray(c, np.float64) for c in process.coefficients(np.array([1, process.least]))
  )
  if alpha[0] == 0:
    raise core.UserError(
      "a grid even in log(alpha/sigma) or its powers has no place for pure noise"
    )
  return alpha / sigma


def _ending(times):
  """The same between the exact ends 1 and 0."""
  times = np.append(times, 0.0)
  times[0] = 1.0
  return times


GRIDS = {
  "uniform": UniformGrid,
  "quadratic": Quadratic,
  "log_snr": LogSNR,
  "karras": Karras,
  "given": Given,
}
