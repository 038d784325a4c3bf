"""Convolutional networks from images to numbers (logits, codes, a critic's value), and back."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import conditioning, convolution, embeddings


class CNN(nn.Module):
  """net(x, t, cond, train): x [B, H, W, C], t [B] -> [B, out] float32.

  Each level is a 3x3 convolution (the first keeps the size, each further one halves it), to which
  a vector made of t and the conditions is added, a group norm and silu; then the mean over pixels
  beside their flat values, and a dense layer.

  widths: channels of the levels. groups: of the norms; divides all widths.
  out: number of answers. dropout: rate before the last layer, when training.
  conditions: the fields it is told, see layers/conditioning.py.
  dtype: of the computation; parameters, norms and the result are float32. spec: the images.
  """

  out: core.Size = 10
  widths: tuple[core.Size, ...] = (32, 64, 64)
  groups: core.Size = 8
  dropout: core.Fraction = 0.0
  conditions: tuple[str, ...] = ()
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    convolution.check_images("cnn", self.spec)
    conditioning.check("cnn", self.conditions, self.spec, conditioning.WAYS[:3])
    if any(width % self.groups for width in self.widths):
      raise core.UserError(f"cnn: groups={self.groups} must divide widths={self.widths}")

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    t: jax.Array | None = None,
    cond: dict[str, Any] | None = None,
    train: bool = False,
  ) -> jax.Array:
    told = conditioning.hear(self, cond, len(x), 128)
    h = conditioning.join(embeddings.beside(x, cond), told.channels)
    emb = told.vector
    if t is not None:
      time = embeddings.TimeEmbedding(64, 128, self.dtype, name="time")(t)
      emb = time if emb is None else time + emb
    for i, width in enumerate(self.widths):
      stride = 2 if i else 1
      h = nn.Conv(width, (3, 3), (stride, stride), dtype=self.dtype, name=f"conv_{i}")(h)
      if emb is not None:
        h += nn.Dense(width, dtype=self.dtype, name=f"time_{i}")(nn.silu(emb))[:, None, None]
      h = nn.silu(nn.GroupNorm(self.groups, dtype=jnp.float32, name=f"norm_{i}")(h))
    h = jnp.concatenate([h.mean((1, 2)), h.reshape(len(h), -1)], axis=-1)
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    return nn.Dense(self.out, name="out")(h)


class Deconv(nn.Module):
  """net(z, t, cond, train): codes z [B, D] -> [B, H, W, out / (H W)] float32.

  A dense layer onto a small grid; each level then doubles it by a transposed 3x3 convolution, after
  group norm and silu; the last one ends at the data's height and width.

  widths: channels of the levels, the coarsest first. groups: of the norms; divides all widths.
  out: number of answers, of all pixels together. conditions, dtype: as in CNN; a vector is added to
    the dense layer. spec: the images.
  """

  out: core.Size = 1
  widths: tuple[core.Size, ...] = (64, 64, 32)
  groups: core.Size = 8
  conditions: tuple[str, ...] = ()
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    convolution.check_images("deconv", self.spec)
    conditioning.check("deconv", self.conditions, self.spec, conditioning.WAYS[:3])
    if any(width % self.groups for width in self.widths):
      raise core.UserError(f"deconv: groups={self.groups} must divide widths={self.widths}")

  @nn.compact
  def __call__(
    self,
    z: jax.Array,
    t: jax.Array | None = None,
    cond: dict[str, Any] | None = None,
    train: bool = False,
  ) -> jax.Array:
    height, width = self.spec.shape[:2]
    sizes = convolution.halvings((height, width), len(self.widths))[::-1]
    size = sizes[0][0] * sizes[0][1] * self.widths[0]
    told = conditioning.hear(self, cond, len(z), size)
    z = conditioning.join(embeddings.beside(z, cond), told.channels)
    h = nn.Dense(size, dtype=self.dtype, name="in")(z)
    h = h if told.vector is None else h + told.vector
    h = h.reshape(len(z), *sizes[0], self.widths[0])
    for i, (features, (high, wide)) in enumerate(zip(self.widths[1:], sizes[1:])):
      h = nn.silu(nn.GroupNorm(self.groups, dtype=jnp.float32, name=f"norm_{i}")(h))
      up = nn.ConvTranspose(
        features, (3, 3), (2, 2), padding="VALID", dtype=self.dtype, name=f"up_{i}"
      )
      h = up(h)[:, :high, :wide]  # of 2 n + 1
    h = nn.silu(nn.GroupNorm(self.groups, dtype=jnp.float32, name="norm")(h))
    return nn.Conv(self.out // (height * width), (3, 3), name="out")(h)
