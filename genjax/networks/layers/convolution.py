"""3 x 3 convolutions, dense layers on pixels, and changes of a map's size and resolution."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from genjax import core
from genjax.networks.layers import cpu


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
  """Convolves x [B, H, W, C], with zeros around, with a kernel [3, 3, C, D].

  Returns [B, H/stride, W/stride, D], where the quotients are rounded up.
  """
  pad = ((1, 1), (1, 1))
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


class Convolution(nn.Module):
  """A 3 x 3 convolution with bias of parts [B, H, W, C_i], as if joined -> [B, H, W, features].

  features: number of output channels.
  resize: "double" first doubles the resolution by nearest neighbours, "halve" convolves with
    stride 2, "" keeps the resolution.
  zero: whether the kernel starts at zero, so that a branch that ends here returns 0 at first.
  dtype: type of the computation; parameters are float32.
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
  """A dense layer on each pixel of parts [B, H, W, C_i], as if joined -> [B, H, W, features].

  features: number of output channels.
  zero: whether the kernel starts at zero, so that a branch that ends here returns 0 at first.
  dtype: type of the computation; parameters are float32.
  """

  features: int
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, *parts: jax.Array) -> jax.Array:
    channels = sum(part.shape[-1] for part in parts)
    init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
    kernel = self.param("kernel", init, (channels, self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return _of_parts(jnp.matmul, parts, kernel, bias, self.dtype)


def _of_parts(
  form: Callable[[jax.Array, jax.Array], jax.Array],
  parts: Sequence[jax.Array],
  kernel: jax.Array,
  bias: jax.Array,
  dtype: Any,
) -> jax.Array:
  """Returns form(joined parts, kernel) + bias without joining the parts [B, H, W, C_i].

  form: a linear map (x, kernel) -> y, applied to each part.
  kernel: [..., C, D] for the joined channels; cut here into one kernel [..., C_i, D] a part.
  """
  ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
  kernels = jnp.split(kernel.astype(dtype), ends, axis=-2)

  # Added in float32 for any dtype: the gradient of the bias sums over all pixels of a batch.
  terms = [form(part.astype(dtype), k).astype(jnp.float32) for part, k in zip(parts, kernels)]
  return (sum(terms[1:], terms[0]) + bias).astype(dtype)


# The forms of a Convolution: (x [B, H, W, C], kernel [3, 3, C, D]) -> y.
def _same(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return cpu.convolve(x, kernel) if cpu.alone() else convolve(x, kernel)


def _halve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return convolve(x, kernel, stride=2)


def _double(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return cpu.double(x, kernel) if cpu.alone() else convolve(upsample(x), kernel)


# The field `resize` of Convolution -> what it computes.
_FORMS = {"": _same, "halve": _halve, "double": _double}


def upsample(x: jax.Array) -> jax.Array:
  """Doubles the resolution by nearest neighbours: [B, H, W, C] -> [B, 2H, 2W, C]."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


def check_images(network: str, spec: core.DataSpec | None) -> None:
  """Raises UserError unless the data are images [H, W, C] or not yet known."""
  if spec and len(spec.shape) != 3:
    raise core.UserError(f"{network}: needs images [H, W, C], not data of shape {spec.shape}")


def share(network: str, out: int, places: int) -> int:
  """Returns out / places, how many of a network's outputs belong to each place.

  Raises UserError unless it is a whole number.
  """
  each, rest = divmod(out, places)
  if rest:
    raise core.UserError(f"{network}: out={out} must be a multiple of {places}, one per place")
  return each


def halvings(size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
  """Returns (height, width) of `levels` resolutions: `size`, then half each time, rounded up."""
  # -(-n // m) is n / m, rounded up.
  return [(-(-size[0] // 2**i), -(-size[1] // 2**i)) for i in range(levels)]


def space_to_depth(x: jax.Array, patch: int) -> jax.Array:
  """Folds each patch x patch square into one pixel: [B, H, W, C] -> [B, H/p, W/p, p*p*C].

  patch: p, which divides H and W.
  """
  b, h, w, c = x.shape
  x = x.reshape(b, h // patch, patch, w // patch, patch, c)
  x = x.transpose(0, 1, 3, 2, 4, 5)  # [B, H/p, W/p, p, p, C]
  return x.reshape(b, h // patch, w // patch, patch * patch * c)


def depth_to_space(x: jax.Array, patch: int) -> jax.Array:
  """Undoes `space_to_depth`: [B, H, W, p*p*C] -> [B, p*H, p*W, C]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, patch, patch, c // patch**2)
  x = x.transpose(0, 1, 3, 2, 4, 5)  # [B, H, p, W, p, C]
  return x.reshape(b, h * patch, w * patch, c // patch**2)


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
  """Pads x [B, H, W, C] with zeros until `multiple` divides its height and width.

  Half of the zeros go on each side; an odd one goes below or to the right.
  """
  margins = [(-size % multiple) for size in x.shape[1:3]]
  return jnp.pad(x, ((0, 0), *((m // 2, m - m // 2) for m in margins), (0, 0)))


def crop(x: jax.Array, height: int, width: int) -> jax.Array:
  """Returns the middle of x [B, H, W, C], [B, height, width, C]; undoes `pad_to_multiple`."""
  top = (x.shape[1] - height) // 2
  left = (x.shape[2] - width) // 2
  return x[:, top : top + height, left : left + width]
