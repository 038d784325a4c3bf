"""The moments of a first stage's codes, for those who model them (families/latent).

They are measured while the first stage is trained, as running means in its buffers: buffers[group]
["codes"] holds how many batches have been seen, and the mean and mean square of each channel.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from genjax import core

KEPT = 0.99  # share of the old moments at each step, once there are some


def nothing(shape: Sequence[int]) -> dict[str, jax.Array]:
  """The moments of codes z [..., channels] of which none has been seen."""
  return {"count": jnp.zeros(()), "mean": jnp.zeros(shape[-1]), "square": jnp.ones(shape[-1])}


def after(before: dict[str, jax.Array], z: jax.Array) -> dict[str, jax.Array]:
  """The moments after a batch of codes z [B, ..., channels]."""
  z = jax.lax.stop_gradient(z).reshape(-1, z.shape[-1])
  new = 1 / (before["count"] + 1)
  share = jnp.maximum(new, 1 - KEPT)
  mix = lambda old, now: (1 - share) * old + share * now
  return {
    "count": before["count"] + 1,
    "mean": mix(before["mean"], jnp.mean(z, 0)),
    "square": mix(before["square"], jnp.mean(z**2, 0)),
  }


def seen(buffers: core.Buffers, group: str, z: jax.Array) -> core.Buffers:
  """The buffers after a group has made a batch of codes z [B, ..., channels]."""
  own = buffers[group]
  return {**buffers, group: {**own, "codes": after(own["codes"], z)}}


def of(groups: Sequence[str], buffers: core.Buffers) -> tuple[jax.Array, jax.Array]:
  """(mean, standard deviation) of the codes that one of these groups has made, [channels].

  A constant channel has a deviation of 1, so that it stays as it is.
  """
  found = next(buffers[group]["codes"] for group in groups if "codes" in buffers[group])
  variance = found["square"] - found["mean"] ** 2
  return found["mean"], jnp.sqrt(jnp.where(variance > 1e-8, variance, 1.0))
