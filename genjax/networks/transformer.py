"""A causal transformer of integers (Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2018).

What it says of place i it knows from the tokens before i alone: its input is the sequence moved by
one place, behind a learned start,

    h_i = E[x_{i-1}] + P_i,   h_0 = s + vector + P_0                                            (1)
    h <- h + attention(norm(h)),   h <- h + mlp(norm(h))        in each layer, pre-norm         (2)
    logits = W norm(h)

`step` is (2) for one place, with the keys and values of those before in a memory: a sample costs as
much as one pass over the sequence, not one pass for each place.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import attention, conditioning

SMALL = nn.initializers.normal(0.02)


class Transformer(nn.Module):
  """net(tokens [B, L] int32, cond, train) -> logits [B, L, K] float32; those at i see tokens < i.

  width: of h. layers: number of (2). heads: of attention, divides the width.
  dropout: share of the input's and of each branch's entries that training leaves out.
  conditions: the fields it is told, see layers/conditioning.py, as a vector added to the start.
  dtype: of the computation; parameters, h, norms and the result are float32.
  spec: what the data is: L its size, K its levels. Raises UserError for data without levels.
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
    """L."""
    return math.prod(self.spec.shape)

  def setup(self):
    self.token = nn.Embed(self.spec.levels, self.width, embedding_init=SMALL)
    self.start = self.param("start", SMALL, (self.width,))
    self.position = self.param("position", SMALL, (self.length, self.width))
    self.ear = conditioning.Conditioning(self.conditions, self.spec, self.width)
    nn.share_scope(self, self.ear)  # its parameters are the network's own
    self.drop = nn.Dropout(self.dropout)
    self.blocks = [Block(self.heads, self.dropout, self.dtype) for _ in range(self.layers)]
    self.norm = nn.LayerNorm()
    self.logits = nn.Dense(self.spec.levels)

  def __call__(
    self, tokens: jax.Array, cond: dict[str, Any] | None = None, train: bool = False
  ) -> jax.Array:
    first = self._first(cond, len(tokens))[:, None]
    h = jnp.concatenate([first, self.token(tokens[:, :-1])], axis=1)
    return self._layers(h, [None] * self.layers, 0, train)[0]

  def memory(self, batch: int) -> list[attention.Memory]:
    """What `step` begins with: nothing has been seen."""
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
    """(logits at place i [B, K], memory) after token [B] at i - 1, which is not read for i = 0."""
    h = jnp.where(i == 0, self._first(cond, len(token)), self.token(token))
    logits, memory = self._layers(h[:, None], memory, i, train)
    return logits[:, 0], memory

  def _first(self, cond, batch):
    first = jnp.broadcast_to(self.start, (batch, self.width))
    told = self.ear(cond, batch)
    return first if told.vector is None else first + told.vector

  def _layers(self, h, memory, at, train):
    """Inputs [B, N, width] of the places from `at` on -> (logits [B, N, K], memory)."""
    h = h + jax.lax.dynamic_slice_in_dim(self.position, at, h.shape[1])
    h, kept = self.drop(h, deterministic=not train), []
    for block, past in zip(self.blocks, memory):
      h, past = block(h, past, at, train)
      kept.append(past)
    return self.logits(self.norm(h)), kept


class Block(nn.Module):
  """Equation (2) for h [B, N, C] of the places from `at` on; the fields are Transformer's."""

  heads: int
  dropout: float
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, h, memory, at, train):
    width = h.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=not train)
    dense = lambda features, name: nn.Dense(features, dtype=self.dtype, name=name)
    look = attention.CausalAttention(self.heads, self.dtype, name="attention")
    y, memory = look(nn.LayerNorm(name="norm")(h), memory, at)
    h = h + drop(y)
    y = nn.gelu(dense(4 * width, "wide")(nn.LayerNorm(name="mlp_norm")(h)))
    return h + drop(dense(width, "back")(y)), memory
