"""Vector-quantized variational autoencoder (van den Oord et al. 2017, arXiv:1711.00937).

An encoder makes a picture a grid of vectors z, a quantizer (quantizers.py) puts a code
e(z) in the place of each, and a decoder makes a picture of those:

    L = |x - decode(z + sg(e - z))|^2 + beta |z - sg(e)|^2                                    (1)

means over dimensions, sg stopping the gradient, which so passes the choice as if it were none
("straight through"). The codebook has no gradient: it follows what chose it, see quantizers.py.
The codes of a picture are integers [h, w, depth]. There is no `sample`: that is up to a model of
these integers, such as families/autoregressive.py.

Logged: "perplexity", e to the entropy of how often the codes have been chosen lately, as many
codes as are in even use; "used", the share of codes that are.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.quantized import quantizers
from genjax.networks import autoencoders

RARE = 0.01  # of what each code had, were all alike: who has less is not in use


class Chosen(NamedTuple):
  """What vectors z [..., width] chose from a book, in training.

  index: int32 [..., depth]. through: the code [..., width], its gradient that of z.
  commitment: the last term of (1) without beta. book: as it has followed.
  """

  index: jax.Array
  through: jax.Array
  commitment: jax.Array
  book: quantizers.Codebook


def choose(quantizer: Any, book: quantizers.Codebook, z: jax.Array) -> Chosen:
  """The quantizer's part of (1) for vectors z [..., width]."""
  index = quantizer.index(book, z)
  if not quantizer.learnt:
    return Chosen(index, quantizer.through(z), jnp.zeros(()), book)
  code = jax.lax.stop_gradient(quantizer.vector(book, index))
  through = z + jax.lax.stop_gradient(code - z)
  book = quantizer.update(book, jax.lax.stop_gradient(z), index)
  return Chosen(index, through, jnp.mean((z - code) ** 2), book)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE:
  """One group, "vqvae"; its codebook is buffers["vqvae"]["codebook"].

  codec: network to a grid of vectors and back. quantizer: an entry of quantizers.py.
  beta: of the commitment. Raises UserError for a codec whose vectors are of another width.
  """

  spec: core.DataSpec
  codec: core.Codec = autoencoders.Spatial()
  quantizer: core.Quantizer = quantizers.VQ()
  beta: core.NonNegative = 0.25
  pretrained = ()
  conditions = ()

  def __post_init__(self):
    own = type(type(self).codec)  # the default's
    if not isinstance(self.codec, own):
      raise core.UserError(f"codes are a grid; here use codec {own.__name__.lower()!r}")
    autoencoders.check_answer(self.codec, self.spec)
    if self.codec.code != self.quantizer.width:
      raise core.UserError(
        f"codec.code={self.codec.code} must be the quantizer's width, {self.quantizer.width}"
      )

  @property
  def codes(self) -> dict[str, core.Field]:
    """What an entry of a code is."""
    return {"code": core.Field(shape=(), dtype="int32", levels=self.quantizer.size, kind="tokens")}

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (core.Objective("vqvae", ("vqvae",), self.loss),)

  def init(self, key, batch, loaded):
    if "vqvae" in loaded:
      return tuple({"vqvae": part} for part in loaded["vqvae"])
    first, second = jax.random.split(key)
    params, own = core.init(self.codec, first, batch["x"])
    params = {"vqvae": params}
    book = self.start(second, params, own, batch["x"])
    return params, {"vqvae": {**own, "codebook": book}}

  def start(self, key, params, own, x):
    """The codebook, on vectors of a batch."""
    return self.quantizer.start(key, self._call("encode", params, {"vqvae": own}, x)[0])

  def refresh(self, params, buffers, batch, key, step):
    """Dead codes start anew."""
    if not self.quantizer.restart:
      return params, buffers, {}
    book, dead = self.revive(params, buffers, batch["x"], key)
    return params, self._keep(buffers, book), {"vqvae/restarted": dead}

  def revive(self, params, buffers, x, key):
    """(the codebook with dead codes on vectors of a batch, how many)."""
    z, _ = self._call("encode", params, buffers, x)
    return self.quantizer.revive(self._books(buffers), z, key)

  def loss(self, params, buffers, batch, key, step):
    """Equation (1), mean over the batch; the codebook follows."""
    x, book = batch["x"], self._books(buffers)
    z, buffers = self._call("encode", params, buffers, x, train=True, key=key)
    code = choose(self.quantizer, book, z)
    again, buffers = self._call("decode", params, buffers, code.through, train=True, key=key)
    error = jnp.mean((again - x) ** 2)
    logs = {"error": error, "commitment": code.commitment, **used(self.quantizer, code)}
    return error + self.beta * code.commitment, (self._keep(buffers, code.book), logs)

  def encode(self, params, buffers, x, cond=None):
    """x [N, *event] -> int32 [N, h, w, depth]."""
    z, _ = self._call("encode", params, buffers, x)
    return self.quantizer.index(self._books(buffers), z)

  def decode(self, params, buffers, index, cond=None):
    """int32 [N, h, w, depth] -> x [N, *event]."""
    code = self.quantizer.vector(self._books(buffers), index)
    return self._call("decode", params, buffers, code)[0]

  def reconstruct(self, params, buffers, x, cond=None):
    """x [N, *event] there and back."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _call(self, method, params, buffers, *args, **training):
    return core.call(self.codec, "vqvae", params, buffers, *args, method=method, **training)

  def _books(self, buffers):
    return buffers["vqvae"]["codebook"]

  def _keep(self, buffers, books):
    return {**buffers, "vqvae": {**buffers["vqvae"], "codebook": books}}


def used(quantizer: Any, code: Chosen) -> core.Metrics:
  """`usage` of the codes of the first book: lately, or without a book just now."""
  if quantizer.learnt:
    return usage(code.book["chosen"][0])
  return usage(jnp.bincount(code.index[..., 0].ravel(), length=quantizer.size))


def usage(count: jax.Array) -> core.Metrics:
  """Of how often [K] codes are chosen: how many there seem to be, and the share in use."""
  share = count / jnp.maximum(jnp.sum(count), 1e-12)  # with decay=1 none is ever counted
  entropy = -jnp.sum(share * jnp.log(jnp.maximum(share, 1e-12)))
  return {"perplexity": jnp.exp(entropy), "used": jnp.mean(share > RARE / len(share))}
