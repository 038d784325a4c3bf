"""Attention (Vaswani et al. 2017, arXiv:1706.03762).

    attend(q, k, v) = softmax(q k^T / sqrt(d)) v     for each head, with the softmax over the keys

`SelfAttention` is attention among the pixels of a feature map, `CausalAttention` from each place of
a sequence to the places up to it. `Look` and `CrossAttention` are attention from a sequence, or
from the pixels of a map, to the tokens of a condition.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from genjax.networks.layers import cpu
from genjax.networks.layers.convolution import Pointwise
from genjax.networks.layers.normalization import GroupNorm


def attend(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  seen: jax.Array | None = None,
) -> jax.Array:
  """Returns softmax(q k^T / sqrt(d)) v for each head, [B, N, heads, d]; the softmax is in float32.

  q: queries [B, N, heads, d].
  k, v: keys and values [B, M, heads, d].
  seen: which keys each query sees, bool [N, M] or [B, 1, 1, M]; None for all.
  """
  q = q / q.shape[-1] ** 0.5
  scores = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32)
  if seen is not None:
    scores = jnp.where(seen, scores, -jnp.inf)

  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)  # [B, heads, N, M]
  return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


class SelfAttention(nn.Module):
  """x + attention among the pixels of the normalised x: [B, H, W, C] -> [B, H, W, C].

  The last layer starts at zero, so that a new module returns x.

  head_dim: channels of one head; divides C.
  groups: number of groups of the group norm; divides C.
  dtype: type of the computation; norm and softmax are in float32.
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

    # The CPU's form exists in float32 only.
    fast = cpu.alone() and self.dtype == jnp.float32
    y = (cpu.attend if fast else attend)(q, k, v).reshape(b, h, w, c)
    return x + dense("out", zero=True)(y)


class Look(nn.Module):
  """Cross-attention from x [B, N, C] to tokens [B, M, D], of which `seen` are visible: [B, N, C].

  The last layer starts at zero, so that at first the tokens change nothing.

  heads: number of heads; divides C.
  dtype: type of the computation; the softmax is in float32.
  """

  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, tokens: jax.Array, seen: jax.Array) -> jax.Array:
    c = x.shape[-1]
    dense = lambda name: nn.Dense(c, dtype=self.dtype, name=name)
    cut = lambda a: a.reshape(*a.shape[:2], self.heads, c // self.heads)
    q = cut(dense("query")(x))
    k = cut(dense("key")(tokens))
    v = cut(dense("value")(tokens))

    # [B, M] -> [B, 1, 1, M]: every head and query of an example sees the same tokens.
    y = attend(q, k, v, seen[:, None, None]).reshape(x.shape)
    return nn.Dense(c, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="out")(y)


class CrossAttention(nn.Module):
  """x + attention from the pixels of the normalised x to tokens: [B, H, W, C] -> [B, H, W, C].

  The call takes the tokens [B, M, D] and `seen`, bool [B, M], which says which of them exist.

  head_dim: channels of one head; divides C.
  groups: number of groups of the group norm; divides C.
  dtype: type of the computation; norm and softmax are in float32.
  """

  head_dim: int
  groups: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, tokens: jax.Array, seen: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    (y,) = GroupNorm(self.groups, name="norm")(x)
    look = Look(c // self.head_dim, self.dtype, name="look")
    y = look(y.reshape(b, h * w, c), tokens, seen)
    return x + y.reshape(x.shape)


# Keys and values of a sequence, each [B, L, heads, d].
Memory = tuple[jax.Array, jax.Array]


class CausalAttention(nn.Module):
  """Attention from the places at, ..., at + N - 1 of a sequence to all places up to each of them.

  x [B, N, C] -> ([B, N, C], memory). Without a memory the N places are the whole sequence. With
  one, their keys and values are written into it, so that those of each place are computed once.

  heads: number of heads; divides C.
  dtype: type of the computation; the softmax is in float32.
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
    q = heads("query")
    new = (heads("key"), heads("value"))

    # k, v [B, L, heads, d]: L = N without a memory.
    write = lambda old, part: lax.dynamic_update_slice_in_dim(old, part, at, axis=1)
    k, v = new if memory is None else map(write, memory, new)

    # [N, L]: the mask also hides the places of the memory that are still empty.
    seen = jnp.arange(k.shape[1]) <= at + jnp.arange(n)[:, None]
    y = attend(q, k, v, seen).reshape(b, n, c)
    return dense("out")(y), (k, v)
