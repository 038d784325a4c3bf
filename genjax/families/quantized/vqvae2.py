"""VQ-VAE-2: vector quantization on two levels (Razavi et al. 2019, arXiv:1906.00446).

The top, a coarse grid, is quantized first and tells the bottom, a fine one, what it need not say;
the decoder sees both (networks/pyramid.py; algorithm 1 of the paper):

    h, z_top = encode(x)                       e_top = e(z_top)
    z_bottom = refine(h, e_top)                e_bottom = e(z_bottom)
    L = |x - decode(e_top, e_bottom)|^2 + beta sum_level |z_level - sg(e_level)|^2             (1)

means over dimensions, straight through the choices as in families/vqvae.py. Each level has a
codebook of its own, both of one size, so the codes of a picture are one sequence of integers [L]:
those of the top in raster order, then those of the bottom. An autoregressive model of it models the
bottom given the top, as the paper's two priors do.

Logged: those of vqvae.py, of each level.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.quantized import vqvae
from genjax.networks import pyramid

LEVELS = ("top", "bottom")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE2(vqvae.VQVAE):
  """One group, "vqvae"; buffers["vqvae"]["codebook"] holds those of "top" and "bottom"."""

  codec: core.Codec = pyramid.Pyramid()

  @property
  def codes(self) -> dict[str, core.Field]:
    """The entries of a code that each level has, in their order."""
    fields = {}
    for level, grid in self.codec.grids.items():
      entries = math.prod(grid) * self.quantizer.depth
      size = self.quantizer.size
      fields[level] = core.Field(shape=(entries,), dtype="int32", levels=size, kind="tokens")
    return fields

  def start(self, key, params, own, x):
    """The codebooks, on vectors of a batch."""
    keys = jax.random.split(key)
    (_, z), _ = self._call("top", params, {"vqvae": own}, x)
    books = {"top": self.quantizer.start(keys[0], z)}
    z = self._vectors(params, {"vqvae": {**own, "codebook": books}}, x)["bottom"]
    return {**books, "bottom": self.quantizer.start(keys[1], z)}

  def revive(self, params, buffers, x, key):
    """(the codebooks with dead codes on vectors of a batch, how many)."""
    z, old, new, dead = self._vectors(params, buffers, x), self._books(buffers), {}, 0.0
    for level, k in zip(LEVELS, jax.random.split(key)):
      new[level], n = self.quantizer.revive(old[level], z[level], k)
      dead += n
    return new, dead

  def loss(self, params, buffers, batch, key, step):
    """Equation (1), mean over the batch; the codebooks follow."""
    x, books, training = batch["x"], self._books(buffers), dict(train=True, key=key)
    (h, z), buffers = self._call("top", params, buffers, x, **training)
    top = vqvae.choose(self.quantizer, books["top"], z)
    z, buffers = self._call("bottom", params, buffers, h, top.through, **training)
    bottom = vqvae.choose(self.quantizer, books["bottom"], z)
    codes = top.through, bottom.through
    again, buffers = self._call("decode", params, buffers, *codes, **training)
    error, commitment = jnp.mean((again - x) ** 2), top.commitment + bottom.commitment
    logs = {"error": error, "commitment": commitment}
    for level, code in zip(LEVELS, (top, bottom)):
      logs |= {f"{level}/{k}": v for k, v in vqvae.used(self.quantizer, code).items()}
    books = {"top": top.book, "bottom": bottom.book}
    return error + self.beta * commitment, (self._keep(buffers, books), logs)

  def encode(self, params, buffers, x, cond=None):
    """x [N, *event] -> int32 [N, L], the top's before the bottom's."""
    z, books = self._vectors(params, buffers, x), self._books(buffers)
    index = [self.quantizer.index(books[level], z[level]) for level in LEVELS]
    return jnp.concatenate([part.reshape(len(x), -1) for part in index], axis=1)

  def decode(self, params, buffers, index, cond=None):
    """int32 [N, L] -> x [N, *event]."""
    parts, books, codes = jnp.split(index, [*self.codes["top"].shape], 1), self._books(buffers), []
    for level, part in zip(LEVELS, parts):
      part = part.reshape(len(index), *self.codec.grids[level], self.quantizer.depth)
      codes.append(self.quantizer.vector(books[level], part))
    return self._call("decode", params, buffers, *codes)[0]

  def _vectors(self, params, buffers, x):
    """{level: z [N, h, w, width]}, the bottom's given the code of the top."""
    (h, top), _ = self._call("top", params, buffers, x)
    book = self._books(buffers)["top"]
    code = self.quantizer.vector(book, self.quantizer.index(book, top))
    return {"top": top, "bottom": self._call("bottom", params, buffers, h, code)[0]}
