"""Which noise is paired with which example: permutations of a minibatch's noise.

Training sees pairs (x0, eps) of some joint distribution with the right marginals. Independent pairs
make paths cross, so that the field is an average over them and its flow is curved; transport that
is optimal within the batch makes it nearly straight. With cost c_ij = |x0_i - eps_j|^2,

    independent   any
    ot            the permutation of least cost       Pooladian et al. 2023, arXiv:2304.14772;
                                                      Tong et al. 2023, arXiv:2302.00482
    sinkhorn      j drawn from row i of the plan that minimises <P, c> - reg H(P)   Cuturi 2013
    c2ot          as ot, with cost + weight |cond_i - cond_j|^2: noise keeps the condition that it
                  came with, so that no condition has a noise of its own
                                                      Cheng & Schwing 2025, arXiv:2503.10636

"ot" on conditional models gives each condition its own part of the noise, while sampling draws from
all of it: refused there, "c2ot" is meant for it.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from optax import assignment

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Independent:
  """Pairs as they were drawn."""

  conditional: ClassVar[bool] = True  # whether the noise stays independent of the condition

  def __call__(self, key, x0: jax.Array, eps: jax.Array, cond) -> jax.Array:
    """The noise [B, *event] that goes with each x0."""
    return eps


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimalTransport:
  """Exact, by the Hungarian algorithm: O(B^3)."""

  conditional: ClassVar[bool] = False

  def __call__(self, key, x0, eps, cond):
    return eps[assign(cost(x0, eps))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sinkhorn:
  """reg: strength of the entropy, as a share of the mean cost if `relative`; iterations: of both
  marginals.
  """

  reg: core.Positive = 0.05
  relative: bool = True
  iterations: core.Size = 100
  conditional: ClassVar[bool] = False

  def __call__(self, key, x0, eps, cond):
    c = cost(x0, eps)
    log_plan = plan(c, self.reg * (jnp.mean(c) if self.relative else 1.0), self.iterations)
    return eps[jax.random.categorical(key, log_plan, axis=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditionalTransport:
  """weight: of the conditions' distance; a label's is 1 where they differ."""

  weight: core.NonNegative = 1e4
  conditional: ClassVar[bool] = True

  def __call__(self, key, x0, eps, cond):
    return eps[assign(cost(x0, eps) + self.weight * sum(map(apart, cond.values())))]


def cost(x: jax.Array, y: jax.Array) -> jax.Array:
  """[B, B] squared distances between x [B, ...] and y [B, ...]."""
  x, y = (a.reshape(len(a), -1) for a in (x, y))
  square = lambda a: jnp.sum(a**2, axis=1)
  return jnp.maximum(square(x)[:, None] + square(y) - 2 * x @ y.T, 0)


def apart(c: jax.Array | core.Partial) -> jax.Array:
  """[B, B] squared distances between conditions: real fields, labels [B] or words [B, L]."""
  if isinstance(c, core.Partial):
    return cost(c.value, c.value) + cost(c.there, c.there)
  if jnp.issubdtype(c.dtype, jnp.floating):
    return cost(c, c)
  differ = (c[:, None] != c) * 1.0
  return jnp.sum(differ.reshape(*differ.shape[:2], -1), axis=-1) if c.ndim > 1 else differ


def assign(c: jax.Array) -> jax.Array:
  """The column of each row, such that their total cost [B, B] is least."""
  rows, columns = assignment.hungarian_algorithm(c)
  return jnp.zeros(len(c), jnp.int32).at[rows].set(columns)


def plan(c: jax.Array, reg: jax.Array, iterations: int) -> jax.Array:
  """log of the entropic plan [B, B], whose rows and columns have the sum 1/B."""
  n, score = len(c), -c / reg
  normal = lambda a, axis: a - jax.nn.logsumexp(a, axis=axis, keepdims=True)
  balance = lambda _, a: normal(normal(a, 0), 1)
  return jax.lax.fori_loop(0, iterations, balance, score) - jnp.log(n)


COUPLINGS = {
  "independent": Independent,
  "ot": OptimalTransport,
  "sinkhorn": Sinkhorn,
  "c2ot": ConditionalTransport,
}
