"""Moving averages of parameters: avg <- d(k) avg + (1 - d(k)) params after step k = 0, 1, ...

Three profiles give the decay d:

    constant   d = decay
    warmup     d = min(decay, (1 + k) / (10 + k)), the default
    power      d = (1 - 1/t)^(gamma + 1), t = k + 1                                          (1)

A constant decay needs about 1/(1 - d) steps to forget the random start of the parameters; that is
the commonest reason why the average of a fresh checkpoint samples noise. The other two profiles
forget it within twenty steps.

After t steps the power profile weighs the parameters of step tau by

    p(tau) = (gamma + 1)/t (tau/t)^gamma,
    width = std(tau)/t = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)),

so that its `width` is a share of the training so far (Karras et al. 2024, arXiv:2312.02696, section
3.1). A run that keeps averages of two widths at some steps can later make the average of any width
at any step, sum_i x_i avg_i. The coefficients x, whose sum is 1, bring sum_i x_i p_i as close as
possible to the wanted profile p (appendix C; there without the condition on the sum), which with
the Lagrange multiplier m is the linear system

    <p_i, p_j> x_j + m = <p_i, p>,   sum_i x_i = 1,
    <p, q> = (a + 1)(b + 1) min(s, t)^(a + b + 1) / ((a + b + 1) s^(a + 1) t^(b + 1))       (2)

for profiles p, q of exponents a, b at steps s, t.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core

# name: (average, step) -> decay
PROFILES: dict[str, Callable[["Average", jax.Array], jax.Array]] = {
  "constant": lambda average, k: jnp.float32(average.decay),
  "warmup": lambda average, k: jnp.minimum(average.decay, (1.0 + k) / (10.0 + k)),
  "power": lambda average, k: (k / (k + 1.0)) ** (exponent(average.width) + 1),  # eq. 1
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average:
  """One moving average of the parameters of some groups.

  groups: the groups that are averaged, () for all groups that are trained.
  decay: the largest decay of the profiles "constant" and "warmup"; "power" does not use it.
  profile: a name in PROFILES.
  width: the width of the profile "power", between 0 and 1/sqrt(12) = 0.2887.

  Raises UserError for an unknown profile, and for a width outside that range.
  """

  groups: tuple[str, ...] = ()
  decay: core.Fraction = 0.999
  profile: str = "warmup"
  width: core.Fraction = 0.1

  def __post_init__(self):
    if self.profile not in PROFILES:
      raise core.unknown("profile", self.profile, PROFILES)
    # gamma = 0, the mean of all steps with equal weights, has the largest width.
    if not 0 < self.width < 12**-0.5:
      raise core.UserError(f"width={self.width} must lie between 0 and {12**-0.5:.4f}")

  def __call__(self, step: jax.Array) -> jax.Array:
    """Returns the decay d(k) after step k."""
    return PROFILES[self.profile](self, step)


def width(name: str) -> float:
  """Returns the number in a name "@WIDTH".

  Raises UserError if it is no number, or no width that a power profile can have.
  """
  try:
    value = float(name[1:])
  except ValueError:
    raise core.UserError(f"eval_ema={name!r}: expected '@' and a width, such as '@0.1'") from None
  Average(profile="power", width=value)  # checks the range
  return value


def exponent(width: float) -> float:
  """Returns gamma of (1) for a width w.

  gamma is the largest root of gamma^3 + 7 gamma^2 + (16 - w^-2) gamma + 12 - w^-2.
  """
  return float(np.roots([1, 7, 16 - width**-2, 12 - width**-2]).real.max())


def mixture(have: Sequence[tuple[int, float]], want: tuple[int, float]) -> np.ndarray:
  """Returns the coefficients x of (2), [N]: how much of each average makes the wanted one.

  have: (step, width) of the N averages that were kept.
  want: (step, width) of the average to be made.
  """
  t, widths = (np.array(column, np.float64) for column in zip(*have))  # [N], [N]
  gamma = np.array([exponent(w) for w in widths])

  # The matrix of (2): the inner products, bordered by the ones of m and of the condition on x.
  inner = np.pad(_inner(t[:, None], gamma[:, None], t, gamma), (0, 1), constant_values=1.0)
  inner[-1, -1] = 0
  wanted = np.append(_inner(t, gamma, want[0], exponent(want[1])), 1.0)

  # Least squares, since nearly equal profiles make the matrix nearly singular.
  return np.linalg.lstsq(inner, wanted, rcond=None)[0][:-1]


def _inner(s: np.ndarray, a: np.ndarray, t: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns <p, q> of (2) for profiles of exponents a, b at steps s, t."""
  # By logarithms, since the powers overflow.
  power = (a + b + 1) * np.log(np.minimum(s, t)) - (a + 1) * np.log(s) - (b + 1) * np.log(t)
  return (a + 1) * (b + 1) / (a + b + 1) * np.exp(power)
