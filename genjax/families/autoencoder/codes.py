"""What an autoencoder's code is made of: the last step of the way there.

plain     z = f(h)
topk      the k largest h, the others 0                   Makhzani & Frey 2013, arXiv:1312.5663
binary    z = sigmoid(h + noise eps) while training, which drives h to both sides until the
          noise does no harm; then bits, z = 1 where h > 0     Salakhutdinov & Hinton 2009
"""

import dataclasses

import jax

from genjax import core
from genjax.networks import mlp


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain:
  """activation: a name of ACTIVATIONS, "" for a linear code."""

  activation: str = ""

  def __post_init__(self):
    if self.activation:
      mlp.check_activation(self.activation)

  def __call__(self, h: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """h [B, code] -> z; with a key, as in training."""
    return mlp.activate(self.activation, h)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopK:
  """k: how many entries stay, those of a tie that come first."""

  k: core.Size = 10

  def __call__(self, h: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Raises UserError if the code has fewer than k entries."""
    if h.shape[-1] < self.k:
      raise core.UserError(f"code.k={self.k} of a code of {h.shape[-1]}")
    _, index = jax.lax.top_k(h, self.k)
    kept = jax.nn.one_hot(index, h.shape[-1], dtype=h.dtype).sum(-2)
    return h * kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binary:
  """noise: its standard deviation."""

  noise: core.NonNegative = 4.0

  def __call__(self, h: jax.Array, key: jax.Array | None = None) -> jax.Array:
    if key is None:
      return (h > 0).astype(h.dtype)
    return jax.nn.sigmoid(h + self.noise * jax.random.normal(key, h.shape))


CODES = {"plain": Plain, "topk": TopK, "binary": Binary}
