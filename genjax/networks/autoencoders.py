"""Networks to a code and back: dense, convolutional, recurrent.

Each has `encode` x [B, *event] -> z [B, code] and `decode` z -> [B, *event or D]; both end in a
linear map (a recurrent code is the state of an LSTM, in (-1, 1)), so that whoever trains them
chooses the code's activation and reads the answer as grey values or as logits. The three shapes are
those of the deep autoencoders of Hinton & Salakhutdinov 2006 (Science 313, 504), of Masci et al.
2011 (stacked convolutional), and of Srivastava et al. 2015 (arXiv:1502.04681: a recurrent network
reads the rows, another one writes them from the code).
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
  """There and back: what `init` follows to make all parameters."""

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    return self.decode(self.encode(x))


class Layer(Codec):
  """One dense layer and its way back: encode(x) = f(x W + b), decode(z) = g(z V + c).

  size: of x, flattened; width: of z. activation: f; back: g; "" for none.
  tied: V is the transpose of W, b and c remain two (Vincent et al. 2008).
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
    return mlp.activate(self.activation, self._dense(x.reshape(len(x), -1), self.kernel, self.bias))

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    kernel = self.kernel.T if self.tied else self.back_kernel
    return mlp.activate(self.back, self._dense(z, kernel, self.back_bias))

  def _dense(self, x, kernel, bias):
    return jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype)).astype(jnp.float32) + bias


class Dense(Codec):
  """A stack of `Layer`s, the code in the middle.

  widths: of the hidden layers, the last being the code. activation: of the hidden layers.
  tied: the way back has the transposed kernels.
  """

  widths: tuple[core.Size, ...] = (100, 30)
  activation: str = "relu"
  tied: bool = False
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    if not self.widths:
      raise core.UserError("dense: widths=() has no code")
    mlp.check_activation(self.activation)

  def layers(self) -> tuple[Layer, ...]:
    """From the data to the code; each can be trained alone."""
    sizes = (math.prod(self.spec.shape), *self.widths)
    last = len(self.widths) - 1
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
    for layer in self.stack:
      x = layer.encode(x)
    return x

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    for layer in reversed(self.stack):
      z = layer.decode(z)
    return z


class Convolutional(Codec):
  """3x3 convolutions with max pooling, the mean over pixels as code; the way back transposes them.

  widths: channels of the levels, each half as high and wide as the one before.
  code: size of the code. activation: of the hidden layers.
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
      raise core.UserError("convolutional: widths=() has no level")
    if self.spec and min(self.spec.shape[:2]) < 2 ** len(self.widths):
      raise core.UserError(
        f"convolutional: {self.spec.shape[:2]} cannot be halved {len(self.widths)} times"
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
    back = (*self.widths[-2::-1], self.spec.shape[-1])
    self.up = [up(width, f"up_{i}") for i, width in enumerate(back)]

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Height and width of each level, from the data's."""
    height, width = self.spec.shape[:2]
    return [(height >> i, width >> i) for i in range(len(self.widths) + 1)]

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    for conv in self.down:
      x = nn.max_pool(mlp.activate(self.activation, conv(x)), (2, 2), (2, 2))
    return self.last(x).mean((1, 2)).astype(jnp.float32)

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    h = self.first(z).reshape(len(z), *self.sizes[-1], self.widths[0])
    for i, (conv, (height, width)) in enumerate(zip(self.up, self.sizes[-2::-1])):
      h = conv(mlp.activate(self.activation, h) if i else h)[:, :height, :width]  # 2 n + 1, or 2 n
    return h.astype(jnp.float32)


class Recurrent(Codec):
  """Two LSTMs read the rows of a picture, top down; the last state is the code, repeated for each
  row to an LSTM and a dense layer that write them.

  width: of the outer LSTMs. code: of the inner one.
  """

  width: core.Size = 100
  code: core.Size = 30
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    convolution.check_images("recurrent", self.spec)

  def setup(self):
    self.reader, self.writer = (recurrent.LSTM(self.width, self.dtype) for _ in range(2))
    self.narrow = recurrent.LSTM(self.code, self.dtype)
    size = self.spec.shape[1] * self.spec.shape[2]
    self.row = nn.Dense(size, kernel_init=KERNEL, dtype=self.dtype)

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    return self.narrow(self.reader(x.reshape(*x.shape[:2], -1)))[:, -1]

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    height = self.spec.shape[0]
    h = self.writer(jnp.broadcast_to(z[:, None], (len(z), height, z.shape[-1])))
    return self.row(h).reshape(len(z), *self.spec.shape).astype(jnp.float32)


