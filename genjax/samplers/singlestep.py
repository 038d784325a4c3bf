"""Solvers of differential equations that look no further back than the step they are in.

With the pair (x0, eps) that the field believes in, the probability flow is (' is d/dt)

    dx/dt = alpha' x0 + sigma' eps,          or        d(x/alpha) = eps d(sigma/alpha)       (1)

and going back in time along it and along noise that keeps the marginals (Song et al. 2021,
arXiv:2011.13456, eq. 6; eta = 1 is the reverse of the process, 0 the flow)

    dx = [alpha' x0 + sigma' eps + eta^2 g^2/(2 sigma) eps] dt + eta g dw,
    g^2 = 2 sigma (sigma' - sigma alpha'/alpha)                                              (2)

where g may be anything: stochastic interpolants choose it after training (Albergo et al. 2023,
arXiv:2303.08797; Ma et al. 2024, arXiv:2401.08740), as g^2 above is infinite at pure noise.

    euler            (1) on the left                                        order 1
    euler_maruyama   (2)                                                    weak order 1
    heun             (1) on the right, the mean of eps at both ends         order 2
    dpm++2s          exponential midpoint rule in log(alpha/sigma)          order 2
                     (Lu et al. 2022, arXiv:2211.01095, algorithm 1 with r = 1/2)

DDIM (solvers.py) is Euler's rule for (1) on the right. A step to sigma = 0 returns x0 in heun and
dpm++2s, as their rules have no limit there.
"""

import dataclasses

import jax.numpy as jnp

from genjax import core
from genjax.samplers import grids, solvers

# name: (alpha, sigma, alpha', sigma') -> g^2
DIFFUSIONS = {
  "process": lambda alpha, sigma, d_alpha, d_sigma: (
    2 * sigma * (d_sigma - sigma * d_alpha / jnp.where(alpha > 0, alpha, 1))
  ),
  "sigma": lambda alpha, sigma, d_alpha, d_sigma: sigma,
  "constant": lambda alpha, sigma, d_alpha, d_sigma: 1.0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Euler(solvers.Memoryless):
  """The flow in t, for paths that are nearly straight in it."""

  steps: core.Size = 50
  grid: core.Grid = grids.UniformGrid()

  def step(self, field, process, xt, t, s, z, memory, history):
    x0, eps, memory = field.at(xt, t, memory)
    d_alpha, d_sigma = process.rates(t)
    return xt + (s - t) * (d_alpha * x0 + d_sigma * eps), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class EulerMaruyama(solvers.Memoryless):
  """Equation (2). eta: noise beside that of g; 0 is Euler. diffusion: g^2, a name in DIFFUSIONS."""

  steps: core.Size = 1000
  eta: core.NonNegative = 1.0
  diffusion: str = "process"
  grid: core.Grid = grids.UniformGrid()

  def __post_init__(self):
    if self.diffusion not in DIFFUSIONS:
      raise core.unknown("diffusion", self.diffusion, DIFFUSIONS)

  def step(self, field, process, xt, t, s, z, memory, history):
    x0, eps, memory = field.at(xt, t, memory)
    (alpha, sigma), (d_alpha, d_sigma) = process.coefficients(t), process.rates(t)
    square = DIFFUSIONS[self.diffusion](alpha, sigma, d_alpha, d_sigma)
    half = jnp.where(alpha > 0, self.eta**2 * square / (2 * sigma), 0)  # nothing is known there
    noise = jnp.sqrt(2 * sigma * half * (t - s)) * (s > 0) * z
    return xt + (s - t) * (d_alpha * x0 + (d_sigma + half) * eps) + noise, memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun(solvers.Memoryless):
  """Two evaluations a step (Karras et al. 2022, arXiv:2206.00364, algorithms 1 and 2).

  churn: S_churn, noise added before each step, over all steps; only where sigma/alpha lies between
    `churn_min` and `churn_max`; `inflate`: S_noise, its standard deviation.
  """

  steps: core.Size = 18
  churn: core.NonNegative = 0.0
  churn_min: core.NonNegative = 0.0
  churn_max: core.Positive = 1e6
  inflate: core.Positive = 1.0
  grid: core.Grid = grids.UniformGrid()

  def step(self, field, process, xt, t, s, z, memory, history):
    if self.churn:
      xt, t = self._churned(process, xt, t, z)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.coefficients(t), process.coefficients(s)
    x0, eps, memory = field.at(xt, t, memory)
    xs = alpha_s * x0 + sigma_s * eps
    last = sigma_s == 0
    _, eps_s, memory = field.at(xs, jnp.where(last, t, s), memory)
    change = sigma_s / alpha_s - sigma_t / alpha_t
    fine = ~last & jnp.isfinite(change)
    return xs + jnp.where(fine, alpha_s * change, 0) * (eps_s - eps) / 2, memory, history

  def _churned(self, process, xt, t, z):
    """xt with noise added, and the earlier time at which it then is."""
    alpha, sigma = process.coefficients(t)
    ratio = sigma / alpha
    here = (ratio >= self.churn_min) & (ratio <= self.churn_max) & (t < 1)
    gamma = jnp.where(here, min(self.churn / self.steps, 2**0.5 - 1), 0)
    before = jnp.where(here, process.time(-jnp.log(ratio * (1 + gamma))), t)
    alpha_b, sigma_b = process.coefficients(before)
    added = jnp.maximum((sigma_b / alpha_b) ** 2 - ratio**2, 0)
    noised = alpha_b * (xt / alpha + self.inflate * jnp.sqrt(added) * z)
    return jnp.where(here, noised, xt), before


@dataclasses.dataclass(frozen=True, kw_only=True)
class Midpoint(solvers.Memoryless):
  """dpm++2s: two evaluations a step."""

  steps: core.Size = 18
  grid: core.Grid = grids.UniformGrid()

  def step(self, field, process, xt, t, s, z, memory, history):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.coefficients(t), process.coefficients(s)
    x0, eps, memory = field.at(xt, t, memory)
    last = (sigma_s == 0) | (alpha_t == 0)
    lam_t, lam_s = jnp.log(alpha_t / sigma_t), jnp.log(alpha_s / sigma_s)
    m = jnp.where(last, t, process.time(jnp.where(last, 0, (lam_t + lam_s) / 2)))
    alpha_m, sigma_m = process.coefficients(m)
    x0_m, _, memory = field.at(alpha_m * x0 + sigma_m * eps, m, memory)
    ratio = sigma_s / sigma_t
    xs = ratio * xt + (alpha_s - ratio * alpha_t) * x0_m
    return jnp.where(last, alpha_s * x0 + sigma_s * eps, xs), memory, history
