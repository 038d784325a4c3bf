"""Damage for a denoising autoencoder to undo (Vincent et al. 2010, JMLR 11, 3371, section 3.3).

gaussian       x + std eps, in the units of x
mask           a share of the entries is 0 (the lowest value of data that have one)
salt_pepper    a share of the entries is the lowest or the highest value, by a fair coin
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core

Limits = tuple[float, float]  # the lowest and the highest value of x


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clean:
  """None."""

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    """x [B, ...] -> its damaged copy."""
    return x


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianNoise:
  """std: of the noise."""

  std: core.NonNegative = 0.2

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    return x + self.std * jax.random.normal(key, x.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
  """rate: the share that is lost. scale: whether the rest is divided by 1 - rate, as dropout is."""

  rate: core.Fraction = 0.5
  scale: bool = False

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    rest = (x - limits[0]) / (1 - self.rate) + limits[0] if self.scale else x
    return jnp.where(jax.random.bernoulli(key, self.rate, x.shape), limits[0], rest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaltPepper:
  """rate: the share that is lost."""

  rate: core.Fraction = 0.3

  def __call__(self, key: jax.Array, x: jax.Array, limits: Limits) -> jax.Array:
    lost, coin = jax.random.split(key)
    extreme = jnp.where(jax.random.bernoulli(coin, 0.5, x.shape), limits[1], limits[0])
    return jnp.where(jax.random.bernoulli(lost, self.rate, x.shape), extreme, x)


CORRUPTIONS = {"none": Clean, "gaussian": GaussianNoise, "mask": Mask, "salt_pepper": SaltPepper}
