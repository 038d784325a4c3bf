"""Embeddings: times and integers as vectors, and a second input beside x.

A time t becomes the cosines and sines of n = width / 2 frequencies,

    sinusoids(t) = (cos(w_0 t), ..., cos(w_{n-1} t), sin(w_0 t), ..., sin(w_{n-1} t)),
    w_i = 10000^(-i/n)

(Vaswani et al. 2017, arXiv:1706.03762, section 3.5; cosines come first, as in diffusion models).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def sinusoids(t: jax.Array, width: int) -> jax.Array:
  """Returns the sinusoids of t [B], any real numbers: [B, width] in float32; `width` is even."""
  half = width // 2
  frequencies = jnp.exp(-jnp.log(10_000.0) * jnp.arange(half) / half)

  # float32 throughout: bfloat16 cannot tell time 999 from time 1000.
  angles = t.astype(jnp.float32)[:, None] * frequencies
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def beside(x: jax.Array, cond: dict[str, jax.Array] | None) -> jax.Array:
  """Returns x [B, ..., C] with cond["beside"] as more channels, or x alone where there is none.

  cond["beside"]: [B, ...], reshaped to [B, ..., C'] with the leading axes of x.
  """
  more = (cond or {}).get("beside")
  if more is None:
    return x

  more = more.reshape(*x.shape[:-1], -1)
  return jnp.concatenate([x, more.astype(x.dtype)], axis=-1)


class TimeEmbedding(nn.Module):
  """Times t [B] -> [B, features]: sinusoids, then two dense layers with silu between them.

  width: number of sinusoids, even.
  features: width of the result.
  dtype: type of the computation.
  """

  width: int
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, t: jax.Array) -> jax.Array:
    h = nn.Dense(self.features, dtype=self.dtype)(sinusoids(t, self.width))
    return nn.Dense(self.features, dtype=self.dtype)(nn.silu(h))


class Embedding(nn.Module):
  """Integers [B, ...] -> [B, ..., features]: a learned vector for each integer and for "none".

  levels: number of integers; the value `levels` itself means "none".
  features: width of the result.
  dtype: type of the result.
  """

  levels: int
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, a: jax.Array) -> jax.Array:
    # The last row is the vector of "none".
    return nn.Embed(self.levels + 1, self.features, dtype=self.dtype)(a)
