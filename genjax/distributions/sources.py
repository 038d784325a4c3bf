"""Distributions that models start from.

    normal       N(0, I)
    8gaussians   eight equally likely Gaussians on a circle in the plane

The second is where "8gaussians to moons" begins (Tong et al. 2023, arXiv:2302.00482, whose code
draws them wider: std = 0.1^(1/4)).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normal:
  """Independent standard normal dimensions."""

  def sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A draw of the whole shape, of one example or of a batch."""
    return jax.random.normal(key, shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EightGaussians:
  """radius, std: of the circle and of each Gaussian."""

  radius: core.Positive = 5.0
  std: core.Positive = 0.1**0.5

  def sample(self, key, shape):
    if shape[-1] != 2:
      raise core.UserError(f"source '8gaussians' lies in the plane, not in shape {shape}")
    which, noise = jax.random.split(key)
    angle = np.pi / 4 * jax.random.randint(which, shape[:-1], 0, 8)
    center = self.radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return center + self.std * jax.random.normal(noise, shape)


SOURCES = {"normal": Normal, "8gaussians": EightGaussians}
