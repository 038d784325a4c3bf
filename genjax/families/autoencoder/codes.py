"""The kinds of codes of an autoencoder: the last step of its encoder, h -> z.

h [B, code] is the output of the encoder network.

    plain     z = f(h), with f an activation or the identity
    topk      the k largest entries of h are kept, all others are set to 0
                                                          Makhzani & Frey 2013, arXiv:1312.5663
    binary    in training z = sigmoid(h + noise eps), eps ~ N(0, I): the noise drives h far from 0,
              to where it no longer changes z. After training z is bits: 1 where h > 0, else 0
                                                                    Salakhutdinov & Hinton 2009
"""

import dataclasses

import jax

from genjax import core
from genjax.networks import mlp


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain:
  """A code of real numbers.

  activation: a name in mlp.ACTIVATIONS, or "" for a linear code.

  Raises UserError for an unknown activation.
  """

  activation: str = ""

  def __post_init__(self):
    if self.activation:
      mlp.check_activation(self.activation)

  def __call__(self, h: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Returns the code z [B, code] of h [B, code]; a key is given in training only."""
    return mlp.activate(self.activation, h)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopK:
  """A sparse code.

  k: how many entries are kept; of equal entries, the first ones.
  """

  k: core.Size = 10

  def __call__(self, h: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Returns the code z [B, code]. Raises UserError if it has fewer than k entries."""
    if h.shape[-1] < self.k:
      raise core.UserError(f"code.k={self.k}: the code has {h.shape[-1]} entries; use a smaller k")

    _, index = jax.lax.top_k(h, self.k)  # [B, k]
    # A mask [B, code] of the k entries.
    kept = jax.nn.one_hot(index, h.shape[-1], dtype=h.dtype).sum(-2)
    return h * kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binary:
  """A code of bits.

  noise: standard deviation of the noise that training adds to h.
  """

  noise: core.NonNegative = 4.0

  def __call__(self, h: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Returns the bits of h [B, code], or in training (with a key) their noisy, soft form."""
    if key is None:
      return (h > 0).astype(h.dtype)
    # The bits have no gradient, their soft form has.
    return jax.nn.sigmoid(h + self.noise * jax.random.normal(key, h.shape))


CODES = {"plain": Plain, "topk": TopK, "binary": Binary}
