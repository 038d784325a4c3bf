"""Gaussian corruption and the algebra of what a network may predict about it.

One notation for every process: t = 0 is data, t = 1 is noise,

    xt = alpha(t) x0 + sigma(t) eps,   eps ~ N(0, I)                                       (1)

A prediction is linear in the pair (x0, eps), so it is one row (a, b) of coefficients,

    out = a x0 + b eps                                                                      (2)

        x0     (1, 0)            eps    (0, 1)
        v      (-sigma, alpha)   score  (0, -1/sigma)

and all conversions are one: solve (1), (2) for (x0, eps), then apply another row. With
det = alpha b - sigma a,

    x0 = (b xt - sigma out) / det,   eps = (alpha out - a xt) / det                         (3)

A pair is illegal where det = 0: eps cannot recover x0 from pure noise (alpha = 0). Sources: Ho et
al. 2020 (DDPM, arXiv:2006.11239); Salimans & Ho 2022 (v, arXiv:2202.00512); Lin et al. 2023
(zero terminal signal-to-noise ratio, arXiv:2305.08891).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import schedules

ROWS = {
  "x0": lambda alpha, sigma: (jnp.ones_like(alpha), jnp.zeros_like(alpha)),
  "eps": lambda alpha, sigma: (jnp.zeros_like(alpha), jnp.ones_like(alpha)),
  "v": lambda alpha, sigma: (-sigma, alpha),
  "score": lambda alpha, sigma: (jnp.zeros_like(alpha), -1 / sigma),
}


def corrupt(x0: jax.Array, eps: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
  """xt of (1); alpha, sigma [B] or scalar, arrays [B, *event]."""
  return core.expand(alpha, x0) * x0 + core.expand(sigma, x0) * eps


def project(prediction: str, x0, eps, alpha, sigma) -> jax.Array:
  """What a network that predicts `prediction` should say of the pair (x0, eps): (2)."""
  a, b = ROWS[prediction](alpha, sigma)
  return core.expand(a, x0) * x0 + core.expand(b, x0) * eps


def solve(prediction: str, out, xt, alpha, sigma) -> tuple[jax.Array, jax.Array]:
  """(x0, eps) that a network's output `out` at `xt` stands for: (3)."""
  a, b = ROWS[prediction](alpha, sigma)
  alpha, sigma, a, b = (core.expand(c, xt) for c in (alpha, sigma, a, b))
  det = alpha * b - sigma * a
  return (b * xt - sigma * out) / det, (alpha * out - a * xt) / det


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDPM:
  """The discrete chain of Ho et al. 2020: alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar).

  noise: its schedule. steps: T; time t in [0, 1] stands for the state round(t T), 0 being data.
  zero_snr: shifts and scales alpha so that alpha(1) = 0 exactly (Lin et al. 2023, algorithm 1).
  """

  noise: Any = schedules.Linear()
  steps: core.Size = 1000
  zero_snr: bool = False

  @functools.cached_property
  def table(self) -> np.ndarray:
    """[2, T + 1] float64: alpha and sigma of the states 0 (data) ... T."""
    alpha = np.sqrt(self.noise.alpha_bar(self.steps))
    if self.zero_snr:
      alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    alpha = np.concatenate([[1.0], alpha])
    return np.stack([alpha, np.sqrt(1 - alpha**2)])

  @functools.cached_property
  def angles(self) -> np.ndarray:
    """[T + 1] float64: alpha = cos, sigma = sin of these, which rise from 0 to at most pi/2."""
    return np.arctan2(self.table[1], self.table[0])

  @property
  def least(self) -> float:
    """The smallest time that training sees."""
    return 1 / self.steps

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha, sigma) at times t, of t's shape; between two states, on the circle through them."""
    place = jnp.asarray(t) * self.steps
    state = jnp.round(place)
    on = jnp.abs(place - state) < 1e-3
    angle = jnp.interp(place, np.arange(self.steps + 1), self.angles)

    def value(row, between):  # on a state exactly the table's, with the derivative of the circle
      exact = jnp.asarray(row, place.dtype)[state.astype(jnp.int32)]
      return jnp.where(on, exact + (between - jax.lax.stop_gradient(between)), between)

    return tuple(value(row, f(angle)) for row, f in zip(self.table, (jnp.cos, jnp.sin)))

  def time(self, lam: jax.Array) -> jax.Array:
    """The time at which log(alpha/sigma) is lam."""
    return jnp.interp(
      jnp.arctan(jnp.exp(-lam)), self.angles, np.arange(self.steps + 1) / self.steps
    )

  def snap(self, u: jax.Array) -> jax.Array:
    """Uniform u in [0, 1) to the times 1/T ... 1, each equally likely."""
    return (jnp.floor(u * self.steps) + 1) / self.steps

  def c_noise(self, t: jax.Array) -> jax.Array:
    """What the network sees of the time: the chain's index, 0 ... T - 1."""
    return t * self.steps - 1

  def grid(self, steps: int) -> np.ndarray:
    """[steps + 1] times from 1 to 0, as even as the chain allows. UserError if it is too short."""
    if steps > self.steps:
      raise core.UserError(f"sampler.steps={steps} is more than process.steps={self.steps}")
    return np.round(np.linspace(self.steps, 0, steps + 1)) / self.steps

  def check(self, prediction: str) -> None:
    """UserError if `prediction` cannot be solved for (x0, eps) at some time of the chain."""
    if prediction not in ROWS:
      raise core.unknown("prediction", prediction, ROWS)
    alpha, sigma = (jnp.asarray(row[1:], jnp.float32) for row in self.table)
    a, b = ROWS[prediction](alpha, sigma)
    if not np.all(np.abs(alpha * b - sigma * a) > 0):
      raise core.UserError(
        f"prediction={prediction!r} with a process of zero terminal signal-to-noise ratio: pure "
        "noise does not determine x0; use 'v' or 'x0'"
      )
