"""Moving averages of parameters: avg <- d(k) avg + (1 - d(k)) params after step k = 0, 1, ...

    constant   d = decay, which takes 1/(1 - d) steps to forget its random start, the commonest
               reason why a fresh checkpoint samples noise
    warmup     d = min(decay, (1 + k) / (10 + k)), the default
    power      d = (1 - 1/t)^(gamma + 1), t = k + 1                                          (1)

The last weighs the parameters at step tau by p(tau) = (gamma + 1)/t (tau/t)^gamma. Its `width`
std(tau)/t = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)) is a share of the training so far
(Karras et al. 2024, arXiv:2312.02696, section 3.1). Such averages of two widths, kept at some
steps, span others: the average of any width at any step is sum_i x_i avg_i, with the x of sum 1
that bring sum_i x_i p_i closest to its profile (appendix C; there without that condition):

    <p_i, p_j> x_j + m = <p_i, p>,   sum_i x_i = 1,
    <p, q> = (a + 1)(b + 1) min(s, t)^(a + b + 1) / ((a + b + 1) s^(a + 1) t^(b + 1))       (2)

for profiles of exponents a, b at steps s, t.
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
  "power": lambda average, k: (k / (k + 1.0)) ** (exponent(average.width) + 1),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average:
  """One moving average of some groups.

  groups: which are averaged, () for all that are trained.
  profile: a name in PROFILES. decay: the limit of the first two; width: of "power".
  """

  groups: tuple[str, ...] = ()
  decay: core.Fraction = 0.999
  profile: str = "warmup"
  width: core.Fraction = 0.1

  def __post_init__(self):
    if self.profile not in PROFILES:
      raise core.unknown("profile", self.profile, PROFILES)
    if not 0 < self.width < 12**-0.5:
      raise core.UserError(f"width={self.width} must lie between 0 and {12**-0.5:.4f}")

  def __call__(self, step: jax.Array) -> jax.Array:
    """The decay at a step."""
    return PROFILES[self.profile](self, step)


def width(name: str) -> float:
  """Of "@WIDTH". UserError for another number than the width of a profile."""
  try:
    value = float(name[1:])
  except ValueError:
    raise core.UserError(f"eval_ema={name!r}: expected '@' and a width, such as '@0.1'") from None
  Average(profile="power", width=value)
  return value


def exponent(width: float) -> float:
  """gamma of (1): the largest root of gamma^3 + 7 gamma^2 + (16 - w^-2) gamma + 12 - w^-2."""
  return float(np.roots([1, 7, 16 - width**-2, 12 - width**-2]).real.max())


def mixture(have: Sequence[tuple[int, float]], want: tuple[int, float]) -> np.ndarray:
  """x of (2): how much of each average at (t, width) makes the one that is wanted."""
  t, gamma = (np.array(column, np.float64) for column in zip(*have))
  gamma = np.array([exponent(w) for w in gamma])
  inner = np.pad(_inner(t[:, None], gamma[:, None], t, gamma), (0, 1), constant_values=1.0)
  inner[-1, -1] = 0
  wanted = np.append(_inner(t, gamma, want[0], exponent(want[1])), 1.0)
  return np.linalg.lstsq(inner, wanted, rcond=None)[0][:-1]


def _inner(s, a, t, b):
  """<p, q> of (2), by logarithms: the powers overflow."""
  power = (a + b + 1) * np.log(np.minimum(s, t)) - (a + 1) * np.log(s) - (b + 1) * np.log(t)
  return (a + 1) * (b + 1) / (a + b + 1) * np.exp(power)
