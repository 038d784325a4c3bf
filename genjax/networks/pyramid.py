"""Two grids of vectors, the coarse one above the fine one (Razavi et al. 2019, arXiv:1906.00446).

    h = f(x), z_top = g(h)                  down to the fine grid, and from there to the coarse one
    z_bottom = r(h, g'(e_top))              the fine grid, once it is known what the coarse says
    x' = f'(e_bottom, u(e_top))             both together; u doubles the coarse grid

where (f, f') and (g, g') are there and back of autoencoders.Spatial.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import autoencoders
from genjax.networks.layers import convolution


class Pyramid(autoencoders.Codec):
  """widths: channels of the levels down to the fine grid, each half as high and wide as the one
  before, rounded up; the coarse grid is once more half of the fine one.

  blocks: residual ones, on each grid and of each way. code: channels of both grids.
  """

  widths: tuple[core.Size, ...] = (32, 64)
  blocks: core.Size = 2
  code: core.Size = 64
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    if not self.widths:
      raise core.UserError("pyramid: widths=() has no level")
    convolution.check_images("pyramid", self.spec)

  @property
  def grids(self) -> dict[str, tuple[int, int]]:
    """Height and width of the "top" and the "bottom" one."""
    *_, bottom, top = convolution.halvings(self.spec.shape[:2], len(self.widths) + 2)
    return {"top": top, "bottom": bottom}

  def setup(self):
    last = self.widths[-1]
    inside = core.DataSpec(shape=(*self.grids["bottom"], last))
    both = dict(blocks=self.blocks, dtype=self.dtype)
    self.outer = autoencoders.Spatial(widths=self.widths, code=last, spec=self.spec, **both)
    self.inner = autoencoders.Spatial(widths=(last,), code=self.code, spec=inside, **both)
    self.to_code = nn.Conv(self.code, (1, 1), dtype=self.dtype)
    self.double = nn.ConvTranspose(self.code, (4, 4), (2, 2), dtype=self.dtype)

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    h, top = self.top(x)
    return self.decode(top, self.bottom(h, top))

  def top(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """x [B, H, W, C] -> (h [B, h, w, last], z_top [B, h/2, w/2, code])."""
    h = self.outer.encode(x)
    return h, self.inner.encode(h)

  def bottom(self, h: jax.Array, top: jax.Array, train: bool = False) -> jax.Array:
    """(h, e_top) -> z_bottom [B, h, w, code]."""
    h = jnp.concatenate([h, self.inner.decode(top)], axis=-1)
    return self.to_code(h).astype(jnp.float32)

  def decode(self, top: jax.Array, bottom: jax.Array, train: bool = False) -> jax.Array:
    """(e_top, e_bottom) -> [B, H, W, C]."""
    height, width = bottom.shape[1:3]
    above = self.double(top)[:, :height, :width]
    return self.outer.decode(jnp.concatenate([bottom, above], axis=-1))
