"""Group normalization (Wu & He 2018, arXiv:1803.08494) of maps that may come in parts.

Channels are cut into groups; each group of an example has mean m and variance v over its channels
and pixels:

    y = scale (x - m) / sqrt(v + epsilon) + bias  =  a x + b        a, b: one number per channel

m and v come from sums over pixels of x and x^2. These and the line a x + b need only channels of
their own, so a map that is a concatenation is normalised without being put together.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class GroupNorm(nn.Module):
  """Parts [B, H, W, C_i], normalised as if joined along channels, in float32; one array or a tuple.

  groups: divides the sum of C_i.
  """

  groups: int
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, *parts: jax.Array) -> tuple[jax.Array, ...]:
    parts = [part.astype(jnp.float32) for part in parts]
    widths = [part.shape[-1] for part in parts]
    channels, pixels = sum(widths), parts[0].shape[1] * parts[0].shape[2]
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))

    def mean(power):  # of x^power over pixels and the channels of a group, [B, groups, 1]
      sums = jnp.concatenate([(part**power).sum(axis=(1, 2)) for part in parts], axis=-1)
      sums = sums.reshape(len(sums), self.groups, -1)
      return sums.sum(axis=-1, keepdims=True) / (sums.shape[-1] * pixels)

    m, square = mean(1), mean(2)
    inverse = lax.rsqrt(jnp.maximum(square - m**2, 0) + self.epsilon)
    a = inverse * scale.reshape(self.groups, -1)  # [B, groups, channels / groups]
    b = bias.reshape(self.groups, -1) - m * a
    ends = np.cumsum(widths)[:-1]
    cut = lambda v: jnp.split(v.reshape(len(v), 1, 1, channels), ends, axis=-1)
    return tuple(part * a_i + b_i for part, a_i, b_i in zip(parts, cut(a), cut(b)))
