"""Group normalization (Wu & He 2018, arXiv:1803.08494) of feature maps that may come in parts.

Channels are divided into groups. Each group of an example has a mean m and a variance v, taken over
its channels and pixels:

    y = scale (x - m) / sqrt(v + epsilon) + bias  =  a x + b                                    (1)

with one a and one b for each example and channel. m and v follow from sums of x and x^2 over the
pixels of each channel. Neither the sums nor a x + b mix channels, so a map that is a concatenation
of parts is normalised without being concatenated.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class GroupNorm(nn.Module):
  """Parts [B, H, W, C_i] -> a tuple of their values, normalised as if joined along channels.

  The computation and the result are float32.

  groups: number of groups; divides the sum of the C_i.
  epsilon: added to the variance in (1).
  """

  groups: int
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, *parts: jax.Array) -> tuple[jax.Array, ...]:
    parts = [part.astype(jnp.float32) for part in parts]
    widths = [part.shape[-1] for part in parts]
    channels = sum(widths)
    pixels = parts[0].shape[1] * parts[0].shape[2]
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))

    def mean(power):  # of x^power over the pixels and channels of each group: [B, groups, 1]
      sums = jnp.concatenate([(part**power).sum(axis=(1, 2)) for part in parts], axis=-1)
      sums = sums.reshape(len(sums), self.groups, -1)
      return sums.sum(axis=-1, keepdims=True) / (sums.shape[-1] * pixels)

    m = mean(1)
    square = mean(2)

    # Rounding can take the variance of a nearly constant group below 0.
    inverse = lax.rsqrt(jnp.maximum(square - m**2, 0) + self.epsilon)

    # a and b of (1), [B, groups, channels / groups].
    a = inverse * scale.reshape(self.groups, -1)
    b = bias.reshape(self.groups, -1) - m * a

    ends = np.cumsum(widths)[:-1]
    cut = lambda v: jnp.split(v.reshape(len(v), 1, 1, channels), ends, axis=-1)
    return tuple(part * a_i + b_i for part, a_i, b_i in zip(parts, cut(a), cut(b)))