class Spatial(Codec):
  """A picture to a smaller grid of vectors [B, h, w, code] and back (van den Oord et al. 2017,
  arXiv:1711.00937, section 4.1): convolutions of stride 2, then residual blocks; the mirror image.

  widths: channels of the levels, each half as high and wide as the one before, rounded up.
  blocks: residual ones, on the coarsest level of both ways. code: channels of the grid.
  answer: channels of what comes back, 0 for the data's.
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
      raise core.UserError("spatial: widths=() has no level")
    convolution.check_images("spatial", self.spec)

  def setup(self):
    last = self.widths[-1]
    self.down = [nn.Conv(w, (4, 4), (2, 2), dtype=self.dtype) for w in self.widths]
    self.inner = [SpatialBlock(last, self.dtype) for _ in range(self.blocks)]
    self.to_code = nn.Conv(self.code, (1, 1), dtype=self.dtype)
    self.from_code = nn.Conv(last, (3, 3), dtype=self.dtype)
    self.outer = [SpatialBlock(last, self.dtype) for _ in range(self.blocks)]
    back = (*self.widths[-2::-1], self.answer or self.spec.shape[-1])
    self.up = [nn.ConvTranspose(w, (4, 4), (2, 2), dtype=self.dtype) for w in back]

  def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
    for conv in self.down:
      x = nn.relu(conv(x))
    for block in self.inner:
      x = block(x)
    return self.to_code(x).astype(jnp.float32)

  def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
    levels = convolution.halvings(self.spec.shape[:2], len(self.widths))
    h = self.from_code(z)
    for block in self.outer:
      h = block(h)
    for conv, (high, wide) in zip(self.up, reversed(levels)):
      h = conv(nn.relu(h))[:, :high, :wide]
    return h.astype(jnp.float32)


class SpatialBlock(nn.Module):
  """x + conv1x1(relu(conv3x3(relu(x))))."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    h = nn.Conv(self.features, (3, 3), dtype=self.dtype)(nn.relu(x))
    return x + nn.Conv(self.features, (1, 1), dtype=self.dtype)(nn.relu(h))


class Way(nn.Module):
  """One way of `Spatial`, as a network. out: number of answers, of all places or pixels together;
  the rest as there.
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

  def codec(self, **kwargs) -> Spatial:
    own = dict(widths=self.widths, blocks=self.blocks, dtype=self.dtype, spec=self.spec)
    return Spatial(**own, **kwargs, name="spatial")

  @property
  def places(self) -> tuple[int, int]:
    """Height and width of the grid."""
    return convolution.halvings(self.spec.shape[:2], len(self.widths) + 1)[-1]


class Down(Way):
  """net(x, t, cond, train): [B, H, W, C] -> [B, out], a part for each place."""

  @nn.compact
  def __call__(self, x: jax.Array, t=None, cond=None, train: bool = False) -> jax.Array:
    code, rest = divmod(self.out, math.prod(self.places))
    if rest:
      raise core.UserError(f"down: {self.out} answers cannot be spread over places {self.places}")
    return self.codec(code=code).encode(x).reshape(len(x), -1)


class Up(Way):
  """net(z, t, cond, train): a grid of vectors [B, h, w, D] -> [B, H, W, out / (H W)]."""

  @nn.compact
  def __call__(self, z: jax.Array, t=None, cond=None, train: bool = False) -> jax.Array:
    if z.shape[1:-1] != self.places:
      raise core.UserError(f"up: codes of shape {z.shape[1:]}, expected {(*self.places, 'D')}")
    return self.codec(answer=self.out // math.prod(self.spec.shape[:2])).decode(z)


CODECS = {
  "dense": Dense,
  "convolutional": Convolutional,
  "recurrent": Recurrent,
  "spatial": Spatial,
}


def check_answer(codec: Any, spec: core.DataSpec) -> None:
  """core.UserError unless what comes back has the data's channels."""
  if getattr(codec, "answer", 0) not in (0, spec.shape[-1]):
    raise core.UserError(f"codec.answer={codec.answer}: the data have {spec.shape[-1]}; use 0")
