"""Multistep solvers: each network evaluation is used again in the steps that follow.

With lambda = log(alpha/sigma) and h = lambda_s - lambda_t, the probability flow and the reverse
stochastic equations of noise eta (eta = 0 is the flow) have the exact solution (Lu et al. 2022,
arXiv:2211.01095, eq. 9 and appendix B)

    xs = sigma_s/sigma_t e^{-eta h} xt + alpha_s I + sigma_s sqrt(1 - e^{-2 eta h}) z,       (1)
    I = integral_0^h (1 + eta) e^{-(1 + eta)(h - u)} x0(lambda_t + u) du

in which only x0(lambda) along the way is unknown. It is replaced by the polynomial through the
answers at k times, which makes I a weighted sum of the answers. The weights are the ones that
integrate the powers of u exactly: with v = u/h and H = (1 + eta) h,

    sum_j w_j v_j^i = integral_0^1 H e^{-H(1 - v)} v^i dv,   i = 0 ... k - 1                 (2)

    dpm++    uses the k newest answers: DPM-Solver++(1, 2M, 3M), and its SDE form with eta = 1
    unipc    dpm++ predicts xs; the answer at the predicted xs is then one more time in (2), which
             corrects xs without a further evaluation (Zhao et al. 2023, arXiv:2302.04867)

The published solvers simplify (2) for k = 2 (a midpoint rule, the function B(h)) or leave out a
factor (3M: the second derivative is twice the second divided difference); here (2) is solved as it
is. The first steps use the answers that there are, fewer than k; from pure noise, where lambda is
-infinity, the first step is that of DDIM (of its eta = 1 if noise is drawn). The last step, to
sigma = 0, returns x0.

For dpm++ the order is k, for its SDE form the weak order min(k, 2), and for unipc k + 1. Where the
first step counts, its own order bounds that of the whole: 2 for dpm++ with k = 3, and 3 for unipc
with k = 3. The first step counts on short grids (sigma from 2 to 0.1), but not from sigma = 80
(experiments/solver_orders).
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import grids, solvers

# Gauss-Legendre quadrature on [-1, 1], exact for polynomials up to degree 39.
NODES, GAUSS = np.polynomial.legendre.leggauss(20)

Order = Annotated[int, core.Bounds(1, 3)]


class PastAnswers(NamedTuple):
  """The field's answers at the last k times, the newest first.

  x0: [k, N, *event], the answers.
  lam: [k], lambda at the times of the answers.
  count: scalar, how many of the k answers may be used; the others stand for nothing.
  """

  x0: jax.Array
  lam: jax.Array
  count: jax.Array

  @classmethod
  def none(cls, x: jax.Array, k: int) -> "PastAnswers":
    """Returns room for k answers of the shape of x, none of which is there yet."""
    return cls(jnp.zeros((k, *x.shape), x.dtype), jnp.zeros(k, x.dtype), jnp.zeros((), jnp.int32))

  def add(self, x0: jax.Array, lam: jax.Array) -> "PastAnswers":
    """Returns the answers with x0 [N, *event] at lam added, and the oldest dropped."""
    # A polynomial cannot pass through lambda = -infinity: pure noise leaves no answer to build on.
    count = jnp.where(jnp.isfinite(lam), jnp.minimum(self.count + 1, len(self.lam)), 0)

    newest = lambda a, b: jnp.concatenate([a[None], b[:-1]])
    return PastAnswers(newest(x0, self.x0), newest(lam, self.lam), count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMSolver:
  """Equations (1) and (2), one evaluation a step.

  order: k, how many answers the polynomial passes through.
  eta: noise, from 0 (the probability flow) to 1 (the reverse stochastic equation).
  """

  steps: core.Size = 20
  order: Order = 2
  eta: core.Fraction = 0.0
  grid: core.Grid = grids.UniformGrid()

  def start(self, xt: jax.Array) -> PastAnswers:
    """Returns the history before the first step, without answers."""
    return PastAnswers.none(xt, self.order)

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: PastAnswers,
  ) -> tuple[jax.Array, Any, PastAnswers]:
    """Takes the step (1) with the weights (2)."""
    x0, _, memory = field.at(xt, t, memory)
    history = history.add(x0, _lam(process, t))
    return _walk(process, xt, t, s, history, self.order, self.eta, z), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniPC:
  """Predictor and corrector along the flow, one evaluation a step.

  order: k, how many answers the predictor uses. With the corrector the order of accuracy is k + 1.
  """

  steps: core.Size = 20
  order: Order = 2
  grid: core.Grid = grids.UniformGrid()

  def start(self, xt: jax.Array) -> tuple[PastAnswers, jax.Array, jax.Array]:
    """Returns (answers, x where the last step began, its time); the last two are not used yet."""
    return PastAnswers.none(xt, self.order + 1), xt, jnp.ones((), xt.dtype)

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: tuple[PastAnswers, jax.Array, jax.Array],
  ) -> tuple[jax.Array, Any, tuple[PastAnswers, jax.Array, jax.Array]]:
    """Corrects xt by the answer at xt, then predicts xs."""
    # The last step went from `before`, at time `before_t`, to xt.
    past, before, before_t = history
    x0, _, memory = field.at(xt, t, memory)
    now = past.add(x0, _lam(process, t))

    # The last step once more, now with the answer at its end; nothing to correct in the first step.
    corrected = _walk(process, before, before_t, t, now, self.order + 1, 0.0, z)
    xt = jnp.where(past.count > 0, corrected, xt)

    return _walk(process, xt, t, s, now, self.order, 0.0, z), memory, (now, xt, t)


def _lam(process: gaussian.Process, t: jax.Array) -> jax.Array:
  """Returns lambda = log(alpha/sigma) at time t."""
  alpha, sigma = process.coefficients(t)
  return jnp.log(alpha / sigma)


def _walk(
  process: gaussian.Process,
  xt: jax.Array,
  t: jax.Array,
  s: jax.Array,
  answers: PastAnswers,
  order: int,
  eta: float,
  z: jax.Array,
) -> jax.Array:
  """Returns xs of (1) by the `order` newest answers; their times may lie on either side of t."""
  _, sigma_t = process.coefficients(t)
  alpha_s, sigma_s = process.coefficients(s)

  start = _lam(process, t)
  last = sigma_s == 0
  # Any finite h will do in the last step, where lambda_s is infinite and x0 is returned.
  h = jnp.where(last, 1, _lam(process, s) - start)

  weights = _weights((answers.lam[:order] - start) / h, (1 + eta) * h, answers.count)
  integral = jnp.tensordot(weights, answers.x0[:order], 1)  # [N, *event]
  # eta h; from pure noise h is infinite, and 0 times infinity is not a number.
  decay = eta * h if eta else jnp.zeros_like(h)
  noise = sigma_s * jnp.sqrt(-jnp.expm1(-2 * decay)) * z
  xs = sigma_s / sigma_t * jnp.exp(-decay) * xt + alpha_s * integral + noise
  return jnp.where(last, answers.x0[0], xs)


def _weights(v: jax.Array, h: jax.Array | float, count: jax.Array | int) -> jax.Array:
  """Returns w [k] of (2) for the answers at v [k]; only the first `count` exist, others get 0.

  h: H of (2).
  """
  # The quadrature's nodes, moved to [0, 1].
  nodes = jnp.asarray((NODES + 1) / 2, v.dtype)
  i = jnp.arange(len(v))

  # The right sides of (2), [k]; that of i = 0 in closed form.
  moments = jnp.sum(GAUSS / 2 * h * jnp.exp(-h * (1 - nodes)) * nodes ** i[:, None], axis=1)
  return solve(v, moments.astype(v.dtype).at[0].set(-jnp.expm1(-h)), count)


def solve(v: jax.Array, moments: jax.Array, count: jax.Array | int) -> jax.Array:
  """Returns w [k] with sum_j w_j v_j^i = moments_i over the first `count` times v [k].

  The other weights are 0. If `count` is 0, the first answer is used all the same.
  """
  i = jnp.arange(len(v))
  there = i < jnp.maximum(count, 1)
  v = jnp.where(there & jnp.isfinite(v), v, 0)

  # The Vandermonde matrix v_j^i, [i, j], with rows and columns of the identity for absent answers.
  powers = jnp.where(there[:, None] & there, v ** i[:, None], jnp.eye(len(v), dtype=v.dtype))
  return jnp.linalg.solve(powers, jnp.where(there, moments, 0))
