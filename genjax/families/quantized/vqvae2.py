"""VQ-VAE-2: vector quantization on two levels (Razavi et al. 2019, arXiv:1906.00446).

The top level, a coarse grid, is quantized first. The bottom level, a fine grid, is encoded given
the codes of the top, so it need not repeat what they say. The decoder sees both levels
(networks/pyramid.py; algorithm 1 of the paper):

    h, z_top = encode(x)                       e_top = e(z_top)
    z_bottom = refine(h, e_top)                e_bottom = e(z_bottom)
    L = |x - decode(e_top, e_bottom)|^2 + beta sum_level |z_level - sg(e_level)|^2             (1)

All terms are means over dimensions, and gradients pass straight through both choices, as in
vqvae.py. Each level has its own codebook; both have the same size. So the codes of a picture are
one sequence of integers [L]: the top level in raster order, then the bottom level. An
autoregressive model of this sequence models the top, and the bottom given the top, as the two
priors of the paper do.

Logged: the terms of (1), and the "perplexity" and "used" of vqvae.py for each level.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.quantized import quantizers, vqvae
from genjax.networks import pyramid

LEVELS = ("top", "bottom")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE2(vqvae.VQVAE):
  """Vector-quantized autoencoder of two levels, with one parameter group, "vqvae".

  buffers["vqvae"]["codebook"] is a dict of two codebooks, "top" and "bottom".

  codec: network from x to two grids of vectors and back.

  The other fields are as in VQVAE.
  """

  codec: core.Codec = pyramid.Pyramid()

  @property
  def codes(self) -> dict[str, core.Field]:
    """The integer codes by level, in the order in which they stand in a sequence [L]."""
    fields = {}
    for level, grid in self.codec.grids.items():
      entries = math.prod(grid) * self.quantizer.depth
      size = self.quantizer.size
      fields[level] = core.Field(shape=(entries,), dtype="int32", levels=size, kind="tokens")
    return fields

  def start(
    self, key: jax.Array, params: core.Params, own: dict[str, Any], x: jax.Array
  ) -> dict[str, quantizers.Codebook]:
    """Returns new codebooks, which lie on the vectors of x [B, *event].

    own: the collections of the codec.
    """
    keys = jax.random.split(key)
    (_, z), _ = self._call("top", params, {"vqvae": own}, x)
    books = {"top": self.quantizer.start(keys[0], z)}

    # The vectors of the bottom depend on the codes of the top.
    z = self._vectors(params, {"vqvae": {**own, "codebook": books}}, x)["bottom"]
    return {**books, "bottom": self.quantizer.start(keys[1], z)}

  def revive(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, key: jax.Array
  ) -> tuple[dict[str, quantizers.Codebook], jax.Array]:
    """Returns (the codebooks with dead codes moved onto vectors of x [B, *event], their number)."""
    z = self._vectors(params, buffers, x)
    old = self._books(buffers)
    new = {}
    dead = 0.0
    for level, k in zip(LEVELS, jax.random.split(key)):
      new[level], n = self.quantizer.revive(old[level], z[level], k)
      dead += n
    return new, dead

  def loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns equation (1), a mean over the batch, and buffers with the updated codebooks."""
    x = batch["x"]
    books = self._books(buffers)
    training = dict(train=True, key=key)

    # Down to the top level, and back to the bottom level given the top's codes.
    (h, z), buffers = self._call("top", params, buffers, x, **training)
    top = vqvae.choose(self.quantizer, books["top"], z)
    z, buffers = self._call("bottom", params, buffers, h, top.through, **training)
    bottom = vqvae.choose(self.quantizer, books["bottom"], z)

    # Back to x, and the terms of (1).
    codes = top.through, bottom.through
    again, buffers = self._call("decode", params, buffers, *codes, **training)
    error = jnp.mean((again - x) ** 2)
    commitment = top.commitment + bottom.commitment

    logs = {"error": error, "commitment": commitment}
    for level, code in zip(LEVELS, (top, bottom)):
      logs |= {f"{level}/{k}": v for k, v in vqvae.used(self.quantizer, code).items()}
    books = {"top": top.book, "bottom": bottom.book}
    return error + self.beta * commitment, (self._keep(buffers, books), logs)

  def encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the codes of x [N, *event], int32 [N, L]: those of the top, then of the bottom."""
    z = self._vectors(params, buffers, x)
    books = self._books(buffers)
    # One grid of codes [N, h, w, depth] for each level, flattened in raster order.
    index = [self.quantizer.index(books[level], z[level]) for level in LEVELS]
    return jnp.concatenate([part.reshape(len(x), -1) for part in index], axis=1)

  def decode(
    self,
    params: core.Params,
    buffers: core.Buffers,
    index: jax.Array,
    cond: core.Batch | None = None,
  ) -> jax.Array:
    """Returns x [N, *event] for codes int32 [N, L]."""
    # The top has the first entries of the sequence.
    parts = jnp.split(index, [*self.codes["top"].shape], 1)
    books = self._books(buffers)
    codes = []
    for level, part in zip(LEVELS, parts):
      # [N, h, w, depth]
      part = part.reshape(len(index), *self.codec.grids[level], self.quantizer.depth)
      codes.append(self.quantizer.vector(books[level], part))
    return self._call("decode", params, buffers, *codes)[0]

  def _vectors(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array
  ) -> dict[str, jax.Array]:
    """Returns {level: z [N, h, w, width]} for x [N, *event], before quantization.

    The bottom's vectors are those given the top's codes, so the top's codebook must be there.
    """
    (h, top), _ = self._call("top", params, buffers, x)

    book = self._books(buffers)["top"]
    code = self.quantizer.vector(book, self.quantizer.index(book, top))
    return {"top": top, "bottom": self._call("bottom", params, buffers, h, code)[0]}
