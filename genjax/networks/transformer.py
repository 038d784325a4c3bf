"""A causal transformer of integers (Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2018).

The logits of x_i depend on the tokens before place i alone: the network reads the sequence moved by
one place, behind a learned start s,

    h_0 = s + vector + P_0,   h_i = E[x_{i-1}] + P_i                                            (1)
    h <- h + attention(norm(h)),   h <- h + mlp(norm(h))        in each layer                   (2)
    logits = W norm(h)                                                                          (3)

where E are the embeddings of the integers, P those of the places, and `vector` is what the
conditions tell. The norms stand before the branches ("pre-norm").

`step` computes (2) for one place and reads the keys and values of the places before it from a
memory. So a sample costs as much as one pass over the sequence, not one pass for each place.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import attention, conditioning

# The first values of embeddings and places.
SMALL = nn.initializers.normal(0.02)


class Transformer(nn.Module):
  """net(tokens, cond, train): int32 [B, L] -> logits [B, L, K] float32; those at i see tokens < i.

  width: width of h.
  layers: number of layers (2).
  heads: number of attention heads; divides the width.
  dropout: dropout rate of the input and of each branch, when training.
  conditions: the fields that it is told, as vectors, see layers/conditioning.py.
  dtype: type of the computation; parameters, h, norms and the result are float32.
  spec: the data: L is the size of an example, K its number of levels.

  Raises UserError for heads that do not divide the width, for data without levels, or for a
  condition that it cannot be told.
  """

  width: core.Size = 128
  layers: core.Size = 4
  heads: core.Size = 4
  dropout: core.Fraction = 0.0
  conditions: tuple[str, ...] = ()
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.width % self.heads:
      raise core.UserError(f"heads={self.heads} does not divide width={self.width}")
    if self.spec and not self.spec.levels:
      raise core.UserError("transformer: needs integers or data on levels, not real numbers")
    conditioning.check("transformer", self.conditions, self.spec, ("vector",))

  @property
  def length(self) -> int:
    """L, the number of tokens of an example."""
    return math.prod(self.spec.shape)

  def setup(self):
    self.token = nn.Embed(self.spec.levels, self.width, embedding_init=SMALL)
    self.start = self.param("start", SMALL, (self.width,))
    self.position = self.param("position", SMALL, (self.length, self.width))

    # The parameters of the conditions are the network's own.
    self.ear = conditioning.Conditioning(self.conditions, self.spec, self.width)
    nn.share_scope(self, self.ear)

    self.drop = nn.Dropout(self.dropout)
    self.blocks = [Block(self.heads, self.dropout, self.dtype) for _ in range(self.layers)]
    self.norm = nn.LayerNorm()
    self.logits = nn.Dense(self.spec.levels)

  def __call__(
    self, tokens: jax.Array, cond: dict[str, Any] | None = None, train: bool = False
  ) -> jax.Array:
    # (1) moves the sequence by one place, so the last token is not read.
    first = self._first(cond, len(tokens))[:, None]
    h = jnp.concatenate([first, self.token(tokens[:, :-1])], axis=1)
    return self._layers(h, [None] * self.layers, 0, train)[0]

  def memory(self, batch: int) -> list[attention.Memory]:
    """Returns the empty memory that `step` begins with: (keys, values) for each layer."""
    shape = batch, self.length, self.heads, self.width // self.heads
    return [(jnp.zeros(shape, self.dtype),) * 2 for _ in range(self.layers)]

  def step(
    self,
    memory: list[attention.Memory],
    token: jax.Array,
    i: jax.Array,
    cond: dict[str, Any] | None = None,
    train: bool = False,
  ) -> tuple[jax.Array, list[attention.Memory]]:
    """Returns (logits [B, K] at place i, the memory with this place).

    token: int32 [B], the tokens at place i - 1; not used for i = 0.
    """
    h = jnp.where(i == 0, self._first(cond, len(token)), self.token(token))
    logits, memory = self._layers(h[:, None], memory, i, train)
    return logits[:, 0], memory

  def _first(self, cond: dict[str, Any] | None, batch: int) -> jax.Array:
    """Returns s + vector of (1), [B, width]."""
    first = jnp.broadcast_to(self.start, (batch, self.width))
    told = self.ear(cond, batch)
    return first if told.vector is None else first + told.vector

  def _layers(
    self, h: jax.Array, memory: Sequence[Any], at: int | jax.Array, train: bool
  ) -> tuple[jax.Array, list[attention.Memory]]:
    """Returns (logits [B, N, K], memory) of the N places from `at` on.

    h: [B, N, width], (1) without P.
    memory: an attention.Memory for each layer, or None for each.
    """
    # P of (1), for these N places.
    h = h + jax.lax.dynamic_slice_in_dim(self.position, at, h.shape[1])
    h = self.drop(h, deterministic=not train)

    kept = []
    for block, past in zip(self.blocks, memory):
      h, past = block(h, past, at, train)
      kept.append(past)
    return self.logits(self.norm(h)), kept


class Block(nn.Module):
  """One layer (2), for h [B, N, C] of the places from `at` on -> (h, memory).

  heads: number of attention heads; divides C.
  dropout: dropout rate of both branches, when training.
  dtype: type of the computation; h and norms are float32.
  """

  heads: int
  dropout: float
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    h: jax.Array,
    memory: attention.Memory | None,
    at: int | jax.Array,
    train: bool,
  ) -> tuple[jax.Array, attention.Memory]:
    width = h.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=not train)
    dense = lambda features, name: nn.Dense(features, dtype=self.dtype, name=name)

    look = attention.CausalAttention(self.heads, self.dtype, name="attention")
    y, memory = look(nn.LayerNorm(name="norm")(h), memory, at)
    h = h + drop(y)

    # The mlp of (2): four times wider in the middle.
    y = nn.gelu(dense(4 * width, "wide")(nn.LayerNorm(name="mlp_norm")(h)))
    return h + drop(dense(width, "back")(y)), memory
