"""The noise levels of a training batch: the quantiles of its times, and means around them."""

import jax
import jax.numpy as jnp

from genjax import core

# Equal parts of the training times, for the logs.
BINS = 8


def quantiles(key: jax.Array, n: int, stratified: bool) -> jax.Array:
  """Draws n quantiles of the times in [0, 1), one in each n-th part if `stratified`."""
  if stratified:
    return (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
  return jax.random.uniform(key, (n,))


def means(values: jax.Array, u: jax.Array, name: str = "loss") -> core.Metrics:
  """Returns {"<name>@q": an unbiased estimate of the mean of values [B] in the bin around q}.

  u: the quantiles [B] of the values' times, uniform in [0, 1).
  """
  which = jnp.floor(u * BINS).astype(jnp.int32)
  # Divided by the expected number in a bin, not the actual one, which may be 0.
  mean = jnp.zeros(BINS).at[which].add(values) * BINS / len(values)
  return {f"{name}@{(i + 0.5) / BINS:g}": mean[i] for i in range(BINS)}
