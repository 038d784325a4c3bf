"""The U-Net of denoising diffusion (Ho et al. 2020, arXiv:2006.11239, appendix B).

    down    a stem convolution; on each level `layers` residual blocks, each followed by attention
            where the level has it; between levels a convolution with stride 2
    middle  a block, attention, a block
    up      on each level `layers + 1` blocks, each of which also reads a map that the way down left
            behind; between levels an upsampling convolution; at last norm, silu, convolution

With the defaults it computes what diffusers' UNet2DModel of the same widths computes (4,023,233
parameters for one channel). It differs in three points. The last layer of each residual branch and
of the whole network starts at zero, so that a new network returns 0. Any height and width will do:
x is padded with zeros until it can be halved, and the result is cropped. And `patch` folds squares
of pixels into channels first: neighbouring pixels say much the same, and all layers in between
become patch^2 times cheaper.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import conditioning, convolution, embeddings
from genjax.networks.layers.attention import CrossAttention, SelfAttention
from genjax.networks.layers.convolution import Convolution, Pointwise
from genjax.networks.layers.embeddings import TimeEmbedding
from genjax.networks.layers.normalization import GroupNorm


class ResidualBlock(nn.Module):
  """x + conv(silu(norm(conv(silu(norm(x))) + dense(silu(emb))))) -> [B, H, W, features].

  x comes as parts [B, H, W, C_i], which are never joined: the layers split their kernels instead.
  If there are several parts, or other than `features` channels, the first term is a dense layer
  of x on each pixel.

  features: number of output channels.
  groups: number of groups of the group norms.
  dropout: dropout rate before the second convolution, when training.
  dtype: type of the computation; parameters and norms are float32.
  """

  features: int
  groups: int
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, parts: tuple[jax.Array, ...], emb: jax.Array, train: bool) -> jax.Array:
    norm = lambda name: GroupNorm(self.groups, name=name)
    conv = lambda name, zero: Convolution(self.features, zero=zero, dtype=self.dtype, name=name)
    h = conv("conv1", False)(*(nn.silu(y) for y in norm("norm1")(*parts)))

    # Time and conditions shift the channels, alike on all pixels.
    dense = nn.Dense(self.features, dtype=self.dtype, name="time")
    shift = dense(nn.silu(emb))
    h = h + shift.astype(jnp.float32)[:, None, None]

    h = nn.silu(norm("norm2")(h)[0])
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    h = conv("conv2", True)(h)

    if len(parts) == 1 and parts[0].shape[-1] == self.features:
      return h + parts[0]
    return h + Pointwise(self.features, dtype=self.dtype, name="skip")(*parts)


class UNet(nn.Module):
  """net(x, t, cond, train): x [B, H, W, C] of any size, t [B] -> [B, H, W, out or C] float32.

  If there is a cond["beside"] [B, H, W, C'], it is joined to x as more channels. Tokens, if a
  condition enters as such, are attended to after each self-attention.

  channels: width of each level, the finest first.
  layers: residual blocks of a level on the way down; on the way up there is one more.
  attention: for each level, whether self-attention follows its blocks; the middle always has it.
  head_dim: channels of an attention head; divides the channels of levels with attention.
  groups: number of groups of the group norms; divides all channels.
  dropout: dropout rate inside the residual blocks, when training.
  patch: patch x patch squares of pixels are folded into channels around the network.
  out: number of output channels; 0 for as many as x has.
  fourier: the integers n for which sin and cos of 2^n pi x are joined to x, so that near grey
    levels can be told apart (Kingma et al. 2021, arXiv:2107.00630, appendix C).
  conditions: the fields that it is told, see layers/conditioning.py. Vectors are added to the
    embedding of time.
  dtype: type of the computation; parameters, norms, softmax and the result are float32.
  spec: the data; needed where there are conditions.

  Raises UserError where widths, levels and divisors do not fit together, for data that are no
  images, or for a condition that it cannot be told.
  """

  channels: tuple[core.Size, ...] = (32, 64, 128)
  layers: core.Size = 2
  attention: tuple[bool, ...] = (False, True, True)
  head_dim: core.Size = 8
  groups: core.Size = 8
  dropout: core.Fraction = 0.0
  patch: core.Size = 1
  out: core.Count = 0
  fourier: tuple[core.Count, ...] = ()
  conditions: tuple[str, ...] = ()
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    convolution.check_images("unet", self.spec)
    conditioning.check("unet", self.conditions, self.spec, conditioning.WAYS)

    if not self.channels:
      raise core.UserError("unet: channels=() has no level; expected one width or more")
    if len(self.attention) != len(self.channels):
      raise core.UserError(
        f"unet: attention={self.attention} must have one entry for each of channels={self.channels}"
      )

    # The middle has the width of the last level, and always attention.
    with_heads = [*self.attention[:-1], True]
    for width, heads in zip(self.channels, with_heads):
      divisors = {"groups": self.groups}
      if heads:
        divisors["head_dim"] = self.head_dim
      for name, divisor in divisors.items():
        if width % divisor:
          raise core.UserError(f"unet: {name}={divisor} must divide channels {width}")

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    t: jax.Array,
    cond: dict[str, Any] | None = None,
    train: bool = False,
  ) -> jax.Array:
    height, width = x.shape[1:3]
    depth = self.out or x.shape[-1]
    told = conditioning.hear(self, cond, len(x), 4 * self.channels[0], self.channels[-1])

    # The input: x, what lies beside it, and its sines and cosines.
    h = conditioning.join(embeddings.beside(x, cond), told.channels)
    for n in self.fourier:
      wave = 2**n * jnp.pi * x
      h = jnp.concatenate([h, jnp.sin(wave), jnp.cos(wave)], axis=-1)

    # Zeros until every level can be halved, then squares of pixels become channels.
    h = convolution.pad_to_multiple(h, self.patch * 2 ** (len(self.channels) - 1))
    h = convolution.space_to_depth(h, self.patch)

    h = self._body(h, self._embed(t, told.vector), told, train)
    h = Convolution(depth * self.patch**2, zero=True, name="out")(h)
    h = convolution.depth_to_space(h, self.patch)
    return convolution.crop(h, height, width)

  def _embed(self, t: jax.Array, vector: jax.Array | None) -> jax.Array:
    """Returns the embedding of t [B] plus the conditions' vector, if any: [B, 4 channels[0]]."""
    width = self.channels[0]
    emb = TimeEmbedding(width, 4 * width, self.dtype, name="time")(t)
    return emb if vector is None else emb + vector

  def _body(self, x: jax.Array, emb: jax.Array, told: conditioning.Told, train: bool) -> jax.Array:
    """Returns what the last convolution reads: [B, H, W, C] -> [B, H, W, channels[0]]."""
    levels = list(enumerate(zip(self.channels, self.attention)))
    conv = lambda width, name, **kwargs: Convolution(width, dtype=self.dtype, name=name, **kwargs)

    def block(parts, width, attention, name):
      residual = ResidualBlock(width, self.groups, self.dropout, self.dtype, name=name)
      h = residual(parts, emb, train)
      if not attention:
        return h

      fields = (self.head_dim, self.groups, self.dtype)
      h = SelfAttention(*fields, name=f"{name}_attention")(h)
      if told.tokens is None:
        return h
      look = CrossAttention(*fields, name=f"{name}_tokens")
      return look(h, told.tokens, told.seen)

    # Down; every map is kept for the way up.
    h = conv(self.channels[0], "stem")(x)
    skips = [h]
    for i, (width, attention) in levels:
      for j in range(self.layers):
        h = block((h,), width, attention, f"down{i}_{j}")
        skips.append(h)
      if i + 1 < len(levels):
        h = conv(width, f"down{i}_half", resize="halve")(h)
        skips.append(h)

    # Middle.
    h = block((h,), self.channels[-1], True, "middle_0")
    h = block((h,), self.channels[-1], False, "middle_1")

    # Up; each block also reads the last map that is left.
    for i, (width, attention) in reversed(levels):
      for j in range(self.layers + 1):
        h = block((h, skips.pop()), width, attention, f"up{i}_{j}")
      if i > 0:
        h = conv(width, f"up{i}_double", resize="double")(h)

    return nn.silu(GroupNorm(self.groups, name="norm")(h)[0])
