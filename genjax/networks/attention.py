"""Self-attention (Vaswani et al. 2017, arXiv:1706.03762) over the pixels of a feature map.

attend(q, k, v) = softmax(q k^T / sqrt(d)) v          for each head, softmax over the keys
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.networks import cpu
from genjax.networks.convolution import Pointwise
from genjax.networks.normalization import GroupNorm


def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """q [B, N, heads, d], k and v [B, M, heads, d] -> [B, N, heads, d]; the softmax is in float32."""
  q = q / q.shape[-1] ** 0.5
  scores = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32)
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
