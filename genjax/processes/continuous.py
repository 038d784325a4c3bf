"""Processes in continuous time, each given by closed forms of alpha(t) and sigma(t).

Stochastic differential equations (Song et al. 2021, arXiv:2011.13456, appendix B):

    vp      dx = -beta x/2 dt + sqrt(beta) dw,     beta(t) = b0 + t (b1 - b0),  B = integral beta,
            alpha = exp(-B/2),  sigma = sqrt(1 - alpha^2)
    sub_vp  the same drift with less noise:        alpha = exp(-B/2),  sigma = 1 - alpha^2
    ve      dx = sigma_min r^t sqrt(2 ln r) dw,    r = sigma_max/sigma_min,
            alpha = 1,  sigma = sigma_min sqrt(r^(2t) - 1)

The noise level itself as time (Karras et al. 2022, arXiv:2206.00364); samplers walk this process on
the grid "karras":

    edm     alpha = 1,  sigma = t sigma_max

The paths of flow matching, which end in pure noise (Lipman et al. 2023, arXiv:2210.02747; Liu et
al. 2023, arXiv:2209.03003; Albergo et al. 2023, arXiv:2303.08797; `shift`: Esser et al. 2024,
arXiv:2403.03206, eq. 23):

    cond_ot      alpha = 1 - u,  sigma = u,        u = s t / (1 + (s - 1) t) with s = `shift`
    cosine       alpha = cos(pi t/2),  sigma = sin(pi t/2)
    polynomial   alpha = (1 - t)^n,  sigma = 1 - (1 - t)^n
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class VP(gaussian.Process):
  """The variance-preserving SDE.

  beta_min: b0, the rate of noise at the data.
  beta_max: b1, the rate of noise at t = 1.
  """

  beta_min: core.Positive = 0.1
  beta_max: core.Positive = 20.0

  def integral(self, t: jax.Array) -> jax.Array:
    """Returns B(t), the integral of beta from 0 to t."""
    return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

  def when(self, integral: jax.Array) -> jax.Array:
    """Returns the time t at which B(t) equals `integral`."""
    # The positive root of a quadratic, in the form that also holds for beta_min = beta_max.
    change = 2 * (self.beta_max - self.beta_min) * integral
    return 2 * integral / (self.beta_min + jnp.sqrt(self.beta_min**2 + change))

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (exp(-B/2), sqrt(1 - exp(-B))) at times t."""
    total = self.integral(jnp.asarray(t))
    # expm1 keeps the digits of sigma near the data.
    return jnp.exp(-total / 2), jnp.sqrt(-jnp.expm1(-total))

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam, where B = ln(1 + exp(-2 lam))."""
    return self.when(jax.nn.softplus(-2 * lam))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubVP(VP):
  """The sub-VP SDE: the alpha of VP, and for sigma the square of VP's sigma."""

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (exp(-B/2), 1 - exp(-B)) at times t."""
    total = self.integral(jnp.asarray(t))
    # sigma is 1 - alpha^2.
    return jnp.exp(-total / 2), -jnp.expm1(-total)

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam, where 2 sinh(B/2) = exp(-lam)."""
    return self.when(2 * jnp.arcsinh(jnp.exp(-lam) / 2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VE(gaussian.Process):
  """The variance-exploding SDE.

  sigma_min: the scale of the noise near the data.
  sigma_max: nearly the noise at t = 1; about the largest distance between two data points.
  """

  sigma_min: core.Positive = 0.01
  sigma_max: core.Positive = 50.0

  @property
  def growth(self) -> float:
    """The logarithm of r = sigma_max/sigma_min."""
    return np.log(self.sigma_max / self.sigma_min)

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (1, sigma_min sqrt(r^(2t) - 1)) at times t."""
    sigma = self.sigma_min * jnp.sqrt(jnp.expm1(2 * self.growth * jnp.asarray(t)))
    return jnp.ones_like(sigma), sigma

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(1/sigma) is lam."""
    # r^(2t) = 1 + sigma^2/sigma_min^2.
    return jnp.log1p(jnp.exp(-2 * lam) / self.sigma_min**2) / (2 * self.growth)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EDM(gaussian.Process):
  """The process of EDM, whose noise is proportional to time.

  The paper takes sigma_data = 0.5.

  sigma_min: the least noise that is learnt.
  sigma_max: the noise at t = 1.
  """

  sigma_min: core.Positive = 0.002
  sigma_max: core.Positive = 80.0

  @property
  def least(self) -> float:
    """The time at which the noise is sigma_min."""
    return self.sigma_min / self.sigma_max

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (1, t sigma_max) at times t."""
    return jnp.ones_like(t), self.sigma_max * jnp.asarray(t)

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(1/sigma) is lam."""
    return jnp.exp(-lam) / self.sigma_max

  def c_noise(self, t: jax.Array) -> jax.Array:
    """Returns 250 ln(sigma), which is 1000 times the paper's ln(sigma)/4."""
    return 250 * jnp.log(self.sigma_max * t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CondOT(gaussian.Process):
  """Straight lines from data to noise.

  shift: s of the module docstring; above 1 it spends more time at high noise, as large images need.
  bridge: s of the Brownian bridge s sqrt(u (1 - u)) z, z ~ N(0, I), that is added on the way. It
    gives stochastic interpolants and, with coupling "sinkhorn" of reg = 2 s^2 and relative = False,
    Schrödinger bridges (Tong et al. 2024, arXiv:2307.03672).
  """

  shift: core.Positive = 1.0
  bridge: core.NonNegative = 0.0

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (1 - u, u) at times t."""
    t = jnp.asarray(t)
    # The denominator of u; the numerator of 1 - u is 1 - t.
    scale = 1 + (self.shift - 1) * t
    return (1 - t) / scale, self.shift * t / scale

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam."""
    # (1 - t)/t = s e^lam.
    return jax.nn.sigmoid(-lam - np.log(self.shift))

  def detour(self, t: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns what the bridge adds to xt and to the velocity, each [B, *event].

    t: times [B].
    z: standard normal noise [B, *event], apart from the eps of xt.
    """

    def size(t):
      alpha, sigma = self.coefficients(t)
      return self.bridge * jnp.sqrt(alpha * sigma)

    # The size of the bridge and its derivative by t, [B].
    here, rate = jax.jvp(size, (t,), (jnp.ones_like(t),))
    return core.expand(here, z) * z, core.expand(rate, z) * z

  def snap(self, u: jax.Array) -> jax.Array:
    """Maps u in [0, 1] to times from `least` to 1, or to 1 - `least` with a bridge."""
    # The speed of a bridge is infinite at both ends.
    return super().snap(u) - self.least * u * (self.bridge > 0)

  def visit(self, t: jax.Array) -> jax.Array:
    """Returns the time nearest to t that training sees, see `snap`."""
    return jnp.clip(t, self.least, 1 - self.least * (self.bridge > 0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineFlow(gaussian.Process):
  """The quarter circle alpha^2 + sigma^2 = 1, at constant speed."""

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (cos(pi t/2), sin(pi t/2)) at times t."""
    # The cosine is a sine of 1 - t, since cos(pi/2) would not be 0 in floating point.
    angle = lambda t: jnp.sin(np.pi / 2 * t)
    return angle(1 - jnp.asarray(t)), angle(jnp.asarray(t))

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam."""
    # sigma/alpha is the tangent of pi t/2.
    return 2 / np.pi * jnp.arctan(jnp.exp(-lam))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polynomial(gaussian.Process):
  """Straight lines, as those of `CondOT`, walked at a speed that changes with time.

  power: n of the module docstring; 1 is cond_ot.
  """

  power: core.Positive = 2.0

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns ((1 - t)^n, 1 - (1 - t)^n) at times t."""
    alpha = (1 - jnp.asarray(t)) ** self.power
    return alpha, 1 - alpha

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam."""
    # alpha = S(lam), since alpha + sigma = 1.
    return 1 - jax.nn.sigmoid(lam) ** (1 / self.power)
