"""Conditions as networks take them: time and label as vectors, pictures beside the input.

    sinusoids(t) = (cos(w_0 t), ..., cos(w_{n-1} t), sin(w_0 t), ..., sin(w_{n-1} t)),
    w_i = 10000^(-i/n)

(Vaswani et al. 2017, arXiv:1706.03762, section 3.5; cosines first, as in diffusion models).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core


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


class LabelEmbedding(nn.Module):
  """cond -> [B, features], a row for each of the classes and a learned one for "no label".

  spec: the data; its `classes` is the number of labels, and the label that means none.
  features: width of the result.
  dtype: of the result.

  A cond without "label" means no label for the whole batch. UserError for data without labels.
  """

  spec: core.DataSpec | None
  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, cond: dict[str, jax.Array] | None, batch: int) -> jax.Array:
    classes = self.spec.classes if self.spec else 0
    if not classes:
      raise core.UserError("conditional=True needs data with labels; set conditional=False")
    label = (cond or {}).get("label")
    label = jnp.full((batch,), classes) if label is None else label
    return nn.Embed(classes + 1, self.features, dtype=self.dtype)(label)
