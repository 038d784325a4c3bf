"""Damage that a denoising autoencoder learns to undo.

Vincent et al. 2010, JMLR 11, 3371, section 3.3.

    gaussian       x + std eps, in the units of x
    mask           a share of the entries is set to the lowest value; 0 for data without a range
    salt_pepper    a share of the entries is set to the lowest or the highest value, by a fair coin
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core

# The lowest and the highest value of x.
Limits = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clean:
  """No damage."""

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    """Returns a damaged copy of x [B, ...], of x's shape."""
    return x


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianNoise:
  """Additive Gaussian noise.

  std: standard deviation of the noise, in the units of x.
  """

  std: core.NonNegative = 0.2

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    return x + self.std * jax.random.normal(key, x.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
  """Entries that are lost at random.

  rate: share of the entries that is lost.
  scale: whether the others, above the lowest value, are divided by 1 - rate, as dropout does.
  """

  rate: core.Fraction = 0.5
  scale: bool = False

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    # Scaling starts from the lowest value, so that the mean of x stays what it was.
    rest = (x - limits[0]) / (1 - self.rate) + limits[0] if self.scale else x
    return jnp.where(jax.random.bernoulli(key, self.rate, x.shape), limits[0], rest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaltPepper:
  """Entries that are set to the lowest or the highest value at random.

  rate: share of the entries that is lost.
  """

  rate: core.Fraction = 0.3

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    lost, coin = jax.random.split(key)
    # Each entry gets an extreme, of which only those of lost entries are used.
    extreme = jnp.where(jax.random.bernoulli(coin, 0.5, x.shape), limits[1], limits[0])
    return jnp.where(jax.random.bernoulli(lost, self.rate, x.shape), extreme, x)


CORRUPTIONS = {"none": Clean, "gaussian": GaussianNoise, "mask": Mask, "salt_pepper": SaltPepper}
