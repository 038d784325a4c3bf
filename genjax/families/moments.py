"""Mean and standard deviation of the codes of a first stage, for a prior that models these codes.

A prior (families/latent) is trained on standardized codes, so it needs the moments of each channel.
They are measured while the first stage is trained and are saved with it: buffers[group]["codes"]
holds, for one group of the first stage,

    count     how many batches of codes have been seen
    mean      [channels], the running mean
    square    [channels], the running mean of the squares
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from genjax import core

# The share of the old moments that a new batch leaves, once 1 / (1 - KEPT) batches have been seen.
KEPT = 0.99


def nothing(shape: Sequence[int]) -> dict[str, jax.Array]:
  """Returns the moments before the first batch of codes, of shape [..., channels]."""
  return {
    "count": jnp.zeros(()),
    "mean": jnp.zeros(shape[-1]),
    "square": jnp.ones(shape[-1]),
  }


def after(before: dict[str, jax.Array], z: jax.Array) -> dict[str, jax.Array]:
  """Returns the moments `before`, updated with a batch of codes z [B, ..., channels].

  The first 100 batches count alike (a plain mean); later, old batches are forgotten exponentially.
  """
  z = jax.lax.stop_gradient(z).reshape(-1, z.shape[-1])

  # `new` is the weight of this batch in a plain mean over all batches so far.
  new = 1 / (before["count"] + 1)
  share = jnp.maximum(new, 1 - KEPT)
  mix = lambda old, now: (1 - share) * old + share * now

  return {
    "count": before["count"] + 1,
    "mean": mix(before["mean"], jnp.mean(z, 0)),
    "square": mix(before["square"], jnp.mean(z**2, 0)),
  }


def seen(buffers: core.Buffers, group: str, z: jax.Array) -> core.Buffers:
  """Returns the buffers with the moments of `group` updated by its codes z [B, ..., channels]."""
  own = buffers[group]
  return {**buffers, group: {**own, "codes": after(own["codes"], z)}}


def of(groups: Sequence[str], buffers: core.Buffers) -> tuple[jax.Array, jax.Array]:
  """Returns (mean, standard deviation) of the codes, [channels] each.

  They are read from the first of `groups` whose buffers hold moments.
  A constant channel gets the standard deviation 1, so that dividing by it is safe.
  """
  found = next(buffers[group]["codes"] for group in groups if "codes" in buffers[group])
  # Var z = E z^2 - (E z)^2; rounding can make it slightly negative.
  variance = found["square"] - found["mean"] ** 2
  return found["mean"], jnp.sqrt(jnp.where(variance > 1e-8, variance, 1.0))
