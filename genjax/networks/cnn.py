"""A convolutional network from images to numbers: logits, codes, a critic's value."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import embeddings


class CNN(nn.Module):
  """net(x, t, cond, train): x [B, H, W, C], t [B] -> [B, out] float32.

  Each level is a 3x3 convolution (the first keeps the size, each further one halves it), to which
  a vector made of t is added, a group norm and silu; then the mean over pixels beside their flat
  values, and a dense layer.

  widths: channels of the levels. groups: of the norms; divides all widths.
  out: number of answers. dropout: rate before the last layer, when training.
  dtype: of the computation; parameters, norms and the result are float32.
  """

  out: core.Size = 10
  widths: tuple[core.Size, ...] = (32, 64, 64)
  groups: core.Size = 8
  dropout: core.Fraction = 0.0
  dtype: Any = jnp.float32
  conditional = False

  def __post_init__(self):
    super().__post_init__()
    if any(width % self.groups for width in self.widths):
      raise core.UserError(f"cnn: groups={self.groups} must divide widths={self.widths}")

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    t: jax.Array | None = None,
    cond: dict[str, jax.Array] | None = None,
    train: bool = False,
  ) -> jax.Array:
    h = embeddings.beside(x, cond)
    emb = None if t is None else embeddings.TimeEmbedding(64, 128, self.dtype, name="time")(t)
    for i, width in enumerate(self.widths):
      stride = 2 if i else 1
      h = nn.Conv(width, (3, 3), (stride, stride), dtype=self.dtype, name=f"conv_{i}")(h)
      if emb is not None:
        h += nn.Dense(width, dtype=self.dtype, name=f"time_{i}")(nn.silu(emb))[:, None, None]
      h = nn.silu(nn.GroupNorm(self.groups, dtype=jnp.float32, name=f"norm_{i}")(h))
    h = jnp.concatenate([h.mean((1, 2)), h.reshape(len(h), -1)], axis=-1)
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    return nn.Dense(self.out, name="out")(h)
