"""Vector-quantized variational autoencoder (van den Oord et al. 2017, arXiv:1711.00937).

An encoder makes a picture a grid of vectors z, a quantizer (networks/quantizers.py) puts a code
e(z) in the place of each, and a decoder makes a picture of those:

    L = |x - decode(z + sg(e - z))|^2 + beta |z - sg(e)|^2                                    (1)

means over dimensions, sg stopping the gradient, which so passes the choice as if it were none
("straight through"). The codebook has no gradient: it follows what chose it, see quantizers.py.
The codes of a picture are integers [h, w, depth]. There is no `sample`: that is up to a model of
these integers.

Logged: "perplexity", e to the entropy of how often the codes have been chosen lately, as many
codes as are in even use; "used", the share of codes that are.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import autoencoders, quantizers

RARE = 0.01  # of what each code had, were all alike: who has less is not in use


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE:
  """One group, "vqvae"; its codebook is buffers["vqvae"]["codebook"].

  codec: network to a grid of vectors and back. quantizer: an entry of quantizers.py.
  beta: of the commitment. Raises UserError for a codec whose vectors are of another width.
  """

  spec: core.DataSpec
  codec: Any = autoencoders.Spatial()
  quantizer: Any = quantizers.VQ()
  beta: core.NonNegative = 0.25
  pretrained = ()
  conditions = ()

  def __post_init__(self):
    if not isinstance(self.codec, autoencoders.Spatial):
      raise core.UserError("vqvae: codes are a grid; use codec 'spatial'")
    if self.codec.code != self.quantizer.width:
      raise core.UserError(
        f"codec.code={self.codec.code} must be the quantizer's width, {self.quantizer.width}"
      )

  @property
  def code_levels(self) -> int:
    """How many values each entry of a code has."""
    return self.quantizer.size

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (core.Objective("vqvae", ("vqvae",), self.loss),)

  def init(self, key, batch, loaded):
    if "vqvae" in loaded:
      return tuple({"vqvae": part} for part in loaded["vqvae"])
    first, second = jax.random.split(key)
    params, own = core.init(self.codec, first, batch["x"])
    z, _ = core.call(self.codec, "vqvae", {"vqvae": params}, {}, batch["x"], method="encode")
    return {"vqvae": params}, {"vqvae": {**own, "codebook": self.quantizer.start(second, z)}}

  def refresh(self, params, buffers, batch, key, step):
    """Dead codes start anew."""
    if not self.quantizer.restart:
      return params, buffers, {}
    own = buffers["vqvae"]
    z, _ = self._call(params, buffers, batch["x"], "encode")
    book, dead = self.quantizer.revive(own["codebook"], z, key)
    return params, {**buffers, "vqvae": {**own, "codebook": book}}, {"vqvae/restarted": dead}

  def loss(self, params, buffers, batch, key, step):
    """Equation (1), mean over the batch; the codebook follows."""
    x, book = batch["x"], buffers["vqvae"]["codebook"]
    z, buffers = self._call(params, buffers, x, "encode", train=True, key=key)
    index = self.quantizer.index(book, z)
    if self.quantizer.learnt:
      code = jax.lax.stop_gradient(self.quantizer.vector(book, index))
      commitment = jnp.mean((z - code) ** 2)
      through = z + jax.lax.stop_gradient(code - z)
      book = self.quantizer.update(book, jax.lax.stop_gradient(z), index)
    else:
      commitment, through = jnp.zeros(()), self.quantizer.through(z)
    again, buffers = self._call(params, buffers, through, "decode", train=True, key=key)
    error = jnp.mean((again - x) ** 2)
    logs = {"error": error, "commitment": commitment, **usage(self._count(book, index))}
    buffers = {**buffers, "vqvae": {**buffers["vqvae"], "codebook": book}}
    return error + self.beta * commitment, (buffers, logs)

  def _count(self, book, index):
    """How often each code of the first book was chosen, [K]: lately, or without a book just now."""
    if self.quantizer.learnt:
      return book["count"][0]
    return jnp.bincount(index[..., 0].ravel(), length=self.quantizer.size)

  def encode(self, params, buffers, x):
    """x [N, *event] -> int32 [N, h, w, depth]."""
    z, _ = self._call(params, buffers, x, "encode")
    return self.quantizer.index(buffers["vqvae"]["codebook"], z)

  def decode(self, params, buffers, index):
    """int32 [N, h, w, depth] -> x [N, *event]."""
    code = self.quantizer.vector(buffers["vqvae"]["codebook"], index)
    return self._call(params, buffers, code, "decode")[0]

  def reconstruct(self, params, buffers, x):
    """x [N, *event] there and back."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _call(self, params, buffers, x, method, **training):
    return core.call(self.codec, "vqvae", params, buffers, x, method=method, **training)


def usage(count: jax.Array) -> core.Metrics:
  """Of how often [K] codes are chosen: how many there seem to be, and the share in use."""
  share = count / jnp.sum(count)
  entropy = -jnp.sum(share * jnp.log(jnp.maximum(share, 1e-12)))
  return {"perplexity": jnp.exp(entropy), "used": jnp.mean(share > RARE / len(share))}
