"""Distributions that models start from: normal noise, or another one in its place.

    normal       N(0, I)
    8gaussians   eight equally likely Gaussians on a circle in the plane

The second is the start of the task "8gaussians to moons" (Tong et al. 2023, arXiv:2302.00482, whose
code draws wider Gaussians: std = 0.1^(1/4)).
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
    """Draws an array of the given shape, be it of one example or of a batch."""
    return jax.random.normal(key, shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EightGaussians:
  """Eight equally likely Gaussians, evenly spaced on a circle around 0 in the plane.

  radius: of the circle.
  std: standard deviation of each Gaussian, in both directions.
  """

  radius: core.Positive = 5.0
  std: core.Positive = 0.1**0.5

  def sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws an array of points of the given shape [..., 2].

    Raises UserError if the last dimension is not 2.
    """
    if shape[-1] != 2:
      raise core.UserError(
        "source '8gaussians' draws points in the plane, shape (..., 2), but the data have shape "
        f"{shape}; use source 'normal'"
      )

    which, noise = jax.random.split(key)
    angle = np.pi / 4 * jax.random.randint(which, shape[:-1], 0, 8)
    center = self.radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)  # [..., 2]
    return center + self.std * jax.random.normal(noise, shape)


SOURCES = {"normal": Normal, "8gaussians": EightGaussians}
