"""Single-step solvers of differential equations: each step uses only its own evaluations.

With the pair (x0, eps) that the field predicts, the probability flow is (' is d/dt)

    dx/dt = alpha' x0 + sigma' eps,          or        d(x/alpha) = eps d(sigma/alpha)       (1)

The reverse stochastic equation adds noise and a drift that compensates for it, so that the
marginals stay the same (Song et al. 2021, arXiv:2011.13456, eq. 6; eta = 1 is the time reversal of
the process, eta = 0 the flow),

    dx = [alpha' x0 + sigma' eps + eta^2 g^2/(2 sigma) eps] dt + eta g dw,
    g^2 = 2 sigma (sigma' - sigma alpha'/alpha)                                              (2)

Any other g keeps the marginals as well. Stochastic interpolants choose it after training (Albergo
et al. 2023, arXiv:2303.08797; Ma et al. 2024, arXiv:2401.08740), as g^2 above is infinite at pure
noise.

    euler            Euler's rule for the left form of (1)                   order 1
    euler_maruyama   Euler's rule for (2)                                    weak order 1
    heun             Heun's rule for the right form of (1): the mean of eps
                     at both ends of the step                                order 2
    dpm++2s          exponential midpoint rule in log(alpha/sigma)           order 2
                     (Lu et al. 2022, arXiv:2211.01095, algorithm 1 with r = 1/2)

DDIM (solvers.py) is Euler's rule for the right form of (1). In heun and dpm++2s a step to sigma = 0
returns x0, as their rules have no limit there.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import grids, solvers

# name: (alpha, sigma, alpha', sigma') -> g^2 of (2). "process" divides by 1 at pure noise, where
# EulerMaruyama does not use the value.
DIFFUSIONS = {
  "process": lambda alpha, sigma, d_alpha, d_sigma: (
    2 * sigma * (d_sigma - sigma * d_alpha / jnp.where(alpha > 0, alpha, 1))
  ),
  "sigma": lambda alpha, sigma, d_alpha, d_sigma: sigma,
  "constant": lambda alpha, sigma, d_alpha, d_sigma: 1.0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Euler(solvers.Memoryless):
  """Euler's rule along dx/dt, one evaluation a step: for paths that are nearly straight in t."""

  steps: core.Size = 50
  grid: core.Grid = grids.UniformGrid()

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Follows the left form of (1) from t to s."""
    x0, eps, memory = field.at(xt, t, memory)
    d_alpha, d_sigma = process.rates(t)
    return xt + (s - t) * (d_alpha * x0 + d_sigma * eps), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class EulerMaruyama(solvers.Memoryless):
  """The Euler-Maruyama rule for equation (2), one evaluation a step.

  eta: scale of the noise, in units of g; 0 is Euler's rule along the flow.
  diffusion: which g^2, a name in DIFFUSIONS.
  """

  steps: core.Size = 1000
  eta: core.NonNegative = 1.0
  diffusion: str = "process"
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.diffusion not in DIFFUSIONS:
      raise core.unknown("diffusion", self.diffusion, DIFFUSIONS)

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Takes the step (2) from t to s; the step to s = 0 adds no noise."""
    x0, eps, memory = field.at(xt, t, memory)
    alpha, sigma = process.coefficients(t)
    d_alpha, d_sigma = process.rates(t)
    square = DIFFUSIONS[self.diffusion](alpha, sigma, d_alpha, d_sigma)

    # eta^2 g^2 / (2 sigma); at pure noise, where g^2 may be infinite, the step is Euler's.
    half = jnp.where(alpha > 0, self.eta**2 * square / (2 * sigma), 0)
    noise = jnp.sqrt(2 * sigma * half * (t - s)) * (s > 0) * z
    return xt + (s - t) * (d_alpha * x0 + (d_sigma + half) * eps) + noise, memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun(solvers.Memoryless):
  """Heun's rule, two evaluations a step (Karras et al. 2022, arXiv:2206.00364, algorithms 1, 2).

  churn: the paper's S_churn, how much noise is added before the steps, summed over all steps.
  churn_min: noise is added only where sigma/alpha is at least this (S_tmin).
  churn_max: noise is added only where sigma/alpha is at most this (S_tmax).
  inflate: standard deviation of the added noise (S_noise).
  """

  steps: core.Size = 18
  churn: core.NonNegative = 0.0
  churn_min: core.NonNegative = 0.0
  churn_max: core.Positive = 1e6
  inflate: core.Positive = 1.0
  grid: core.Grid = grids.UniformGrid()

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Adds noise if `churn` says so, then follows the right form of (1) to s."""
    if self.churn:
      xt, t = self._churned(process, xt, t, z)
    alpha_t, sigma_t = process.coefficients(t)
    alpha_s, sigma_s = process.coefficients(s)

    # Euler's rule, which for the right form of (1) is DDIM.
    x0, eps, memory = field.at(xt, t, memory)
    xs = alpha_s * x0 + sigma_s * eps

    # The network knows no time 0: in the last step it is asked at t, and its answer is not used.
    last = sigma_s == 0
    _, eps_s, memory = field.at(xs, jnp.where(last, t, s), memory)

    # The correction to the mean of both eps; none from pure noise, where sigma/alpha is infinite.
    change = sigma_s / alpha_s - sigma_t / alpha_t
    fine = ~last & jnp.isfinite(change)
    return xs + jnp.where(fine, alpha_s * change, 0) * (eps_s - eps) / 2, memory, history

  def _churned(
    self, process: gaussian.Process, xt: jax.Array, t: jax.Array, z: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns xt with noise added, and the time before t to which that much noise belongs."""
    alpha, sigma = process.coefficients(t)
    ratio = sigma / alpha
    # t = 1 is the noisiest time there is.
    here = (ratio >= self.churn_min) & (ratio <= self.churn_max) & (t < 1)

    # gamma_i of algorithm 2: sigma/alpha grows by the factor 1 + gamma.
    gamma = jnp.where(here, min(self.churn / self.steps, 2**0.5 - 1), 0)
    before = jnp.where(here, process.time(-jnp.log(ratio * (1 + gamma))), t)
    alpha_b, sigma_b = process.coefficients(before)

    # Variances of x/alpha add up.
    added = jnp.maximum((sigma_b / alpha_b) ** 2 - ratio**2, 0)
    noised = alpha_b * (xt / alpha + self.inflate * jnp.sqrt(added) * z)
    return jnp.where(here, noised, xt), before


