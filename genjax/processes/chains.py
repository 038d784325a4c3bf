"""Processes of T states, noised one after the other; time t stands for the state round(t T).

    ddpm   alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar)    Ho et al. 2020, arXiv:2006.11239
    ncsn   alpha = 1, sigma_k geometric in k                 Song & Ermon 2019 and 2020,
                                                         arXiv:1907.05600, arXiv:2006.09011

State 0 is the data. A step back, with r = alpha_k/alpha_{k-1} and beta = sigma_k^2 - (r
sigma_{k-1})^2,

    mu = E[x_{k-1} | xt, x0] = (r sigma_{k-1}^2 xt + alpha_{k-1} beta x0) / sigma_k^2          (1)

Between the states time goes on, so that solvers may stop there: on the circle through two of them
(ddpm), geometrically (ncsn). DDPM's schedule can be made to end in pure noise (`zero_snr`: Lin et
al. 2023, arXiv:2305.08891, algorithm 1) and follow the resolution (`shift`: at s times the size,
sigma/alpha must be s times as large to hide as much; Hoogeboom et al. 2023, arXiv:2301.11093).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian, schedules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain(gaussian.Process):
  """steps: T."""

  steps: core.Size = 1000

  @property
  def least(self) -> float:
    return 1 / self.steps

  def snap(self, u: jax.Array) -> jax.Array:
    """u in [0, 1] to the times 1/T ... 1, each equally likely."""
    return jnp.minimum(jnp.floor(u * self.steps) + 1, self.steps) / self.steps

  def visit(self, t: jax.Array) -> jax.Array:
    return jnp.clip(jnp.round(t * self.steps), 1, self.steps) / self.steps

  def grid(self, steps: int) -> np.ndarray:
    """As even as the chain allows."""
    if steps > self.steps:
      raise core.UserError(f"sampler.steps={steps} is more than process.steps={self.steps}")
    return np.round(np.linspace(self.steps, 0, steps + 1)) / self.steps

  def posterior(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Equation (1) as a row over (x0, eps)."""
    alpha, sigma = self.coefficients(t)
    alpha_s, sigma_s = self.coefficients(jnp.maximum(t - 1 / self.steps, 0))
    r = alpha / alpha_s
    keep = r * sigma_s**2 / sigma**2
    return keep * alpha + alpha_s * (1 - (r * sigma_s / sigma) ** 2), keep * sigma


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDPM(Chain):
  """noise: its schedule. zero_snr: alpha(1) = 0 exactly. shift: see the module docstring."""

  noise: core.NoiseSchedule = schedules.LinearNoise()
  zero_snr: bool = False
  shift: core.Positive = 1.0

  @functools.cached_property
  def angles(self) -> np.ndarray:
    """[T + 1] float64: alpha = cos, sigma = sin of these, which rise from 0 to at most pi/2."""
    return np.arctan2(self.table[1], self.table[0])

  @functools.cached_property
  def table(self) -> np.ndarray:
    """[2, T + 1] float64: alpha and sigma of the states 0 (data) ... T."""
    alpha = np.sqrt(self.noise.alpha_bar(self.steps))
    if self.zero_snr:
      alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    alpha = np.concatenate([[1.0], alpha])
    sigma = self.shift * np.sqrt(1 - alpha**2)
    return np.stack([alpha, sigma]) / np.hypot(alpha, sigma)

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha, sigma) at times t, of t's shape."""
    place = jnp.asarray(t) * self.steps
    state = jnp.round(place)
    on = jnp.abs(place - state) < 1e-3
    angle = jnp.interp(place, np.arange(self.steps + 1), self.angles)

    def value(row, between):  # on a state exactly the table's, with the derivative of the circle
      exact = jnp.asarray(row, place.dtype)[state.astype(jnp.int32)]
      return jnp.where(on, exact + (between - jax.lax.stop_gradient(between)), between)

    return tuple(value(row, f(angle)) for row, f in zip(self.table, (jnp.cos, jnp.sin)))

  def c_noise(self, t: jax.Array) -> jax.Array:
    """The chain's index, 0 ... T - 1."""
    return t * self.steps - 1

  def time(self, lam: jax.Array) -> jax.Array:
    """The time at which log(alpha/sigma) is lam."""
    return jnp.interp(
      jnp.arctan(jnp.exp(-lam)), self.angles, np.arange(self.steps + 1) / self.steps
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NCSN(Chain):
  """sigma of the states 1 ... T: from sigma_min to sigma_max."""

  steps: core.Size = 10
  sigma_min: core.Positive = 0.01
  sigma_max: core.Positive = 1.0

  def __post_init__(self):
    if self.steps < 2 or self.sigma_min >= self.sigma_max:
      raise core.UserError("ncsn: needs steps >= 2 and sigma_min < sigma_max")

  @property
  def ratio(self) -> float:
    """ln(sigma_{k+1} / sigma_k)."""
    return np.log(self.sigma_max / self.sigma_min) / (self.steps - 1)

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(1, sigma); between the data and the first state, sigma is proportional to t."""
    k = jnp.asarray(t) * self.steps
    sigma = self.sigma_min * jnp.where(k < 1, k, jnp.exp(self.ratio * jnp.maximum(k - 1, 0)))
    return jnp.ones_like(sigma), sigma

  def time(self, lam: jax.Array) -> jax.Array:
    """The time at which log(1/sigma) is lam."""
    relative = jnp.exp(-lam) / self.sigma_min
    above = 1 + jnp.log(jnp.maximum(relative, 1)) / self.ratio
    return jnp.where(relative < 1, relative, above) / self.steps
