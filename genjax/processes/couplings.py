"""Which noise is paired with which example of a minibatch.

Training may see pairs (x0, eps) of any joint distribution with the right marginals. If the two are
independent, the straight paths between them cross, the field is an average over the crossing paths
and its flow is curved. Pairs of optimal transport within the batch make the flow nearly straight.
With the cost c_ij = |x0_i - eps_j|^2,

    independent   pairs as they were drawn
    ot            the permutation of least cost       Pooladian et al. 2023, arXiv:2304.14772;
                                                      Tong et al. 2023, arXiv:2302.00482
    sinkhorn      j drawn from row i of the plan P that minimises <P, c> - reg H(P)   Cuturi 2013
    c2ot          as ot, with the cost c_ij + weight |cond_i - cond_j|^2
                                                      Cheng & Schwing 2025, arXiv:2503.10636

In a conditional model, "ot" and "sinkhorn" give each condition its own part of the noise, whereas
sampling draws from all of the noise; such a model refuses them. "c2ot" is meant for it: example j
brings its condition and its noise, and a large weight lets noise move only between examples of
like conditions, so that no condition prefers a part of the noise.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from optax import assignment

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Independent:
  """Pairs as they were drawn.

  conditional: whether the noise stays independent of the condition; each coupling says so.
  """

  conditional: ClassVar[bool] = True

  def __call__(self, key: jax.Array, x0: jax.Array, eps: jax.Array, cond: core.Batch) -> jax.Array:
    """Returns the noise that goes with each example of x0, [B, *event].

    x0, eps: data and noise, [B, *event].
    cond: fields that the model is told, see core.py.
    """
    return eps


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimalTransport:
  """The exact optimal permutation, by the Hungarian algorithm in O(B^3)."""

  conditional: ClassVar[bool] = False

  def __call__(self, key: jax.Array, x0: jax.Array, eps: jax.Array, cond: core.Batch) -> jax.Array:
    return eps[assign(cost(x0, eps))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sinkhorn:
  """Draws from the entropic transport plan; one noise may go with several examples.

  reg: strength of the entropy, in units of squared distance.
  relative: whether `reg` is a share of the mean cost instead.
  iterations: how often both marginals are normalised.
  """

  reg: core.Positive = 0.05
  relative: bool = True
  iterations: core.Size = 100
  conditional: ClassVar[bool] = False

  def __call__(self, key: jax.Array, x0: jax.Array, eps: jax.Array, cond: core.Batch) -> jax.Array:
    c = cost(x0, eps)
    reg = self.reg * (jnp.mean(c) if self.relative else 1.0)
    log_plan = plan(c, reg, self.iterations)

    # Row i, once normalised, is the distribution of the noise of example i.
    return eps[jax.random.categorical(key, log_plan, axis=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditionalTransport:
  """Optimal transport that keeps noise with like conditions.

  weight: factor on the squared distance of conditions, which for labels is 1 where they differ.
  """

  weight: core.NonNegative = 1e4
  conditional: ClassVar[bool] = True

  def __call__(self, key: jax.Array, x0: jax.Array, eps: jax.Array, cond: core.Batch) -> jax.Array:
    distance = sum(map(apart, cond.values()))  # [B, B]
    return eps[assign(cost(x0, eps) + self.weight * distance)]


def cost(x: jax.Array, y: jax.Array) -> jax.Array:
  """Returns the squared distances [B, B] between x [B, ...] and y [B, ...]."""
  x, y = (a.reshape(len(a), -1) for a in (x, y))
  square = lambda a: jnp.sum(a**2, axis=1)

  # Rounding may leave a distance just below 0.
  return jnp.maximum(square(x)[:, None] + square(y) - 2 * x @ y.T, 0)


def apart(c: jax.Array | core.Partial) -> jax.Array:
  """Returns the squared distances [B, B] between the conditions of a batch.

  c: real fields [B, *shape], labels [B], or words [B, L], of which those that differ are counted.
  """
  if isinstance(c, core.Partial):
    return cost(c.value, c.value) + cost(c.there, c.there)
  if jnp.issubdtype(c.dtype, jnp.floating):
    return cost(c, c)

  differ = (c[:, None] != c) * 1.0  # [B, B] or [B, B, L]
  return jnp.sum(differ.reshape(*differ.shape[:2], -1), axis=-1) if c.ndim > 1 else differ


def assign(c: jax.Array) -> jax.Array:
  """Returns the column [B] of each row such that the total cost is least; c: [B, B]."""
  rows, columns = assignment.hungarian_algorithm(c)
  return jnp.zeros(len(c), jnp.int32).at[rows].set(columns)


def plan(c: jax.Array, reg: jax.Array, iterations: int) -> jax.Array:
  """Returns the logarithm of the entropic plan [B, B], whose rows and columns sum to 1/B.

  The rows do so exactly, the columns in the limit of many iterations.
  """
  n = len(c)
  score = -c / reg
  normal = lambda a, axis: a - jax.nn.logsumexp(a, axis=axis, keepdims=True)
  # Columns first, then rows: the rows are exact at the end.
  balance = lambda _, a: normal(normal(a, 0), 1)
  return jax.lax.fori_loop(0, iterations, balance, score) - jnp.log(n)


COUPLINGS = {
  "independent": Independent,
  "ot": OptimalTransport,
  "sinkhorn": Sinkhorn,
  "c2ot": ConditionalTransport,
}