@dataclasses.dataclass(frozen=True, kw_only=True)
class Midpoint(solvers.Memoryless):
  """The solver "dpm++2s": an exponential midpoint rule, two evaluations a step."""

  steps: core.Size = 18
  grid: core.Grid = grids.UniformGrid()

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: Any,
  ) -> tuple[jax.Array, Any, Any]:
    """Takes DDIM's step to the middle of lambda, then a full step with the x0 found there."""
    alpha_t, sigma_t = process.coefficients(t)
    alpha_s, sigma_s = process.coefficients(s)
    x0, eps, memory = field.at(xt, t, memory)

    # Steps to the data or from pure noise have no middle, since lambda is infinite at one end.
    last = (sigma_s == 0) | (alpha_t == 0)
    lam_t = jnp.log(alpha_t / sigma_t)
    lam_s = jnp.log(alpha_s / sigma_s)
    m = jnp.where(last, t, process.time(jnp.where(last, 0, (lam_t + lam_s) / 2)))
    alpha_m, sigma_m = process.coefficients(m)
    x0_m, _, memory = field.at(alpha_m * x0 + sigma_m * eps, m, memory)

    # The exact solution over the step for the constant x0_m; without a middle, DDIM.
    ratio = sigma_s / sigma_t
    xs = ratio * xt + (alpha_s - ratio * alpha_t) * x0_m
    return jnp.where(last, alpha_s * x0 + sigma_s * eps, xs), memory, history
