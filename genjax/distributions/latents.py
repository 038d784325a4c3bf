"""Latent variables of a VAE: families of posteriors q(z | x), each with its prior p(z).

    gaussian      q = N(m, s^2), prior N(0, 1):            KL = (m^2 + s^2 - 1)/2 - log s
    grid          gaussian at each place of a grid, for encoders and decoders without dense layers
    laplace       q = Laplace(m, b), prior Laplace(0, 1):  KL = |m| + b e^(-|m|/b) - log b - 1
    categorical   one of `classes`, prior uniform:         KL = log classes - entropy. Training sees
                  a soft choice at a temperature (Jang et al. 2017, arXiv:1611.01144), everything
                  else sees a hard choice
    spherical     power spherical on the unit sphere (De Cao & Aziz 2020, arXiv:2006.04437), prior
                  uniform there:                           KL = log area - entropy, eq. 8

In all of this module q stands for the array [..., outputs] of an encoder's numbers, which fixes the
distribution q(z | x): the location and the logarithm of the scale of each latent (gaussian, grid,
laplace), the logits of each choice (categorical), or a direction and a concentration (spherical).

All KLs are in nats. Samples are reparametrized: differentiable in the encoder's numbers (a hard
categorical choice excepted).
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
  """Independent normal latents; also the base class of the others.

  width: number of latents.
  """

  width: core.Size = 20
  # How many numbers an encoder gives for each latent.
  size = 2

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape of z for one example."""
    return (self.width,)

  @property
  def outputs(self) -> int:
    """How many numbers an encoder gives for each example."""
    return self.width * self.size

  def sample(self, key: jax.Array, q: jax.Array, soft: bool = False) -> jax.Array:
    """Draws z [..., *shape] from q [..., outputs].

    soft: whether a categorical choice is relaxed, as in training. No other latent has a soft form.
    """
    m, s = _halves(q)
    return m + s * jax.random.normal(key, m.shape)

  def log_prob(self, q: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log q(z) of each latent in nats, [..., width]."""
    m, s = _halves(q)
    return -(((z - m) / s) ** 2) / 2 - jnp.log(s) - np.log(2 * np.pi) / 2

  def kl(self, q: jax.Array) -> jax.Array:
    """Returns KL(q || p) of each latent in nats, [..., width]."""
    m, s = _halves(q)
    return (m**2 + s**2 - 1) / 2 - jnp.log(s)

  def mean(self, q: jax.Array) -> jax.Array:
    """Returns the z [..., *shape] that stands for q where no randomness is wanted."""
    return _halves(q)[0]

  def prior(self, lead: tuple[int, ...] = ()) -> jax.Array:
    """Returns the q [*lead, outputs] that is the prior p."""
    # Location 0 and log scale 0, or equal logits.
    return jnp.zeros((*lead, self.outputs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(GaussianLatent):
  """Independent normal latents at each place of a grid; z is [..., *places, width].

  width: number of latents at each place.
  places: (height, width) of the grid.
  """

  places: tuple[core.Size, core.Size] = (7, 7)

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape of z for one example."""
    return (*self.places, self.width)

  @property
  def outputs(self) -> int:
    """How many numbers an encoder gives for each example."""
    return math.prod(self.shape) * self.size

  def sample(self, key: jax.Array, q: jax.Array, soft: bool = False) -> jax.Array:
    """Draws z [..., *places, width] from q [..., outputs]."""
    return super().sample(key, self._placed(q))

  def log_prob(self, q: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log q(z) of each latent in nats, [..., height * width of the grid * width]."""
    return _flat(super().log_prob(self._placed(q), z))

  def kl(self, q: jax.Array) -> jax.Array:
    """Returns KL(q || p) of each latent in nats, [..., height * width of the grid * width]."""
    return _flat(super().kl(self._placed(q)))

  def mean(self, q: jax.Array) -> jax.Array:
    """Returns the means of q, [..., *places, width]."""
    return super().mean(self._placed(q))

  def _placed(self, q: jax.Array) -> jax.Array:
    """Returns q as [..., *places, 2 width]: the locations and log scales of each place."""
    return q.reshape(*q.shape[:-1], *self.places, -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Laplace(GaussianLatent):
  """Independent Laplace latents.

  width: number of latents.
  """

  def sample(self, key: jax.Array, q: jax.Array, soft: bool = False) -> jax.Array:
    """Draws z [..., width] from q [..., outputs]."""
    m, b = _halves(q)
    return m + b * jax.random.laplace(key, m.shape)

  def log_prob(self, q: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log q(z) of each latent in nats, [..., width]."""
    m, b = _halves(q)
    return -jnp.abs(z - m) / b - jnp.log(2 * b)

  def kl(self, q: jax.Array) -> jax.Array:
    """Returns KL(q || p) of each latent in nats, [..., width]."""
    m, b = _halves(q)
    return jnp.abs(m) + b * jnp.exp(-jnp.abs(m) / b) - jnp.log(b) - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical(GaussianLatent):
  """Independent choices of one class each; z is their one-hot vectors, one after the other.

  width: number of choices.
  classes: number of classes of each choice.
  temperature: of the soft choices, which become hard as it goes to 0.
  """

  classes: core.Size = 10
  temperature: core.Positive = 0.5

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape of z for one example."""
    return (self.width * self.classes,)

  @property
  def outputs(self) -> int:
    """How many numbers an encoder gives for each example: a logit for each class."""
    return self.width * self.classes

  def sample(self, key: jax.Array, q: jax.Array, soft: bool = False) -> jax.Array:
    """Draws z [..., width * classes] from q, one-hot or (soft) probabilities near it."""
    # The largest of logits plus Gumbel noise is a draw from the softmax of the logits.
    logits = self._logits(q)
    noisy = logits + jax.random.gumbel(key, logits.shape)
    if soft:
      return jax.nn.softmax(noisy / self.temperature).reshape(q.shape)
    return jax.nn.one_hot(jnp.argmax(noisy, -1), self.classes).reshape(q.shape)

  def log_prob(self, q: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log q(z) of each choice in nats, [..., width]."""
    one_hot = z.reshape(*z.shape[:-1], self.width, -1)
    return jnp.sum(self._logits(q) * one_hot, axis=-1)

  def kl(self, q: jax.Array) -> jax.Array:
    """Returns KL(q || p) of each choice in nats, [..., width]."""
    logits = self._logits(q)
    return np.log(self.classes) + jnp.sum(jnp.exp(logits) * logits, axis=-1)

  def mean(self, q: jax.Array) -> jax.Array:
    """Returns the most probable z, one-hot [..., width * classes]."""
    return jax.nn.one_hot(jnp.argmax(self._logits(q), -1), self.classes).reshape(q.shape)

  def _logits(self, q: jax.Array) -> jax.Array:
    """Returns the log-probabilities of the classes, [..., width, classes]."""
    return jax.nn.log_softmax(q.reshape(*q.shape[:-1], self.width, self.classes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spherical(GaussianLatent):
  """A point z on the unit sphere; its density at z is proportional to (1 + m.z)^k.

  The encoder gives the direction m and the concentration k. There is one density and one KL for
  the whole z, so `log_prob` and `kl` are [..., 1].

  width: dimension of the space that the sphere lies in.
  Raises UserError if width is below 2.
  """

  def __post_init__(self):
    if self.width < 2:
      raise core.UserError(f"latent 'spherical' needs latent.width of at least 2, not {self.width}")

  @property
  def outputs(self) -> int:
    """How many numbers an encoder gives for each example: a direction and a concentration."""
    return self.width + 1

  def sample(self, key: jax.Array, q: jax.Array, soft: bool = False) -> jax.Array:
    """Draws z [..., width] from q [..., outputs], by algorithm 1 of the paper."""
    to_beta, to_side = jax.random.split(key)
    m, k = self._parts(q)

    # The cosine t between z and m: (1 + t)/2 has a beta distribution.
    half = (self.width - 1) / 2
    t = 2 * jax.random.beta(to_beta, half + k, half) - 1

    # y is z as if m were the first axis: t along it, and a uniform direction across it.
    side = jax.random.normal(to_side, (*t.shape, self.width - 1))
    side = side / jnp.linalg.norm(side, axis=-1, keepdims=True)
    y = jnp.concatenate([t[..., None], jnp.sqrt(1 - t**2 + 1e-7)[..., None] * side], axis=-1)

    # The Householder reflection that takes the first axis to m.
    first = jnp.zeros(self.width).at[0].set(1.0)
    u = first - m
    u = u / (jnp.linalg.norm(u, axis=-1, keepdims=True) + 1e-5)
    return y - 2 * jnp.sum(u * y, axis=-1, keepdims=True) * u

  def log_prob(self, q: jax.Array, z: jax.Array) -> jax.Array:
    """Returns the log-density of z on the sphere in nats, [..., 1]."""
    m, k = self._parts(q)
    # Opposite m the density is 0; the logarithm stays finite.
    cosine = jnp.clip(jnp.sum(m * z, axis=-1), -1 + 1e-6, 1)
    return (k * jnp.log1p(cosine) - self._normalizer(k))[..., None]

  def kl(self, q: jax.Array) -> jax.Array:
    """Returns KL(q || p) in nats, [..., 1]."""
    _, k = self._parts(q)
    half = (self.width - 1) / 2
    # E log(1 + t)
    mean = np.log(2) + special.digamma(half + k) - special.digamma(2 * half + k)
    return (k * mean - self._normalizer(k) + self._area())[..., None]

  def mean(self, q: jax.Array) -> jax.Array:
    """Returns the mean direction, [..., width]."""
    return self._parts(q)[0]

  def prior(self, lead: tuple[int, ...] = ()) -> jax.Array:
    """Returns a q [*lead, outputs] that is uniform: its concentration is nearly 0."""
    # softplus(-30) = 1e-13; the direction, which then does not matter, is the first axis.
    return jnp.zeros((*lead, self.outputs)).at[..., 0].set(1.0).at[..., -1].set(-30.0)

  def _parts(self, q: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the unit direction m [..., width] and the concentration k [...]."""
    m = q[..., :-1]
    k = jax.nn.softplus(q[..., -1])
    return m / (jnp.linalg.norm(m, axis=-1, keepdims=True) + 1e-6), k

  def _normalizer(self, k: jax.Array) -> jax.Array:
    """Returns the log of the integral of (1 + m.z)^k over the sphere, of k's shape."""
    half = (self.width - 1) / 2
    return (
      (2 * half + k) * np.log(2)
      + half * np.log(np.pi)
      + special.gammaln(half + k)
      - special.gammaln(2 * half + k)
    )

  def _area(self) -> float:
    """Returns the log of the sphere's area, 2 pi^(width/2) / Gamma(width/2)."""
    return np.log(2) + self.width / 2 * np.log(np.pi) - math.lgamma(self.width / 2)


LATENTS = {
  "gaussian": GaussianLatent,
  "grid": Grid,
  "laplace": Laplace,
  "categorical": Categorical,
  "spherical": Spherical,
}


def _flat(a: jax.Array) -> jax.Array:
  """Reshapes [..., h, w, c] to [..., h * w * c]."""
  return a.reshape(*a.shape[:-3], -1)


def _halves(q: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the location and the scale, each [..., width]."""
  m, s = jnp.split(q, 2, axis=-1)
  # The log of the scale is bounded, so that no scale is 0 or infinite early in training.
  return m, jnp.exp(jnp.clip(s, -7, 7))
