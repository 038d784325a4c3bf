"""Two grids of vectors, a coarse one above a fine one (Razavi et al. 2019, arXiv:1906.00446).

    h = f(x),  z_top = g(h)               from x down to the fine grid, then to the coarse one  (1)
    z_bottom = r(h, g'(e_top))            the fine grid, given what the coarse one says         (2)
    x' = f'(e_bottom, u(e_top))           the decoder sees both; u doubles the coarse grid      (3)

(f, f') and (g, g') are encoder and decoder of an autoencoders.Spatial each. e_top and e_bottom are
the vectors that stand for z_top and z_bottom, such as entries of a codebook.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import autoencoders
from genjax.networks.layers import convolution


class Pyramid(autoencoders.Codec):
  """Encoder and decoder of a picture [B, H, W, C] with a coarse and a fine grid of vectors.

  widths: channels of the levels down to the fine grid, each half as high and wide as the one
    before, rounded up. The coarse grid is half as high and wide as the fine one.
  blocks: number of residual blocks on each grid, in the encoder and in the decoder.
  code: channels of both grids.
  dtype: type of the computation; parameters and grids are float32.
  spec: the data.

  Raises UserError without widths, or for data that are no images.
  """

  widths: tuple[core.Size, ...] = (32, 64)
  blocks: core.Size = 2
  code: core.Size = 64
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    if not self.widths:
      raise core.UserError("pyramid: widths=() has no level; expected one width or more")
    convolution.check_images("pyramid", self.spec)

  @property
  def grids(self) -> dict[str, tuple[int, int]]:
    """Height and width of the grids "top" (coarse) and "bottom" (fine)."""
    *_, bottom, top = convolution.halvings(self.spec.shape[:2], len(self.widths) + 2)
    return {"top": top, "bottom": bottom}

  def setup(self):
    last = self.widths[-1]
    inside = core.DataSpec(shape=(*self.grids["bottom"], last))  # h of (1)
    both = dict(blocks=self.blocks, dtype=self.dtype)

    # (f, f') and (g, g'), then r and u.
    self.outer = autoencoders.Spatial(widths=self.widths, code=last, spec=self.spec, **both)
    self.inner = autoencoders.Spatial(widths=(last,), code=self.code, spec=inside, **both)
    self.to_code = nn.Conv(self.code, (1, 1), dtype=self.dtype)
    self.double = nn.ConvTranspose(self.code, (4, 4), (2, 2), dtype=self.dtype)

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    h, top = self.top(x)
    return self.decode(top, self.bottom(h, top))

  def top(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """Equation (1): x [B, H, W, C] -> (h [B, h, w, widths[-1]], z_top [B, h/2, w/2, code])."""
    h = self.outer.encode(x)
    return h, self.inner.encode(h)

  def bottom(self, h: jax.Array, top: jax.Array, train: bool = False) -> jax.Array:
    """Equation (2): (h, e_top) -> z_bottom [B, h, w, code]."""
    said = self.inner.decode(top)  # [B, h, w, widths[-1]]
    h = jnp.concatenate([h, said], axis=-1)
    return self.to_code(h).astype(jnp.float32)

  def decode(self, top: jax.Array, bottom: jax.Array, train: bool = False) -> jax.Array:
    """Equation (3): (e_top, e_bottom) -> [B, H, W, C]."""
    height, width = bottom.shape[1:3]

    # Halving rounds up, so the doubled grid may have a row or a column more than the fine one.
    above = self.double(top)[:, :height, :width]
    both = jnp.concatenate([bottom, above], axis=-1)  # [B, h, w, 2 code]
    return self.outer.decode(both)
