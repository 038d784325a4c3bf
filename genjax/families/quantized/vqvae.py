"""Vector-quantized variational autoencoder (van den Oord et al. 2017, arXiv:1711.00937).

An encoder turns a picture into a grid of vectors z. A quantizer (quantizers.py) chooses a code for
each vector and replaces it by the vector e(z) of that code. A decoder turns the grid back into a
picture:

    L = |x - decode(z + sg(e - z))|^2 + beta |z - sg(e)|^2                                    (1)

Both terms are means over dimensions, and sg stops the gradient. The value that the decoder sees is
e, but its gradient goes to z as if nothing had been replaced ("straight through"). The second term,
the commitment, holds z near the codes. The codebook has no gradient: it follows the vectors that
choose it, see quantizers.py.

The codes of a picture are integers [h, w, depth]. A VQ-VAE has no `sample`: that is the task of a
model of these integers, such as families/autoregressive/autoregressive.py.

Logged beside the terms of (1), for the first book:

    perplexity   exp of the entropy of how often each code was chosen lately. It is the number of
                 codes in use, if all of them are used alike
    used         the share of the codes in use, which are those chosen more often than RARE times
                 the mean over all codes
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.quantized import quantizers
from genjax.networks import autoencoders

# A code counts as used if its share of the choices is above RARE / K, for K codes.
RARE = 0.01


class Chosen(NamedTuple):
  """The codes that vectors z [..., width] chose from a codebook, in training.

  index: int32 [..., depth], the codes.
  through: [..., width], the vectors of the codes, with the gradient of z.
  commitment: scalar, the second term of (1) without beta; 0 without a codebook.
  book: the codebook, updated with z.
  """

  index: jax.Array
  through: jax.Array
  commitment: jax.Array
  book: quantizers.Codebook


def choose(quantizer: Any, book: quantizers.Codebook, z: jax.Array) -> Chosen:
  """Returns the quantizer's part of (1) for vectors z [..., width]."""
  index = quantizer.index(book, z)
  # Without a codebook there is nothing to follow, and nothing to commit to.
  if not quantizer.learnt:
    return Chosen(index, quantizer.through(z), jnp.zeros(()), book)

  code = jax.lax.stop_gradient(quantizer.vector(book, index))
  # The value of `code` with the gradient of z.
  through = z + jax.lax.stop_gradient(code - z)
  book = quantizer.update(book, jax.lax.stop_gradient(z), index)
  return Chosen(index, through, jnp.mean((z - code) ** 2), book)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE:
  """Vector-quantized autoencoder with one parameter group, "vqvae".

  The codebook is state, not a parameter: buffers["vqvae"]["codebook"].

  codec: network from x to a grid of vectors and back.
  quantizer: a class of quantizers.py.
  beta: weight of the commitment in (1).

  Raises UserError for a codec without a grid, for one that does not give back the channels of x,
  and for one whose vectors do not have the width of the quantizer.
  """

  spec: core.DataSpec
  codec: core.Codec = autoencoders.Spatial()
  quantizer: core.Quantizer = quantizers.VQ()
  beta: core.NonNegative = 0.25
  pretrained = ()
  conditions = ()

  def __post_init__(self):
    # The class of the default codec, which differs in subclasses.
    own = type(type(self).codec)
    if not isinstance(self.codec, own):
      raise core.UserError(
        f"codec: {type(self).__name__} cannot use this network; use codec {own.__name__.lower()!r}"
      )
    autoencoders.check_answer(self.codec, self.spec)
    if self.codec.code != self.quantizer.width:
      raise core.UserError(
        f"codec.code={self.codec.code} must be the quantizer's width, {self.quantizer.width}"
      )

  @property
  def codes(self) -> dict[str, core.Field]:
    """The integer codes by name, here one: what each entry of a code is."""
    return {"code": core.Field(shape=(), dtype="int32", levels=self.quantizer.size, kind="tokens")}

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """One objective, equation (1)."""
    return (core.Objective("vqvae", ("vqvae",), self.loss),)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns new or loaded parameters and codebook; a new codebook starts on the batch."""
    if "vqvae" in loaded:
      return tuple({"vqvae": part} for part in loaded["vqvae"])

    first, second = jax.random.split(key)
    params, own = core.init(self.codec, first, batch["x"])
    params = {"vqvae": params}
    # The codebook starts on vectors of the encoder, so it comes second.
    book = self.start(second, params, own, batch["x"])
    return params, {"vqvae": {**own, "codebook": book}}

  def start(
    self, key: jax.Array, params: core.Params, own: dict[str, Any], x: jax.Array
  ) -> quantizers.Codebook:
    """Returns a new codebook, which lies on the vectors of x [B, *event].

    own: the collections of the codec.
    """
    return self.quantizer.start(key, self._call("encode", params, {"vqvae": own}, x)[0])

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Moves dead codes onto vectors of the batch, and logs how many."""
    if not self.quantizer.restart:
      return params, buffers, {}

    book, dead = self.revive(params, buffers, batch["x"], key)
    return params, self._keep(buffers, book), {"vqvae/restarted": dead}

  def revive(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, key: jax.Array
  ) -> tuple[quantizers.Codebook, jax.Array]:
    """Returns (the codebook with dead codes moved onto vectors of x [B, *event], their number)."""
    z, _ = self._call("encode", params, buffers, x)
    return self.quantizer.revive(self._books(buffers), z, key)

  def loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns equation (1), a mean over the batch, and buffers with the updated codebook."""
    x = batch["x"]
    book = self._books(buffers)

    z, buffers = self._call("encode", params, buffers, x, train=True, key=key)
    code = choose(self.quantizer, book, z)
    again, buffers = self._call("decode", params, buffers, code.through, train=True, key=key)

    # Equation (1), and the codebook that follows the choices.
    error = jnp.mean((again - x) ** 2)
    logs = {"error": error, "commitment": code.commitment, **used(self.quantizer, code)}
    return error + self.beta * code.commitment, (self._keep(buffers, code.book), logs)

  def encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the codes of x [N, *event], int32 [N, h, w, depth]."""
    z, _ = self._call("encode", params, buffers, x)
    return self.quantizer.index(self._books(buffers), z)

  def decode(
    self,
    params: core.Params,
    buffers: core.Buffers,
    index: jax.Array,
    cond: core.Batch | None = None,
  ) -> jax.Array:
    """Returns x [N, *event] for codes int32 [N, h, w, depth]."""
    code = self.quantizer.vector(self._books(buffers), index)
    return self._call("decode", params, buffers, code)[0]

  def reconstruct(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns x [N, *event] after encoding and decoding."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _call(
    self, method: str, params: core.Params, buffers: core.Buffers, *args: Any, **training: Any
  ) -> tuple[Any, core.Buffers]:
    """Calls a method of the codec: (its output, buffers)."""
    return core.call(self.codec, "vqvae", params, buffers, *args, method=method, **training)

  def _books(self, buffers: core.Buffers) -> Any:
    """Returns the codebook, or the dict of codebooks of a subclass."""
    return buffers["vqvae"]["codebook"]

  def _keep(self, buffers: core.Buffers, books: Any) -> core.Buffers:
    """Returns the buffers with another codebook."""
    return {**buffers, "vqvae": {**buffers["vqvae"], "codebook": books}}


def used(quantizer: Any, code: Chosen) -> core.Metrics:
  """Returns the `usage` of the codes of the first book.

  With a codebook, this is a running mean over batches; without one, this batch alone is counted.
  """
  if quantizer.learnt:
    return usage(code.book["chosen"][0])
  return usage(jnp.bincount(code.index[..., 0].ravel(), length=quantizer.size))


def usage(count: jax.Array) -> core.Metrics:
  """Returns "perplexity" and "used" for `count` [K], how often each code is chosen."""
  # With decay=1 no choice is ever counted, so the sum may be 0.
  share = count / jnp.maximum(jnp.sum(count), 1e-12)
  entropy = -jnp.sum(share * jnp.log(jnp.maximum(share, 1e-12)))
  return {"perplexity": jnp.exp(entropy), "used": jnp.mean(share > RARE / len(share))}
