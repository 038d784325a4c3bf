"""Time, labels and words as vectors, and what lies beside the input.

    sinusoids(t) = (cos(w_0 t), ..., cos(w_{n-1} t), sin(w_0 t), ..., sin(w_{n-1} t)),
    w_i = 10000^(-i/n)

(Vaswani et al. 2017, arXiv:1706.03762, section 3.5; cosines first, as in diffusion models).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def sinusoids(t: jax.Array, width: int) -> jax.Array:
  """t [B], any real numbers -> [B, width] float32; `width` is even."""
  half = width // 2
  frequencies = jnp.exp(-jnp.log(10_000.0) * jnp.arange(half) / half)
  angles = t.astype(jnp.float32)[:, None] * frequencies
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def beside(x: jax.Array, cond: dict[str, jax.Array] | None) -> jax.Array:
  """x [B, ..., C] with cond["beside"], if there is one, as more channels."""
  more = (cond or {}).get("beside")
  if more is None:
    return x
  return jnp.concatenate([x, more.reshape(*x.shape[:-1], -1).astype(x.dtype)], axis=-1)


class TimeEmbedding(nn.Module):
  """t [B] -> [B, features]: sinusoids, then two dense layers.

  width: number of sinusoids, even.
  features: width of the result.
  dtype: of the computation.
  """

  width: int
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, t: jax.Array) -> jax.Array:
    h = nn.Dense(self.features, dtype=self.dtype)(sinusoids(t, self.width))
    return nn.Dense(self.features, dtype=self.dtype)(nn.silu(h))


class Embedding(nn.Module):
  """Integers [B, ...] -> [B, ..., features]: a learnt row for each, and one for "none".

  levels: number of integers; `levels` itself means "none".
  features: width of the result.
  dtype: of the result.
  """

  levels: int
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, a: jax.Array) -> jax.Array:
    return nn.Embed(self.levels + 1, self.features, dtype=self.dtype)(a)
