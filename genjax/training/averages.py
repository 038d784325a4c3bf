"""Exponential moving averages of parameters: avg <- d(k) avg + (1 - d(k)) params after step k.

A constant decay needs 1/(1 - d) steps to forget its random start, the commonest reason why a fresh
checkpoint samples noise. The default warms up: d(k) = min(decay, (1 + k) / (10 + k)).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from genjax import core

PROFILES: dict[str, Callable[[float, jax.Array], jax.Array]] = {
  "constant": lambda decay, k: jnp.float32(decay),
  "warmup": lambda decay, k: jnp.minimum(decay, (1.0 + k) / (10.0 + k)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average:
  """One moving average of some groups.

  groups: which are averaged, () for all that are trained.
  decay: its limit.
  profile: "warmup" or "constant".
  """

  groups: tuple[str, ...] = ()
  decay: core.Fraction = 0.999
  profile: str = "warmup"

  def __post_init__(self):
    if self.profile not in PROFILES:
      raise core.unknown("profile", self.profile, PROFILES)

  def __call__(self, step: jax.Array) -> jax.Array:
    """The decay at a step."""
    return PROFILES[self.profile](self.decay, step)
