"""Guidance: a field made of a family's fields, so that no solver knows of it.

A family offers `at(xt, t, memory, cond)`; guidance chooses the conditions and combines the pairs.

    classifier-free   guided = uncond + scale (cond - uncond)   Ho & Salimans, arXiv:2207.12598

scale = 1 is the conditional model, 0 the unconditional, above 1 trades diversity for clarity. The
pair (x0, eps) is affine in the network's answer, so guiding the pair is guiding the answer.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core
from genjax.samplers import solvers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unguided:
  """The conditional field as it is."""

  def __call__(self, field, cond, null) -> solvers.Field:
    return solvers.Field(field.start, lambda xt, t, memory: field.at(xt, t, memory, cond))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFree:
  """Both conditions in one batch of twice the size."""

  scale: core.NonNegative = 2.0

  def __call__(self, field, cond, null) -> solvers.Field:
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), cond, null)

    def at(xt, t, memory):
      x0, eps, memory = field.at(jnp.concatenate([xt, xt]), t, memory, both)
      mix = lambda pair: (1 - self.scale) * pair[1] + self.scale * pair[0]
      return mix(jnp.split(x0, 2)), mix(jnp.split(eps, 2)), memory

    return solvers.Field(lambda xt: field.start(jnp.concatenate([xt, xt])), at)


def clipped(field: solvers.Field, process, low: float, high: float) -> solvers.Field:
  """x0 cut to [low, high], and eps what xt then says it is."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0, _, memory = field.at(xt, t, memory)
    x0 = jnp.clip(x0, low, high)
    return x0, (xt - alpha * x0) / sigma, memory

  return solvers.Field(field.start, at)
