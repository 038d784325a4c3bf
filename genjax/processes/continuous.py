"""Processes in continuous time, each by its closed forms.

Stochastic differential equations (Song et al. 2021, arXiv:2011.13456, appendix B),

    vp      dx = -beta x/2 dt + sqrt(beta) dw,     beta(t) = b0 + t (b1 - b0),  B = integral beta,
            alpha = exp(-B/2),  sigma = sqrt(1 - alpha^2)
    sub_vp  the same drift with less noise:        alpha = exp(-B/2),  sigma = 1 - alpha^2
    ve      dx = sigma_min r^t sqrt(2 ln r) dw,    r = sigma_max/sigma_min,
            alpha = 1,  sigma = sigma_min sqrt(r^(2t) - 1)

the noise levels themselves (Karras et al. 2022, arXiv:2206.00364),

    edm     alpha = 1,  sigma = t sigma_max        to be walked by the grid "karras"

and the paths of flow matching, which end in noise alone (Lipman et al. 2023, arXiv:2210.02747; Liu
et al. 2023, arXiv:2209.03003; Albergo et al. 2023, arXiv:2303.08797; `shift`: Esser et al. 2024,
arXiv:2403.03206, eq. 23),

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
  """beta_min, beta_max: b0 and b1."""

  beta_min: core.Positive = 0.1
  beta_max: core.Positive = 20.0

  def integral(self, t):
    """B(t)."""
    return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

  def when(self, integral):
    """The t at which B(t) is this."""
    change = 2 * (self.beta_max - self.beta_min) * integral
    return 2 * integral / (self.beta_min + jnp.sqrt(self.beta_min**2 + change))

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = self.integral(jnp.asarray(t))
    return jnp.exp(-total / 2), jnp.sqrt(-jnp.expm1(-total))

  def time(self, lam: jax.Array) -> jax.Array:
    return self.when(jax.nn.softplus(-2 * lam))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubVP(VP):
  """alpha of VP; sigma is the square of VP's."""

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = self.integral(jnp.asarray(t))
    return jnp.exp(-total / 2), -jnp.expm1(-total)

  def time(self, lam: jax.Array) -> jax.Array:
    return self.when(2 * jnp.arcsinh(jnp.exp(-lam) / 2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VE(gaussian.Process):
  """sigma_max: about the largest distance between two data points."""

  sigma_min: core.Positive = 0.01
  sigma_max: core.Positive = 50.0

  @property
  def growth(self) -> float:
    """ln r."""
    return np.log(self.sigma_max / self.sigma_min)

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    sigma = self.sigma_min * jnp.sqrt(jnp.expm1(2 * self.growth * jnp.asarray(t)))
    return jnp.ones_like(sigma), sigma

  def time(self, lam: jax.Array) -> jax.Array:
    return jnp.log1p(jnp.exp(-2 * lam) / self.sigma_min**2) / (2 * self.growth)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EDM(gaussian.Process):
  """sigma_min: the least noise that is learnt; the paper's sigma_data is 0.5."""

  sigma_min: core.Positive = 0.002
  sigma_max: core.Positive = 80.0

  @property
  def least(self) -> float:
    return self.sigma_min / self.sigma_max

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.ones_like(t), self.sigma_max * jnp.asarray(t)

  def time(self, lam: jax.Array) -> jax.Array:
    return jnp.exp(-lam) / self.sigma_max

  def c_noise(self, t: jax.Array) -> jax.Array:
    """1000 times the paper's ln(sigma)/4."""
    return 250 * jnp.log(self.sigma_max * t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CondOT(gaussian.Process):
  """Straight lines; shift > 1 spends more time at high noise, as large images ask for.

  bridge: s of the Brownian bridge s sqrt(u (1 - u)) z that is added on the way: stochastic
    interpolants and, with coupling "sinkhorn" of reg = 2 s^2, Schrödinger bridges (Tong et al.
    2024, arXiv:2307.03672).
  """

  shift: core.Positive = 1.0
  bridge: core.NonNegative = 0.0

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    t = jnp.asarray(t)
    scale = 1 + (self.shift - 1) * t
    return (1 - t) / scale, self.shift * t / scale

  def time(self, lam: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(-lam - np.log(self.shift))

  def detour(self, t: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(what the bridge adds to xt, and to its velocity) at times t [B], by noise z [B, *event]."""

    def size(t):
      alpha, sigma = self.coefficients(t)
      return self.bridge * jnp.sqrt(alpha * sigma)

    here, rate = jax.jvp(size, (t,), (jnp.ones_like(t),))
    return core.expand(here, z) * z, core.expand(rate, z) * z

  def snap(self, u: jax.Array) -> jax.Array:
    """With a bridge, whose speed is infinite at both ends, from `least` to 1 - `least`."""
    return super().snap(u) - self.least * u * (self.bridge > 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineFlow(gaussian.Process):
  """alpha^2 + sigma^2 = 1, at constant speed."""

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    angle = lambda t: jnp.sin(np.pi / 2 * t)
    return angle(1 - jnp.asarray(t)), angle(jnp.asarray(t))

  def time(self, lam: jax.Array) -> jax.Array:
    return 2 / np.pi * jnp.arctan(jnp.exp(-lam))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polynomial(gaussian.Process):
  """power: n, 1 being cond_ot."""

  power: core.Positive = 2.0

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    alpha = (1 - jnp.asarray(t)) ** self.power
    return alpha, 1 - alpha

  def time(self, lam: jax.Array) -> jax.Array:
    return 1 - jax.nn.sigmoid(lam) ** (1 / self.power)
