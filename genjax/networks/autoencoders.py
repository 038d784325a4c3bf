"""Encoders and decoders: dense, convolutional, recurrent, and onto a grid of vectors.

A codec has the methods `encode`: x [B, *event] -> z [B, code], and `decode`: z -> [B, *event].
`Dense` decodes to the flattened x, [B, D]; the code of `Spatial` is a grid [B, h, w, code].

Both methods end in a linear map, so that whoever trains a codec chooses the activation of the code
and reads the result as grey values or as logits. Only the recurrent code, the state of an LSTM, is
in (-1, 1) by itself.

The shapes are those of Hinton & Salakhutdinov 2006 (Science 313, 504: deep, dense), Masci et al.
2011 (stacked convolutional), Srivastava et al. 2015 (arXiv:1502.04681: a recurrent network reads
the rows, another writes them) and van den Oord et al. 2017 (arXiv:1711.00937, section 4.1: a grid).
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import mlp
from genjax.networks.layers import convolution, recurrent

KERNEL = nn.initializers.glorot_uniform()


class Codec(nn.Module):
  """A network with `encode` and `decode`; the call encodes and decodes x.

  `init` runs the call, and so makes the parameters of both.
  """

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    return self.decode(self.encode(x))


class Layer(Codec):
  """A dense layer with its decoder: encode(x) = f(x W + b), decode(z) = g(z V + c).

  size: size of x, flattened.
  width: size of z.
  activation, back: names of f and g; "" for none.
  tied: whether V is the transpose of W (Vincent et al. 2008); b and c differ all the same.
  dtype: type of the products; parameters and results are float32.
  """

  size: core.Size
  width: core.Size
  activation: str = ""
  back: str = ""
  tied: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    self.kernel = self.param("kernel", KERNEL, (self.size, self.width))
    self.bias = self.param("bias", nn.initializers.zeros, (self.width,))
    self.back_bias = self.param("back_bias", nn.initializers.zeros, (self.size,))
    if not self.tied:
      self.back_kernel = self.param("back_kernel", KERNEL, (self.width, self.size))

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Returns f(x W + b): [B, *event] -> [B, width]."""
    x = x.reshape(len(x), -1)
    return mlp.activate(self.activation, self._dense(x, self.kernel, self.bias))

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    """Returns g(z V + c): [B, width] -> [B, size]."""
    kernel = self.kernel.T if self.tied else self.back_kernel
    return mlp.activate(self.back, self._dense(z, kernel, self.back_bias))

  def _dense(self, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    product = jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype))
    return product.astype(jnp.float32) + bias  # the sum is float32 in any dtype


