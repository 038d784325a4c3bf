"""Latent variables of a VAE: families of q(z | x), and the prior p(z) that goes with each.

An encoder gives `size` numbers for each of the `width` latents.

    gaussian      N(m, s^2), prior N(0, 1):            KL = (m^2 + s^2 - 1)/2 - log s
    grid          the same at each place of a grid, for encoders and decoders without dense layers
    laplace       Laplace(m, b), prior Laplace(0, 1):  KL = |m| + b e^(-|m|/b) - log b - 1
    categorical   one of `classes`, prior uniform:     KL = log classes - entropy; training sees a
                  soft choice at a temperature (Jang et al. 2017, arXiv:1611.01144), else a hard one
    spherical     power spherical on the unit sphere (De Cao & Aziz 2020, arXiv:2006.04437), prior
                  uniform there:                       KL = log area - entropy, (8) of the paper

KLs are in nats. Samples are reparametrized: differentiable in what the encoder gives.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianLatent:
  """width: number of latents."""

  width: core.Size = 20
  size = 2

  @property
  def shape(self) -> tuple[int, ...]:
    """Of one z."""
    return (self.width,)

  @property
  def outputs(self) -> int:
    """How many numbers an encoder gives for each example."""
    return self.width * self.size

  def sample(self, key: jax.Array, q: jax.Array, soft: bool = False) -> jax.Array:
    """q [..., outputs] -> z [..., *shape]; soft: as training sees it."""
    m, s = _halves(q)
    return m + s * jax.random.normal(key, m.shape)

  def log_prob(self, q: jax.Array, z: jax.Array) -> jax.Array:
    """Nats of z under q, of each latent [..., width]."""
    m, s = _halves(q)
    return -(((z - m) / s) ** 2) / 2 - jnp.log(s) - np.log(2 * np.pi) / 2

  def kl(self, q: jax.Array) -> jax.Array:
    """KL(q || p) of each latent, nats [..., width]."""
    m, s = _halves(q)
    return (m**2 + s**2 - 1) / 2 - jnp.log(s)

  def mean(self, q: jax.Array) -> jax.Array:
    """The z that stands for q."""
    return _halves(q)[0]

  def prior(self, lead: tuple[int, ...] = ()) -> jax.Array:
    """The q [*lead, outputs] that is p."""
    return jnp.zeros((*lead, self.outputs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(GaussianLatent):
  """width latents at each place: z [*places, width]; densities and KLs are flat."""

  places: tuple[core.Size, core.Size] = (7, 7)

  @property
  def shape(self):
    return (*self.places, self.width)

  @property
  def outputs(self):
    return math.prod(self.shape) * self.size

  def sample(self, key, q, soft=False):
    return super().sample(key, self._placed(q))

  def log_prob(self, q, z):
    return _flat(super().log_prob(self._placed(q), z))

  def kl(self, q):
    return _flat(super().kl(self._placed(q)))

  def mean(self, q):
    return super().mean(self._placed(q))

  def _placed(self, q):
    return q.reshape(*q.shape[:-1], *self.places, -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Laplace(GaussianLatent):
  """width: number of latents."""

  def sample(self, key, q, soft=False):
    m, b = _halves(q)
    return m + b * jax.random.laplace(key, m.shape)

  def log_prob(self, q, z):
    m, b = _halves(q)
    return -jnp.abs(z - m) / b - jnp.log(2 * b)

  def kl(self, q):
    m, b = _halves(q)
    return jnp.abs(m) + b * jnp.exp(-jnp.abs(m) / b) - jnp.log(b) - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical(GaussianLatent):
  """width choices of one of `classes`. temperature: of the soft ones."""

  classes: core.Size = 10
  temperature: core.Positive = 0.5

  @property
  def shape(self):
    return (self.width * self.classes,)

  @property
  def outputs(self):
    return self.width * self.classes

  def sample(self, key, q, soft=False):
    logits = self._logits(q)
    noisy = logits + jax.random.gumbel(key, logits.shape)
    if soft:
      return jax.nn.softmax(noisy / self.temperature).reshape(q.shape)
    return jax.nn.one_hot(jnp.argmax(noisy, -1), self.classes).reshape(q.shape)

  def log_prob(self, q, z):
    return jnp.sum(self._logits(q) * z.reshape(*z.shape[:-1], self.width, -1), axis=-1)

  def kl(self, q):
    logits = self._logits(q)
    return np.log(self.classes) + jnp.sum(jnp.exp(logits) * logits, axis=-1)

  def mean(self, q):
    return jax.nn.one_hot(jnp.argmax(self._logits(q), -1), self.classes).reshape(q.shape)

  def _logits(self, q):
    """Normalized, [..., width, classes]."""
    return jax.nn.log_softmax(q.reshape(*q.shape[:-1], self.width, self.classes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spherical(GaussianLatent):
  """width: of the space that the sphere lies in, at least 2. One density and one KL for all."""

  def __post_init__(self):
    if self.width < 2:
      raise core.UserError("latent 'spherical': width must be at least 2")

  @property
  def outputs(self):
    return self.width + 1

  def sample(self, key, q, soft=False):
    to_beta, to_side = jax.random.split(key)
    m, k = self._parts(q)
    half = (self.width - 1) / 2
    t = 2 * jax.random.beta(to_beta, half + k, half) - 1
    side = jax.random.normal(to_side, (*t.shape, self.width - 1))
    side = side / jnp.linalg.norm(side, axis=-1, keepdims=True)
    y = jnp.concatenate([t[..., None], jnp.sqrt(1 - t**2 + 1e-7)[..., None] * side], axis=-1)
    first = jnp.zeros(self.width).at[0].set(1.0)
    u = first - m  # the reflection that takes the first axis to m
    u = u / (jnp.linalg.norm(u, axis=-1, keepdims=True) + 1e-5)
    return y - 2 * jnp.sum(u * y, axis=-1, keepdims=True) * u

  def log_prob(self, q, z):
    m, k = self._parts(q)
    cosine = jnp.clip(jnp.sum(m * z, axis=-1), -1 + 1e-6, 1)
    return (k * jnp.log1p(cosine) - self._normalizer(k))[..., None]

  def kl(self, q):
    _, k = self._parts(q)
    half = (self.width - 1) / 2
    mean = np.log(2) + special.digamma(half + k) - special.digamma(2 * half + k)  # E log(1 + t)
    return (k * mean - self._normalizer(k) + self._area())[..., None]

  def mean(self, q):
    return self._parts(q)[0]

  def prior(self, lead=()):
    """An even density: no concentration around the first axis."""
    return jnp.zeros((*lead, self.outputs)).at[..., 0].set(1.0).at[..., -1].set(-30.0)

  def _parts(self, q):
    """(direction [..., width], concentration [...])."""
    m, k = q[..., :-1], jax.nn.softplus(q[..., -1])
    return m / (jnp.linalg.norm(m, axis=-1, keepdims=True) + 1e-6), k

  def _normalizer(self, k):
    """log of the integral of (1 + m.z)^k over the sphere."""
    half = (self.width - 1) / 2
    return (
      (2 * half + k) * np.log(2)
      + half * np.log(np.pi)
      + special.gammaln(half + k)
      - special.gammaln(2 * half + k)
    )

  def _area(self):
    return np.log(2) + self.width / 2 * np.log(np.pi) - math.lgamma(self.width / 2)


LATENTS = {
  "gaussian": GaussianLatent,
  "grid": Grid,
  "laplace": Laplace,
  "categorical": Categorical,
  "spherical": Spherical,
}


def _flat(a):
  """[..., h, w, c] -> [..., h w c]."""
  return a.reshape(*a.shape[:-3], -1)


def _halves(q):
  """(location, scale) [..., width]; the scale's logarithm is bounded, so that none explodes."""
  m, s = jnp.split(q, 2, axis=-1)
  return m, jnp.exp(jnp.clip(s, -7, 7))
