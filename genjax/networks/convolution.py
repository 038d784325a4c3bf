"""3 x 3 convolutions, and the changes of resolution around them.

The gradient of a convolution with respect to its kernel is itself a convolution, in which examples
play the part of channels and the output map the part of the kernel:

    dL/dw[i, j, c, d] = sum_b sum_uv x[b, u + i, v + j, c] dL/dy[b, u, v, d]

On CPUs this runs several times slower than the forward pass, unless the map is small or the sum
over b is cut into slices of a few examples; the result is the same up to rounding. We cut the term
x * dw of the linearised convolution, whose transpose this is: both modes of differentiation work.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

_SLICE = 8  # examples in one slice of the kernel's gradient
_SMALL = 100  # pixels below which slicing gains nothing


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
  """x [B, H, W, C] with zeros around, kernel [3, 3, C, D] -> [B, H/stride, W/stride, D]."""
  pad = ((1, 1), (1, 1))
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


@jax.custom_jvp
def convolve_sliced(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`convolve(x, kernel)` whose gradient for the kernel is summed over slices of the batch."""
  return convolve(x, kernel)


@convolve_sliced.defjvp
def _convolve_sliced_jvp(primals, tangents):
  (x, kernel), (dx, dkernel) = primals, tangents
  parts = [convolve(x[i : i + _SLICE], dkernel) for i in range(0, len(x), _SLICE)]
  return convolve(x, kernel), convolve(dx, kernel) + jnp.concatenate(parts)


def slicing(x: jax.Array, stride: int) -> bool:
  """Whether to slice: only on one CPU device, since a sharded batch must stay whole."""
  alone = jax.default_backend() == "cpu" and jax.device_count() == 1
  return alone and stride == 1 and x.shape[1] * x.shape[2] >= _SMALL and len(x) > _SLICE


class Convolution(nn.Module):
  """3 x 3 convolution with bias, [B, H, W, C] -> [B, H/stride, W/stride, features].

  features: number of output channels.
  stride: 1, or 2 to halve the resolution.
  zero: the kernel starts at zero, so that the branch it ends is silent at first.
  dtype: of the computation; parameters are float32.
  """

  features: int
  stride: int = 1
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
    kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
    if slicing(x, self.stride):
      return convolve_sliced(x, kernel) + bias
    return convolve(x, kernel, self.stride) + bias


def upsample(x: jax.Array) -> jax.Array:
  """Nearest neighbour, [B, H, W, C] -> [B, 2H, 2W, C]."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


def space_to_depth(x: jax.Array, patch: int) -> jax.Array:
  """Each patch x patch square becomes one pixel: [B, H, W, C] -> [B, H/p, W/p, p*p*C]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // patch, patch, w // patch, patch, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h // patch, w // patch, patch * patch * c)


def depth_to_space(x: jax.Array, patch: int) -> jax.Array:
  """The inverse of `space_to_depth`: [B, H, W, p*p*C] -> [B, p*H, p*W, C]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, patch, patch, c // patch**2).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h * patch, w * patch, c // patch**2)


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
  """Zeros around [B, H, W, C], half on each side, until `multiple` divides height and width."""
  margins = [(-size % multiple) for size in x.shape[1:3]]
  return jnp.pad(x, ((0, 0), *((m // 2, m - m // 2) for m in margins), (0, 0)))


def crop(x: jax.Array, height: int, width: int) -> jax.Array:
  """The middle of [B, H, W, C]; undoes `pad_to_multiple`."""
  top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
  return x[:, top : top + height, left : left + width]