class Dense(Codec):
  """A stack of `Layer`s with the code in the middle.

  widths: sizes of the hidden layers on the way to the code, which is the last.
  activation: activation of the hidden layers; the code and the result have none.
  tied: whether the decoder's kernels are the transposed kernels of the encoder.
  dtype: type of the products; parameters and results are float32.
  spec: the data.

  Raises UserError without widths or for an unknown activation.
  """

  widths: tuple[core.Size, ...] = (100, 30)
  activation: str = "relu"
  tied: bool = False
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    if not self.widths:
      raise core.UserError("dense: widths=() has no code; expected one width or more")
    mlp.check_activation(self.activation)

  def layers(self) -> tuple[Layer, ...]:
    """Returns the layers from the data to the code; each can be trained alone."""
    sizes = (math.prod(self.spec.shape), *self.widths)
    last = len(self.widths) - 1

    # The code and the result are linear: neither has an activation.
    return tuple(
      Layer(
        size=sizes[i],
        width=sizes[i + 1],
        activation=self.activation if i < last else "",
        back=self.activation if i else "",
        tied=self.tied,
        dtype=self.dtype,
        parent=None,
      )
      for i in range(last + 1)
    )

  def setup(self):
    self.stack = [layer.clone() for layer in self.layers()]

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Returns the code of x: [B, *event] -> [B, widths[-1]]."""
    for layer in self.stack:
      x = layer.encode(x)
    return x

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    """Returns the flattened x of a code: [B, widths[-1]] -> [B, D]."""
    for layer in reversed(self.stack):
      z = layer.decode(z)
    return z


class Convolutional(Codec):
  """3x3 convolutions with max pooling; the decoder transposes them.

  The code is the mean over the pixels of a last convolution. The decoder begins with a dense layer
  onto the coarsest level, with widths[0] channels.

  widths: channels of the levels, each half as high and wide as the one before, rounded down.
  code: size of the code.
  activation: activation of the hidden layers.
  dtype: type of the computation; parameters and results are float32.
  spec: the data.

  Raises UserError where these do not fit one another or the data.
  """

  widths: tuple[core.Size, ...] = (16, 32, 64)
  code: core.Size = 30
  activation: str = "relu"
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    mlp.check_activation(self.activation)
    convolution.check_images("convolutional", self.spec)
    if not self.widths:
      raise core.UserError("convolutional: widths=() has no level; expected one width or more")
    if self.spec and min(self.spec.shape[:2]) < 2 ** len(self.widths):
      raise core.UserError(
        f"convolutional: {self.spec.shape[:2]} cannot be halved {len(self.widths)} times; "
        "use fewer widths"
      )

  def setup(self):
    conv = lambda width, name: nn.Conv(width, (3, 3), dtype=self.dtype, name=name)
    self.down = [conv(width, f"down_{i}") for i, width in enumerate(self.widths)]
    self.last = conv(self.code, "code")

    height, width = self.sizes[-1]
    self.first = nn.Dense(height * width * self.widths[0], dtype=self.dtype)
    up = lambda width, name: nn.ConvTranspose(
      width, (3, 3), (2, 2), padding="VALID", dtype=self.dtype, name=name
    )
    # The widths from the last but one to the first, then the channels of the data.
    back = (*self.widths[-2::-1], self.spec.shape[-1])
    self.up = [up(width, f"up_{i}") for i, width in enumerate(back)]

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Height and width of the data, then of each level."""
    height, width = self.spec.shape[:2]
    return [(height >> i, width >> i) for i in range(len(self.widths) + 1)]

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Returns the code of x: [B, H, W, C] -> [B, code]."""
    for conv in self.down:
      x = nn.max_pool(mlp.activate(self.activation, conv(x)), (2, 2), (2, 2))
    return self.last(x).mean((1, 2)).astype(jnp.float32)

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    """Returns x of a code: [B, code] -> [B, H, W, C]."""
    h = self.first(z).reshape(len(z), *self.sizes[-1], self.widths[0])
    for i, (conv, (height, width)) in enumerate(zip(self.up, self.sizes[-2::-1])):
      h = conv(mlp.activate(self.activation, h) if i else h)
      # n rows became 2 n + 1, of which the level has all, or 2 n; columns too.
      h = h[:, :height, :width]
    return h.astype(jnp.float32)


class Recurrent(Codec):
  """LSTMs that read and write the rows of a picture.

  Two of them read the rows from top to bottom, and the last state of the second is the code. To
  write, the code is repeated for each row and goes through an LSTM and a dense layer.

  width: size of the states of the first reader and of the writer.
  code: size of the code.
  dtype: type of the products; parameters, states and results are float32.
  spec: the data.

  Raises UserError for data that are no images.
  """

  width: core.Size = 100
  code: core.Size = 30
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    convolution.check_images("recurrent", self.spec)

  def setup(self):
    self.reader = recurrent.LSTM(self.width, self.dtype)
    self.writer = recurrent.LSTM(self.width, self.dtype)
    self.narrow = recurrent.LSTM(self.code, self.dtype)

    size = self.spec.shape[1] * self.spec.shape[2]  # of a row
    self.row = nn.Dense(size, kernel_init=KERNEL, dtype=self.dtype)

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Returns the code of x: [B, H, W, C] -> [B, code]."""
    rows = x.reshape(*x.shape[:2], -1)  # [B, H, W C]
    return self.narrow(self.reader(rows))[:, -1]

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    """Returns x of a code: [B, code] -> [B, H, W, C]."""
    height = self.spec.shape[0]
    rows = jnp.broadcast_to(z[:, None], (len(z), height, z.shape[-1]))  # [B, H, code]
    h = self.writer(rows)
    return self.row(h).reshape(len(z), *self.spec.shape).astype(jnp.float32)


