"""Time grids: the times at which a solver stops, from t = 1 to t = 0, as one explicit array.

    uniform     even in t
    quadratic   t = u^2, with u even               Song et al. 2021, arXiv:2010.02502, appendix D.2
    log_snr     even in lambda = log(alpha/sigma)
    karras      even in (sigma/alpha)^(1/rho)      Karras et al. 2022, arXiv:2206.00364, eq. 5
    given       the times that the configuration lists

Quadratic, log_snr and karras grids place the last time before 0 at `process.least`, the smallest
time that training sees. The remaining step from there to 0 returns x0.
"""

import dataclasses

import numpy as np

from genjax import core
from genjax.processes import gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformGrid:
  """Times as even as the process allows: exactly even, or rounded to the states of a chain.

  Raises UserError if a chain has fewer states than the solver has steps.
  """

  def __call__(self, process: gaussian.Process, steps: int) -> np.ndarray:
    """Returns [steps + 1] decreasing times; the first is 1 and the last is 0."""
    return process.grid(steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic:
  """Times u^2 for even u: more steps where little noise is left."""

  def __call__(self, process: gaussian.Process, steps: int) -> np.ndarray:
    root = np.linspace(1, np.sqrt(process.least), steps)
    return _ending(root**2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogSNR:
  """Equal steps of log(alpha/sigma).

  Raises UserError for a process that is pure noise at t = 1, where the logarithm is infinite.
  """

  def __call__(self, process: gaussian.Process, steps: int) -> np.ndarray:
    lam = np.log(_ratio(process))
    even = np.linspace(*lam, steps)
    return _ending(process.time(even))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Karras:
  """Equal steps of (sigma/alpha)^(1/rho).

  rho: 1 is even in sigma/alpha; 7, the paper's choice, spends most steps at low noise.
  Raises UserError for a process that is pure noise at t = 1.
  """

  rho: core.Positive = 7.0

  def __call__(self, process: gaussian.Process, steps: int) -> np.ndarray:
    root = (1 / _ratio(process)) ** (1 / self.rho)
    even = np.linspace(*root, steps)

    # lambda = log(alpha/sigma) = -rho log((sigma/alpha)^(1/rho))
    lam = -self.rho * np.log(even)
    return _ending(process.time(lam))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
  """The times that the configuration lists.

  times: decreasing from 1 to 0; the list has one entry more than the solver has steps.
  Raises UserError if the times do not decrease from 1 to 0, or do not fit the number of steps.
  """

  times: tuple[float, ...] = (1.0, 0.0)

  def __post_init__(self):
    if self.times[:1] != (1,) or self.times[-1:] != (0,) or np.any(np.diff(self.times) >= 0):
      raise core.UserError(f"grid.times={self.times} must decrease from 1 to 0")

  def __call__(self, process: gaussian.Process, steps: int) -> np.ndarray:
    if steps != len(self.times) - 1:
      raise core.UserError(
        f"grid.times has {len(self.times)} entries, expected steps + 1 = {steps + 1}"
      )
    return np.array(self.times)


def _ratio(process: gaussian.Process) -> np.ndarray:
  """Returns alpha/sigma at t = 1 and at the least time, [2] in float64.

  Raises UserError if t = 1 is pure noise.
  """
  ends = process.coefficients(np.array([1, process.least]))
  alpha, sigma = (np.asarray(c, np.float64) for c in ends)
  if alpha[0] == 0:
    raise core.UserError(
      "grids 'log_snr' and 'karras' need a process with some signal left at t = 1, but this one "
      "ends in pure noise; use grid 'uniform' or 'quadratic'"
    )
  return alpha / sigma


def _ending(times: np.ndarray) -> np.ndarray:
  """Appends the time 0 to `times` [steps] and sets the first to exactly 1: [steps + 1]."""
  times = np.append(times, 0.0)
  # The inverse of lambda(t) returns 1 only up to rounding.
  times[0] = 1.0
  return times


GRIDS = {
  "uniform": UniformGrid,
  "quadratic": Quadratic,
  "log_snr": LogSNR,
  "karras": Karras,
  "given": Given,
}
