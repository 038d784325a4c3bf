"""Multistep solvers: each network answer is used again in the steps that follow.

With lambda = log(alpha/sigma), h = lambda_s - lambda_t, the probability flow and the reverse
stochastic equations of churn eta have the exact solution (Lu et al. 2022, arXiv:2211.01095, eq. 9
and appendix B; eta = 0 is the flow)

    xs = sigma_s/sigma_t e^{-eta h} xt + alpha_s I + sigma_s sqrt(1 - e^{-2 eta h}) z,       (1)
    I = integral_0^h (1 + eta) e^{-(1 + eta)(h - u)} x0(lambda_t + u) du

in which only x0(lambda) along the way is unknown. Replacing it by the polynomial through the
answers at k times makes I a weighted sum of them; the weights are those that are right for the
powers of u, so with v = u/h, H = (1 + eta) h

    sum_j w_j v_j^i = integral_0^1 H e^{-H(1 - v)} v^i dv,   i = 0 ... k - 1                 (2)

    dpm++    the k newest answers: DPM-Solver++(1, 2M, 3M), and its SDE with eta = 1
    unipc    dpm++ predicts; then the answer at the predicted xs is one more time in (2), which
             corrects xs at no further evaluation (Zhao et al. 2023, arXiv:2302.04867): order k + 1

Where the published solvers simplify (2) for k = 2 (a midpoint rule, the function B(h)) or leave out
a factor (3M: the second derivative is twice the second divided difference), we solve it. The first
steps have fewer answers and use those; the last one, to sigma = 0, returns x0.

dpm++ is of order k, its SDE of weak order min(k, 2). Where the first step counts, as on short grids
(sigma 2 to 0.1) but not from sigma = 80, its order bounds that of the whole: 2 for k = 3, and 3 for
unipc with k = 3 (experiments/solver_orders).
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.samplers import grids

NODES, GAUSS = np.polynomial.legendre.leggauss(20)

Order = Annotated[int, core.Bounds(1, 3)]


class PastAnswers(NamedTuple):
  """x0 [k, N, *event] at lambda [k], the newest first; only `count` of them are there yet."""

  x0: jax.Array
  lam: jax.Array
  count: jax.Array

  @classmethod
  def none(cls, x, k):
    return cls(jnp.zeros((k, *x.shape), x.dtype), jnp.zeros(k, x.dtype), jnp.zeros((), jnp.int32))

  def add(self, x0, lam):
    """One more; pure noise (lambda = -infinity) has no place among the times of a polynomial."""
    count = jnp.where(jnp.isfinite(lam), jnp.minimum(self.count + 1, len(self.lam)), 0)
    newest = lambda a, b: jnp.concatenate([a[None], b[:-1]])
    return PastAnswers(newest(x0, self.x0), newest(lam, self.lam), count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMSolver:
  """Equations (1) and (2). order: answers used; eta: 0 the probability flow ... 1 the SDE."""

  steps: core.Size = 20
  order: Order = 2
  eta: core.Fraction = 0.0
  grid: core.Grid = grids.UniformGrid()

  def start(self, xt):
    return PastAnswers.none(xt, self.order)

  def step(self, field, process, xt, t, s, z, memory, history):
    x0, _, memory = field.at(xt, t, memory)
    history = history.add(x0, _lam(process, t))
    return _walk(process, xt, t, s, history, self.order, self.eta, z), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniPC:
  """Predictor and corrector. order: answers that the predictor uses; the pair is one better."""

  steps: core.Size = 20
  order: Order = 2
  grid: core.Grid = grids.UniformGrid()

  def start(self, xt):
    return PastAnswers.none(xt, self.order + 1), xt, jnp.ones((), xt.dtype)

  def step(self, field, process, xt, t, s, z, memory, history):
    past, before, before_t = history  # the last step went from `before` to xt
    x0, _, memory = field.at(xt, t, memory)
    now = past.add(x0, _lam(process, t))
    corrected = _walk(process, before, before_t, t, now, self.order + 1, 0.0, z)
    xt = jnp.where(past.count > 0, corrected, xt)
    return _walk(process, xt, t, s, now, self.order, 0.0, z), memory, (now, xt, t)


def _lam(process, t):
  alpha, sigma = process.coefficients(t)
  return jnp.log(alpha / sigma)


def _walk(process, xt, t, s, answers, order, eta, z):
  """xs of (1), by the `order` newest answers, whose times may lie on either side of t."""
  (_, sigma_t), (alpha_s, sigma_s) = process.coefficients(t), process.coefficients(s)
  start, last = _lam(process, t), sigma_s == 0
  h = jnp.where(last, 1, _lam(process, s) - start)
  weights = _weights((answers.lam[:order] - start) / h, (1 + eta) * h, answers.count)
  integral = jnp.tensordot(weights, answers.x0[:order], 1)
  noise = sigma_s * jnp.sqrt(-jnp.expm1(-2 * eta * h)) * z
  xs = sigma_s / sigma_t * jnp.exp(-eta * h) * xt + alpha_s * integral + noise
  return jnp.where(last, answers.x0[0], xs)


def _weights(v, h, count):
  """w [k] of (2) for the times v [k] of which the first `count` exist; 0 for the others."""
  nodes, i = jnp.asarray((NODES + 1) / 2, v.dtype), jnp.arange(len(v))  # nodes on [0, 1]
  moments = jnp.sum(GAUSS / 2 * h * jnp.exp(-h * (1 - nodes)) * nodes ** i[:, None], axis=1)
  return solve(v, moments.astype(v.dtype).at[0].set(-jnp.expm1(-h)), count)


def solve(v: jax.Array, moments: jax.Array, count: jax.Array) -> jax.Array:
  """w [k] with sum_j w_j v_j^i = moments_i over the first `count` times v [k]; 0 for the others."""
  i = jnp.arange(len(v))
  there = i < jnp.maximum(count, 1)
  v = jnp.where(there & jnp.isfinite(v), v, 0)
  powers = jnp.where(there[:, None] & there, v ** i[:, None], jnp.eye(len(v), dtype=v.dtype))
  return jnp.linalg.solve(powers, jnp.where(there, moments, 0))