class Spatial(Codec):
  """A picture as a smaller grid of vectors [B, h, w, code] (arXiv:1711.00937, section 4.1).

  The encoder is convolutions of stride 2, then residual blocks; the decoder is its mirror image.

  widths: channels of the levels, each half as high and wide as the one before, rounded up.
  blocks: number of residual blocks on the coarsest level, in the encoder and in the decoder.
  code: channels of the grid.
  answer: channels of the decoder's result; 0 for those of the data.
  dtype: type of the computation; parameters and results are float32.
  spec: the data.

  Raises UserError without widths, or for data that are no images.
  """

  widths: tuple[core.Size, ...] = (32, 64)
  blocks: core.Size = 2
  code: core.Size = 64
  answer: core.Count = 0
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    if not self.widths:
      raise core.UserError("spatial: widths=() has no level; expected one width or more")
    convolution.check_images("spatial", self.spec)

  def setup(self):
    # The encoder.
    last = self.widths[-1]
    self.down = [nn.Conv(w, (4, 4), (2, 2), dtype=self.dtype) for w in self.widths]
    self.inner = [SpatialBlock(last, self.dtype) for _ in range(self.blocks)]
    self.to_code = nn.Conv(self.code, (1, 1), dtype=self.dtype)

    # The decoder.
    self.from_code = nn.Conv(last, (3, 3), dtype=self.dtype)
    self.outer = [SpatialBlock(last, self.dtype) for _ in range(self.blocks)]
    back = (*self.widths[-2::-1], self.answer or self.spec.shape[-1])
    self.up = [nn.ConvTranspose(w, (4, 4), (2, 2), dtype=self.dtype) for w in back]

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Returns the grid of x: [B, H, W, C] -> [B, h, w, code]."""
    for conv in self.down:
      x = nn.relu(conv(x))
    for block in self.inner:
      x = block(x)
    return self.to_code(x).astype(jnp.float32)

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    """Returns the picture of a grid: [B, h, w, D] -> [B, H, W, answer or C]."""
    levels = convolution.halvings(self.spec.shape[:2], len(self.widths))
    h = self.from_code(z)
    for block in self.outer:
      h = block(h)

    # Levels were rounded up, so a doubled one may be a row or a column too large.
    for conv, (high, wide) in zip(self.up, reversed(levels)):
      h = conv(nn.relu(h))[:, :high, :wide]
    return h.astype(jnp.float32)


class SpatialBlock(nn.Module):
  """x + conv1x1(relu(conv3x3(relu(x)))), [B, h, w, features] -> the same shape."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    h = nn.Conv(self.features, (3, 3), dtype=self.dtype)(nn.relu(x))
    return x + nn.Conv(self.features, (1, 1), dtype=self.dtype)(nn.relu(h))


class Way(nn.Module):
  """The encoder or the decoder of a `Spatial`, as a network.

  out: number of outputs, of all places or pixels together.
  widths, blocks, dtype, spec: the fields of Spatial.

  Raises UserError for data that are no images.
  """

  out: core.Size = 1
  widths: tuple[core.Size, ...] = (32, 64)
  blocks: core.Size = 2
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None
  conditions = ()

  def __post_init__(self):
    super().__post_init__()
    convolution.check_images(type(self).__name__.lower(), self.spec)

  def codec(self, **kwargs: Any) -> Spatial:
    """Returns the codec with these fields and the given ones; only one way of it is used."""
    own = dict(widths=self.widths, blocks=self.blocks, dtype=self.dtype, spec=self.spec)
    return Spatial(**own, **kwargs, name="spatial")

  @property
  def places(self) -> tuple[int, int]:
    """Height and width of the grid."""
    return convolution.halvings(self.spec.shape[:2], len(self.widths) + 1)[-1]


class Down(Way):
  """net(x, t, cond, train): [B, H, W, C] -> [B, out], an equal share for each place of the grid.

  Raises UserError if `out` is no multiple of the number of places.
  """

  @nn.compact
  def __call__(
    self, x: jax.Array, t: Any = None, cond: Any = None, train: bool = False
  ) -> jax.Array:
    code = convolution.share("down", self.out, math.prod(self.places))
    return self.codec(code=code).encode(x).reshape(len(x), -1)


class Up(Way):
  """net(z, t, cond, train): a grid of vectors [B, h, w, D] -> [B, H, W, out / (H W)].

  Raises UserError for a grid of another height and width, or if `out` is no multiple of H W.
  """

  @nn.compact
  def __call__(
    self, z: jax.Array, t: Any = None, cond: Any = None, train: bool = False
  ) -> jax.Array:
    if z.shape[1:-1] != self.places:
      raise core.UserError(f"up: codes of shape {z.shape[1:]}, expected {(*self.places, 'D')}")
    answer = convolution.share("up", self.out, math.prod(self.spec.shape[:2]))
    return self.codec(answer=answer).decode(z)


CODECS = {
  "dense": Dense,
  "convolutional": Convolutional,
  "recurrent": Recurrent,
  "spatial": Spatial,
}


def check_answer(codec: Any, spec: core.DataSpec) -> None:
  """Raises UserError unless the codec decodes to as many channels as the data have."""
  channels = spec.shape[-1]
  if getattr(codec, "answer", 0) not in (0, channels):
    raise core.UserError(f"codec.answer={codec.answer}: the data have {channels} channels; use 0")
