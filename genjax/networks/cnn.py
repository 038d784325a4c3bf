"""Convolutional networks from images to numbers (logits, codes, a critic's value) and back."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import conditioning, convolution, embeddings


class CNN(nn.Module):
  """net(x, t, cond, train): images x [B, H, W, C], times t [B] -> [B, out] float32.

  Each level is a 3x3 convolution (the first keeps the size, each further one halves it), to which
  a vector made of t and the conditions is added, then group norm and silu. After the last level,
  the mean over pixels and the flattened map enter a dense layer together.

  out: number of outputs.
  widths: channels of the levels.
  groups: number of groups of the group norms; divides all widths.
  dropout: dropout rate before the last layer, when training.
  conditions: the fields that it is told, as vectors, channels or values, see
    layers/conditioning.py.
  dtype: type of the computation; parameters, norms and the result are float32.
  spec: the data.

  Raises UserError for data that are no images, widths that the groups do not divide, or a condition
  that it cannot be told.
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

    # What is added at each level, [B, 128]; None if there is nothing to tell.
    emb = told.vector
    if t is not None:
      time = embeddings.TimeEmbedding(64, 128, self.dtype, name="time")(t)
      emb = time if emb is None else time + emb

    for i, width in enumerate(self.widths):
      stride = 2 if i else 1
      conv = nn.Conv(width, (3, 3), (stride, stride), dtype=self.dtype, name=f"conv_{i}")
      h = conv(h)
      if emb is not None:
        shift = nn.Dense(width, dtype=self.dtype, name=f"time_{i}")(nn.silu(emb))
        h += shift[:, None, None]  # alike on all pixels
      norm = nn.GroupNorm(self.groups, dtype=jnp.float32, name=f"norm_{i}")
      h = nn.silu(norm(h))

    # The mean over pixels forgets where something is; the flattened map keeps it.
    h = jnp.concatenate([h.mean((1, 2)), h.reshape(len(h), -1)], axis=-1)
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    return nn.Dense(self.out, name="out")(h)


class Deconv(nn.Module):
  """net(z, t, cond, train): codes z [B, D] -> [B, H, W, out / (H W)] float32.

  A dense layer makes a small map. Each level then applies group norm and silu, and doubles the map
  by a transposed 3x3 convolution. The last level has the height and width of the data; a 3x3
  convolution ends the network. t and train change nothing.

  out: number of outputs, of all pixels together; a multiple of H W.
  widths: channels of the levels, the coarsest first.
  groups: number of groups of the group norms; divides all widths.
  conditions: the fields that it is told, see layers/conditioning.py. Vectors are added to the dense
    layer; channels and values are more entries of z.
  dtype: type of the computation; parameters, norms and the result are float32.
  spec: the data.

  Raises UserError for data that are no images, widths that the groups do not divide, a condition
  that it cannot be told, or, when called, if `out` is no multiple of H W.
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
    channels = convolution.share("deconv", self.out, height * width)
    sizes = convolution.halvings((height, width), len(self.widths))[::-1]  # the coarsest first
    size = sizes[0][0] * sizes[0][1] * self.widths[0]

    # The dense layer onto the coarsest map.
    told = conditioning.hear(self, cond, len(z), size)
    z = conditioning.join(embeddings.beside(z, cond), told.channels)
    h = nn.Dense(size, dtype=self.dtype, name="in")(z)
    h = h if told.vector is None else h + told.vector
    h = h.reshape(len(z), *sizes[0], self.widths[0])

    for i, (features, (high, wide)) in enumerate(zip(self.widths[1:], sizes[1:])):
      norm = nn.GroupNorm(self.groups, dtype=jnp.float32, name=f"norm_{i}")
      h = nn.silu(norm(h))
      up = nn.ConvTranspose(
        features, (3, 3), (2, 2), padding="VALID", dtype=self.dtype, name=f"up_{i}"
      )
      # n rows become 2 n + 1, of which the level has 2 n or 2 n - 1; columns too.
      h = up(h)[:, :high, :wide]

    norm = nn.GroupNorm(self.groups, dtype=jnp.float32, name="norm")
    h = nn.silu(norm(h))
    return nn.Conv(channels, (3, 3), name="out")(h)
