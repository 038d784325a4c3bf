"""Chains of T noise levels: DDPM and NCSN.

State 0 is the data and state T the strongest noise. Time t in [0, 1] stands for state round(t T).

    ddpm   alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar)    Ho et al. 2020, arXiv:2006.11239
    ncsn   alpha = 1, sigma_k geometric in k                 Song & Ermon 2019 and 2020,
                                                         arXiv:1907.05600, arXiv:2006.09011

Given the data, the state before state k has the mean

    mu = E[x_{k-1} | xt, x0] = (r sigma_{k-1}^2 xt + alpha_{k-1} beta x0) / sigma_k^2          (1)

with r = alpha_k/alpha_{k-1} and beta = sigma_k^2 - (r sigma_{k-1})^2.

Both processes are also defined between the states, so that a solver may stop at any time. DDPM
moves on the circle alpha = cos(angle), sigma = sin(angle), with an angle linear in t; the sigma of
NCSN grows geometrically. Two options change the schedule of DDPM:

    zero_snr   the chain ends in pure noise, alpha(1) = 0
                                           Lin et al. 2023, arXiv:2305.08891, algorithm 1
    shift      the factor on sigma/alpha: an image of s times the side needs s times as much noise
               to hide as much of it       Hoogeboom et al. 2023, arXiv:2301.11093
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
  """What DDPM and NCSN share: T states, visited one after the other.

  steps: the number of states T, without the data.
  """

  steps: core.Size = 1000

  @property
  def least(self) -> float:
    """The time of state 1, the first that is noisy."""
    return 1 / self.steps

  def snap(self, u: jax.Array) -> jax.Array:
    """Maps u in [0, 1] to the times 1/T ... 1 of the states, each equally likely."""
    return jnp.minimum(jnp.floor(u * self.steps) + 1, self.steps) / self.steps

  def visit(self, t: jax.Array) -> jax.Array:
    """Returns the time of the state nearest to t, the data excluded."""
    return jnp.clip(jnp.round(t * self.steps), 1, self.steps) / self.steps

  def grid(self, steps: int) -> np.ndarray:
    """Returns [steps + 1] times of states from 1 to 0, as even as the chain allows.

    Raises UserError for more steps than the chain has states.
    """
    if steps > self.steps:
      raise core.UserError(f"sampler.steps={steps} is more than process.steps={self.steps}")
    return np.round(np.linspace(self.steps, 0, steps + 1)) / self.steps

  def posterior(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns equation (1) as coefficients (a, b) of (x0, eps), each of t's shape."""
    alpha, sigma = self.coefficients(t)
    alpha_s, sigma_s = self.coefficients(jnp.maximum(t - 1 / self.steps, 0))

    # (1) is keep * xt + (...) * x0; then xt = alpha x0 + sigma eps is put in.
    r = alpha / alpha_s
    keep = r * sigma_s**2 / sigma**2
    return keep * alpha + alpha_s * (1 - (r * sigma_s / sigma) ** 2), keep * sigma


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDPM(Chain):
  """The variance-preserving chain, alpha^2 + sigma^2 = 1.

  noise: the schedule alpha_bar, one of schedules.py.
  zero_snr: whether alpha(1) = 0 exactly.
  shift: the factor on sigma/alpha of the schedule.
  """

  noise: core.NoiseSchedule = schedules.LinearNoise()
  zero_snr: bool = False
  shift: core.Positive = 1.0

  @functools.cached_property
  def angles(self) -> np.ndarray:
    """The angles of the states, [T + 1] float64, which rise from 0 to at most pi/2."""
    return np.arctan2(self.table[1], self.table[0])

  @functools.cached_property
  def table(self) -> np.ndarray:
    """alpha and sigma of the states 0 (data) ... T, [2, T + 1] float64."""
    alpha = np.sqrt(self.noise.alpha_bar(self.steps))
    if self.zero_snr:
      # Shifts the last alpha to 0, then scales so that the first keeps its value.
      alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])

    alpha = np.concatenate([[1.0], alpha])
    # `shift` multiplies sigma/alpha; then the pair is brought back onto the circle.
    sigma = self.shift * np.sqrt(1 - alpha**2)
    return np.stack([alpha, sigma]) / np.hypot(alpha, sigma)

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (alpha, sigma) at times t, of t's shape."""
    place = jnp.asarray(t) * self.steps  # the state, as a real number
    state = jnp.round(place)
    on = jnp.abs(place - state) < 1e-3
    angle = jnp.interp(place, np.arange(self.steps + 1), self.angles)

    # On a state the value is exactly the table's, while the derivative is still the circle's.
    def value(row, between):
      exact = jnp.asarray(row, place.dtype)[state.astype(jnp.int32)]
      return jnp.where(on, exact + (between - jax.lax.stop_gradient(between)), between)

    return tuple(value(row, f(angle)) for row, f in zip(self.table, (jnp.cos, jnp.sin)))

  def c_noise(self, t: jax.Array) -> jax.Array:
    """Returns the index of the state as published DDPM networks see it, 0 ... T - 1."""
    return t * self.steps - 1

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam."""
    angle = jnp.arctan(jnp.exp(-lam))  # its tangent is sigma/alpha
    return jnp.interp(angle, self.angles, np.arange(self.steps + 1) / self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NCSN(Chain):
  """The chain that adds noise to data of unchanged size, alpha = 1.

  steps: the number of noise levels T.
  sigma_min: noise of state 1.
  sigma_max: noise of state T.
  Raises UserError unless there are two levels or more and sigma_min < sigma_max.
  """

  steps: core.Size = 10
  sigma_min: core.Positive = 0.01
  sigma_max: core.Positive = 1.0

  def __post_init__(self):
    if self.steps < 2 or self.sigma_min >= self.sigma_max:
      raise core.UserError("ncsn: needs steps >= 2 and sigma_min < sigma_max")

  @property
  def ratio(self) -> float:
    """The growth from state to state, ln(sigma_{k+1} / sigma_k)."""
    return np.log(self.sigma_max / self.sigma_min) / (self.steps - 1)

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (1, sigma) at times t; between the data and state 1, sigma is proportional to t."""
    k = jnp.asarray(t) * self.steps  # the state, as a real number
    sigma = self.sigma_min * jnp.where(k < 1, k, jnp.exp(self.ratio * jnp.maximum(k - 1, 0)))
    return jnp.ones_like(sigma), sigma

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(1/sigma) is lam."""
    relative = jnp.exp(-lam) / self.sigma_min  # sigma / sigma_min
    above = 1 + jnp.log(jnp.maximum(relative, 1)) / self.ratio
    return jnp.where(relative < 1, relative, above) / self.steps
