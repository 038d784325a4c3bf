"""Attention (Vaswani et al. 2017, arXiv:1706.03762): among the pixels of a feature map, from each
place of a sequence to those before it, and from either to the tokens of a condition.

attend(q, k, v) = softmax(q k^T / sqrt(d)) v          for each head, softmax over the keys
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from genjax.networks.layers import cpu
from genjax.networks.layers.convolution import Pointwise
from genjax.networks.layers.normalization import GroupNorm


def attend(q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array | None = None) -> jax.Array:
  """q [B, N, heads, d], k and v [B, M, heads, d] -> [B, N, heads, d]; the softmax is in float32.

  seen: which keys each query sees, bool [N, M] or [B, 1, 1, M]; all if not said.
  """
  q = q / q.shape[-1] ** 0.5
  scores = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32)
  if seen is not None:
    scores = jnp.where(seen, scores, -jnp.inf)
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


class SelfAttention(nn.Module):
  """x + attention among the pixels of the normalised x, [B, H, W, C] -> [B, H, W, C].

  head_dim: channels of one head; it divides C.
  groups: of the normalisation; it divides C.
  dtype: of the computation; norm and softmax are in float32.
  """

  head_dim: int
  groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    heads = (b, h * w, c // self.head_dim, self.head_dim)
    dense = lambda name, zero=False: Pointwise(c, zero, self.dtype, name=name)
    (y,) = GroupNorm(self.groups, name="norm")(x)
    q, k, v = (dense(name)(y).reshape(heads) for name in ("query", "key", "value"))
    fast = cpu.alone() and self.dtype == jnp.float32
    y = (cpu.attend if fast else attend)(q, k, v).reshape(b, h, w, c)
    return x + dense("out", zero=True)(y)


class Look(nn.Module):
  """Cross-attention: x [B, N, C] looks at tokens [B, M, D], of which it sees some -> [B, N, C].

  The last layer starts at zero, so that at first nothing is said.

  heads: divides C. dtype: of the computation; the softmax is in float32.
  """

  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, tokens: jax.Array, seen: jax.Array) -> jax.Array:
    c = x.shape[-1]
    dense = lambda name: nn.Dense(c, dtype=self.dtype, name=name)
    cut = lambda a: a.reshape(*a.shape[:2], self.heads, c // self.heads)
    q, k, v = cut(dense("query")(x)), cut(dense("key")(tokens)), cut(dense("value")(tokens))
    y = attend(q, k, v, seen[:, None, None]).reshape(x.shape)
    return nn.Dense(c, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="out")(y)


class CrossAttention(nn.Module):
  """x + what the pixels of the normalised x see of tokens [B, M, D], [B, H, W, C] -> [B, H, W, C].

  head_dim, groups, dtype: as in SelfAttention. seen: which tokens there are, bool [B, M].
  """

  head_dim: int
  groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, tokens: jax.Array, seen: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    (y,) = GroupNorm(self.groups, name="norm")(x)
    look = Look(c // self.head_dim, self.dtype, name="look")
    return x + look(y.reshape(b, h * w, c), tokens, seen).reshape(x.shape)


Memory = tuple[jax.Array, jax.Array]  # keys and values of a sequence, each [B, L, heads, d]


class CausalAttention(nn.Module):
  """Attention from the places at ... at + N - 1 of a sequence to themselves and those before.

  x [B, N, C] -> ([B, N, C], memory). Without a memory the N places are the whole sequence; with
  one their keys and values are written into it, so that each is computed once.

  heads: divides C. dtype: of the computation; the softmax is in float32.
  """

  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, memory: Memory | None = None, at: int | jax.Array = 0
  ) -> tuple[jax.Array, Memory]:
    b, n, c = x.shape
    dense = lambda name: nn.Dense(c, dtype=self.dtype, name=name)
    heads = lambda name: dense(name)(x).reshape(b, n, self.heads, c // self.heads)
    q, new = heads("query"), (heads("key"), heads("value"))
    write = lambda old, part: lax.dynamic_update_slice_in_dim(old, part, at, axis=1)
    k, v = new if memory is None else map(write, memory, new)
    seen = jnp.arange(k.shape[1]) <= at + jnp.arange(n)[:, None]
    return dense("out")(attend(q, k, v, seen).reshape(b, n, c)), (k, v)
