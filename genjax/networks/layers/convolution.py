"""3 x 3 convolutions, and the changes of resolution around them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from genjax import core
from genjax.networks.layers import cpu


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
  """x [B, H, W, C] with zeros around, kernel [3, 3, C, D] -> [B, H/stride, W/stride, D]."""
  pad = ((1, 1), (1, 1))
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


class Convolution(nn.Module):
  """3 x 3 convolution with bias: parts [B, H, W, C_i], as if joined -> [B, H, W, features].

  features: number of output channels.
  resize: "double" convolves the map of twice the resolution, by nearest neighbours; "halve" the
    map with stride 2; "" leaves it.
  zero: the kernel starts at zero, so that the branch it ends is silent at first.
  dtype: of the computation; parameters are float32.
  """

  features: int
  resize: str = ""
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, *parts: jax.Array) -> jax.Array:
    channels = sum(part.shape[-1] for part in parts)
    init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
    kernel = self.param("kernel", init, (3, 3, channels, self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return _of_parts(_FORMS[self.resize], parts, kernel, bias, self.dtype)


class Pointwise(nn.Module):
  """A dense layer on each pixel: parts [B, H, W, C_i], as if joined -> [B, H, W, features].

  features, zero, dtype: as in Convolution.
  """

  features: int
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, *parts: jax.Array) -> jax.Array:
    init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
    kernel = self.param("kernel", init, (sum(part.shape[-1] for part in parts), self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return _of_parts(jnp.matmul, parts, kernel, bias, self.dtype)


def _of_parts(form, parts, kernel, bias, dtype):
  """form(joined parts, kernel) + bias, but not joined: the kernel [..., C, D] is cut instead.

  The sums are float32 in any dtype: a bias' gradient is one over all pixels of a batch.
  """
  ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
  kernels = jnp.split(kernel.astype(dtype), ends, axis=-2)
  of = [form(part.astype(dtype), k).astype(jnp.float32) for part, k in zip(parts, kernels)]
  return (sum(of[1:], of[0]) + bias).astype(dtype)


def _same(x, kernel):
  return cpu.convolve(x, kernel) if cpu.alone() else convolve(x, kernel)


def _halve(x, kernel):
  return convolve(x, kernel, stride=2)


def _double(x, kernel):
  return cpu.double(x, kernel) if cpu.alone() else convolve(upsample(x), kernel)


_FORMS = {"": _same, "halve": _halve, "double": _double}


def upsample(x: jax.Array) -> jax.Array:
  """Nearest neighbour, [B, H, W, C] -> [B, 2H, 2W, C]."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


def check_images(network: str, spec: core.DataSpec | None) -> None:
  """core.UserError unless the data are images [H, W, C], or not yet known."""
  if spec and len(spec.shape) != 3:
    raise core.UserError(f"{network}: needs images [H, W, C], not data of shape {spec.shape}")


def halvings(size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
  """Height and width, and what they are halved to, rounded up: as many as there are levels."""
  return [(-(-size[0] // 2**i), -(-size[1] // 2**i)) for i in range(levels)]


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
