"""The order of every deterministic solver, measured on Gaussian data, where the flow is known.

For data N(0, std^2) and alpha = 1, x / sqrt(std^2 + sigma^2) is constant along the probability
flow. Grids end above sigma = 0, because in most solvers the step to sigma = 0 returns x0 and has no
order.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.processes import continuous
from genjax.samplers import grids, multistep, singlestep, solvers

STD = 0.5
KEYS = jax.random.split(jax.random.key(0), 1)
LONG, SHORT = (80.0, 0.002), (2.0, 0.1)  # sigma from, to
# name: (solver, its order). One step with a local error of O(h^2), as the first one of dpm++ is,
# bounds the order by 2, unless it hardly counts, as at sigma = 80.
SOLVERS = {
  "ddim": (solvers.DDIM(), 1),
  "euler": (singlestep.Euler(), 1),
  "heun": (singlestep.Heun(), 2),
  "dpm++2s": (singlestep.Midpoint(), 2),
  **{f"dpm++{k}": (multistep.DPMSolver(order=k), k) for k in (1, 2, 3)},
  **{f"unipc{k}": (multistep.UniPC(order=k), k + 1) for k in (1, 2, 3)},
}
CASES = [(name, LONG, order) for name, (_, order) in SOLVERS.items()] + [
  (name, SHORT, min(order, 2) if name == "dpm++3" else order)
  for name, (_, order) in SOLVERS.items()
  if name != "unipc3"  # there its errors change sign
]


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def error(solver, process, steps):
  """Returns the relative error after `steps` steps of a Karras grid without its last time, 0."""
  grid = grids.Karras()(process, steps + 1)[:-1]

  def at(xt, t, memory):
    _, sigma = process.coefficients(t)
    x0 = STD**2 / (STD**2 + sigma**2) * xt
    return x0, (xt - x0) / sigma, memory

  field, x = solvers.VectorField(lambda x: (), at), jnp.full((1, 1), process.sigma_max)
  run = jax.jit(lambda x: solvers.integrate(solver, field, process, grid, x, KEYS, 1))
  low = process.sigma_min
  exact = process.sigma_max * np.sqrt((STD**2 + low**2) / (STD**2 + process.sigma_max**2))
  return abs(float(run(x)[-1, 0, 0]) / exact - 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sigmas", "order"), CASES)
def test_attained_order(name, sigmas, order):
  high, low = sigmas
  process = continuous.EDM(sigma_min=low, sigma_max=high)
  few, many = (error(SOLVERS[name][0], process, n) for n in (256, 512))
  assert np.log2(few / many) == pytest.approx(order, abs=0.1)


def polynomial_weights(times, h, eta):
  """Returns the weights of equation (2) in multistep.py, computed independently.

  They are integrals of Lagrange's polynomials.
  """
  u = np.linspace(0, h, 200_001)
  kernel = (1 + eta) * np.exp(-(1 + eta) * (h - u))
  basis = [
    np.prod([(u - b) / (a - b) for j, b in enumerate(times) if j != i], axis=0) * np.ones_like(u)
    for i, a in enumerate(times)
  ]
  return [np.trapezoid(kernel * p, u) for p in basis]


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("times", [[0.0], [0.0, -0.3], [0.0, -0.3, -0.4], [0.2, 0.0, -0.1, -0.7]])
def test_weights_integrate_the_interpolating_polynomial(times, eta):
  h = 0.2
  v = jnp.array(times) / h
  weights = multistep._weights(v, (1 + eta) * h, len(times))
  np.testing.assert_allclose(weights, polynomial_weights(times, h, eta), rtol=1e-7)
  # Those that are not there yet have none, whatever stands in their place.
  more = jnp.concatenate([v, jnp.array([jnp.inf, 0.0])])
  padded = multistep._weights(more, (1 + eta) * h, len(times))
  np.testing.assert_allclose(padded, [*weights, 0, 0], rtol=1e-12, atol=1e-15)
