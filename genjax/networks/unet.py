"""The U-Net of denoising diffusion (Ho et al. 2020, arXiv:2006.11239, appendix B).

    down    stem conv; for each level `layers` residual blocks, each followed by attention where
            asked, and a strided conv
    middle  block, attention, block
    up      for each level `layers + 1` blocks, each fed with what the way down left behind, and an
            upsampling conv; at last norm, silu, conv

The defaults compute what diffusers' UNet2DModel of the same widths does (4,023,233 parameters for
one channel). Ours differs in three points: the last layer of each residual branch and of the whole
starts at zero, so that a new network returns 0; any height and width will do (zeros around until it
can be halved, cropped at the end); `patch` first folds squares of pixels into channels, since
nearby pixels say much the same, and all layers are patch^2 times cheaper.
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
  """x + conv(silu(norm(conv(silu(norm(x))) + dense(silu(emb))))); a dense layer widens x.

  x comes in parts [B, H, W, C_i] that are never put together: layers split their kernels instead.

  features: number of output channels.
  groups, dropout, dtype: as in UNet.
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
    shift = nn.Dense(self.features, dtype=self.dtype, name="time")(nn.silu(emb))
    h = h + shift.astype(jnp.float32)[:, None, None]
    h = nn.silu(norm("norm2")(h)[0])
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    h = conv("conv2", True)(h)
    if len(parts) == 1 and parts[0].shape[-1] == self.features:
      return h + parts[0]
    return h + Pointwise(self.features, dtype=self.dtype, name="skip")(*parts)


class UNet(nn.Module):
  """net(x, t, cond, train): x [B, H, W, C] of any size, t [B] -> [B, H, W, C] float32.

  cond["beside"] [B, H, W, C'], where present, is more channels of x.
  Tokens, where it is told any, are attended to wherever there is self-attention, after it.

  channels: width of each level, the finest first.
  layers: residual blocks of a level on the way down (one more on the way up).
  attention: for each level, whether self-attention follows its blocks (the middle has it anyway).
  head_dim: channels of an attention head; divides the channels of levels with attention.
  groups: of the group norms; divides all channels.
  dropout: rate inside the residual blocks, when training.
  patch: patch x patch squares of pixels are folded into channels around the network.
  out: number of channels of the answer; 0 for those of x.
  fourier: the n for which sin and cos of 2^n pi x stand beside x, to tell grey levels apart (Kingma
    et al. 2021, arXiv:2107.00630, appendix C).
  conditions: the fields it is told, see layers/conditioning.py; a vector joins that of time.
  dtype: of the computation; parameters, norms, softmax and the result are float32.
  spec: what the data is; needed where there are conditions.

  Raises UserError where widths, levels and divisors do not fit together.
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
      raise core.UserError("unet: channels=() has no level")
    if len(self.attention) != len(self.channels):
      raise core.UserError(
        f"unet: attention={self.attention} must have one entry for each of channels={self.channels}"
      )
    with_heads = [*self.attention[:-1], True]
    for width, heads in zip(self.channels, with_heads):
      for name, divisor in [("groups", self.groups)] + [("head_dim", self.head_dim)] * heads:
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
    h = conditioning.join(embeddings.beside(x, cond), told.channels)
    for n in self.fourier:
      h = jnp.concatenate([h, jnp.sin(2**n * jnp.pi * x), jnp.cos(2**n * jnp.pi * x)], axis=-1)
    h = convolution.pad_to_multiple(h, self.patch * 2 ** (len(self.channels) - 1))
    h = convolution.space_to_depth(h, self.patch)
    h = self._body(h, self._embed(t, told.vector), told, train)
    h = Convolution(depth * self.patch**2, zero=True, name="out")(h)
    return convolution.crop(convolution.depth_to_space(h, self.patch), height, width)

  def _embed(self, t, vector):
    """Time [B] and the conditions' vector, if there is one -> [B, 4 channels[0]]."""
    emb = TimeEmbedding(self.channels[0], 4 * self.channels[0], self.dtype, name="time")(t)
    return emb if vector is None else emb + vector

  def _body(self, x, emb, told, train):
    """All between the patches and the last convolution: [B, H, W, C] -> [B, H, W, channels[0]]."""
    levels = list(enumerate(zip(self.channels, self.attention)))
    conv = lambda width, name, **kwargs: Convolution(width, dtype=self.dtype, name=name, **kwargs)

    def block(parts, width, attention, name):
      h = ResidualBlock(width, self.groups, self.dropout, self.dtype, name=name)(parts, emb, train)
      if not attention:
        return h
      h = SelfAttention(self.head_dim, self.groups, self.dtype, name=f"{name}_attention")(h)
      if told.tokens is None:
        return h
      look = CrossAttention(self.head_dim, self.groups, self.dtype, name=f"{name}_tokens")
      return look(h, told.tokens, told.seen)

    h = conv(self.channels[0], "stem")(x)
    skips = [h]
    for i, (width, attention) in levels:
      for j in range(self.layers):
        h = block((h,), width, attention, f"down{i}_{j}")
        skips.append(h)
      if i + 1 < len(levels):
        h = conv(width, f"down{i}_half", resize="halve")(h)
        skips.append(h)
    h = block((h,), self.channels[-1], True, "middle_0")
    h = block((h,), self.channels[-1], False, "middle_1")
    for i, (width, attention) in reversed(levels):
      for j in range(self.layers + 1):
        h = block((h, skips.pop()), width, attention, f"up{i}_{j}")
      if i > 0:
        h = conv(width, f"up{i}_double", resize="double")(h)
    return nn.silu(GroupNorm(self.groups, name="norm")(h)[0])
