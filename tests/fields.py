"""Vector fields that are known exactly, for tests of solvers, likelihoods and guidance."""

import jax.numpy as jnp

from genjax import core
from genjax.samplers import solvers


def of(process, denoise):
  """Returns the vector field of a denoiser.

  denoise: (xt, alpha, sigma) -> E[x0 | xt].
  """

  def at(xt, t, memory):
    alpha, sigma = (core.expand(c, xt) for c in process.coefficients(jnp.asarray(t)))
    x0 = denoise(xt, alpha, sigma)
    return x0, (xt - alpha * x0) / sigma, memory

  return solvers.VectorField(lambda x: (), at)


def gaussian(process, mean, std):
  """Returns the exact vector field of data ~ N(mean, std^2)."""
  return of(process, denoiser(mean, std))


def denoiser(mean, std):
  """Returns the function (xt, alpha, sigma) -> E[x0 | xt] of data ~ N(mean, std^2)."""

  def denoise(xt, alpha, sigma):
    return mean + alpha * std**2 / (alpha**2 * std**2 + sigma**2) * (xt - alpha * mean)

  return denoise
