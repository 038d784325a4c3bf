"""Schedules against their definitions, and the algebra of predictions."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.processes import gaussian, schedules

PROCESSES = {
  "linear": gaussian.DDPM(),
  "cosine": gaussian.DDPM(noise=schedules.Cosine(), steps=100),
}


def test_linear_schedule_is_the_product_of_its_betas():
  betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
  expected = np.exp(np.cumsum(np.log1p(-np.array(betas))))
  np.testing.assert_allclose(schedules.Linear().alpha_bar(1000), expected, rtol=1e-12)


def test_cosine_schedule_is_its_closed_form_until_beta_is_cut():
  u = np.arange(1, 991) / 1000
  f = lambda u: np.cos(np.pi / 2 * (u + 0.008) / 1.008) ** 2
  np.testing.assert_allclose(schedules.Cosine().alpha_bar(1000)[:990], f(u) / f(0), rtol=1e-9)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_time_zero_is_data_and_noise_only_grows(process):
  t = jnp.arange(process.steps + 1) / process.steps
  alpha, sigma = process.coefficients(t)
  assert (alpha[0], sigma[0]) == (1, 0)
  assert np.all(np.diff(alpha) < 0) and np.all(np.diff(sigma) > 0)
  np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-6)
  np.testing.assert_allclose(process.c_noise(t[1:]), np.arange(process.steps), atol=1e-3)


def test_snap_reaches_every_time_equally_often():
  process = gaussian.DDPM(steps=50)
  t = process.snap((jnp.arange(5000) + 0.5) / 5000)
  times, counts = np.unique(np.round(np.asarray(t) * 50), return_counts=True)
  np.testing.assert_array_equal(times, np.arange(1, 51))
  np.testing.assert_array_equal(counts, 100)


@pytest.mark.parametrize("steps", [1, 3, 7, 50, 100])
def test_grid_walks_from_noise_to_data_through_times_of_the_chain(steps):
  grid = PROCESSES["cosine"].grid(steps)
  assert (len(grid), grid[0], grid[-1]) == (steps + 1, 1, 0)
  assert np.all(np.diff(grid) < 0)
  np.testing.assert_allclose(grid * 100, np.round(grid * 100), atol=1e-9)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_between_states_time_goes_on(process):
  """States are exactly the table's; between them lambda falls with t, and `time` inverts it."""
  states = np.arange(process.steps + 1)
  on = process.coefficients(jnp.asarray(states / process.steps, jnp.float32))
  np.testing.assert_array_equal(on, process.table.astype(np.float32))
  t = jnp.linspace(process.least, 1, 3 * process.steps)
  alpha, sigma = process.coefficients(t)
  np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-5)
  lam = np.log(np.asarray(alpha, np.float64) / np.asarray(sigma, np.float64))
  assert np.all(np.diff(lam) < 0)
  np.testing.assert_allclose(process.time(jnp.asarray(lam, jnp.float32)), t, atol=2e-4)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_rates_are_the_slopes_of_the_table(process):
  t = jnp.arange(5, process.steps - 5) / process.steps
  rates = jax.jvp(process.coefficients, (t,), (jnp.ones_like(t),))[1]
  slopes = np.gradient(process.table, axis=1)[:, 5:-6] * process.steps
  for rate, slope in zip(rates, slopes):
    np.testing.assert_allclose(rate, slope, atol=0.02 * np.abs(slope).max())


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(gaussian.ROWS, 2)))
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_every_prediction_round_trips_through_every_other(process, a, b):
  """project(a), solve, project(b), solve: the pair (x0, eps) comes back."""
  keys = jax.random.split(jax.random.key(0))
  x0, eps = (jax.random.normal(key, (64, 3)) for key in keys)
  t = (1 + jnp.arange(64) % 50) / process.steps  # where alpha is not yet tiny
  alpha, sigma = process.coefficients(t)
  xt = gaussian.corrupt(x0, eps, alpha, sigma)
  pair = gaussian.solve(a, gaussian.project(a, x0, eps, alpha, sigma), xt, alpha, sigma)
  pair = gaussian.solve(b, gaussian.project(b, *pair, alpha, sigma), xt, alpha, sigma)
  chex.assert_trees_all_close(pair, (x0, eps), atol=2e-3)


def test_score_is_the_gradient_of_the_log_density():
  """For one data point, q(xt | x0) is Gaussian, and its score is what the pair says."""
  alpha, sigma = jnp.float32(0.6), jnp.float32(0.8)
  x0, eps = jnp.array([[1.0, -2.0]]), jnp.array([[0.3, 0.7]])
  xt = gaussian.corrupt(x0, eps, alpha, sigma)
  log_q = lambda x: -jnp.sum((x - alpha * x0) ** 2) / (2 * sigma**2)
  chex.assert_trees_all_close(
    gaussian.project("score", x0, eps, alpha, sigma), jax.grad(log_q)(xt), rtol=1e-5
  )


def test_zero_snr_ends_in_pure_noise_and_refuses_what_it_cannot_solve():
  process = gaussian.DDPM(zero_snr=True)
  alpha, sigma = process.coefficients(jnp.array([0.001, 1.0]))
  assert (alpha[1], sigma[1]) == (0, 1)
  np.testing.assert_allclose(alpha[0], np.sqrt(1 - 1e-4), rtol=1e-6)  # the first stays
  for prediction in ("v", "x0"):
    process.check(prediction)
  for prediction in ("eps", "score"):
    with pytest.raises(core.UserError, match="zero terminal"):
      process.check(prediction)
  with pytest.raises(core.UserError, match="did you mean 'eps'"):
    process.check("esp")


def test_grid_longer_than_the_chain_is_refused():
  with pytest.raises(core.UserError, match=r"sampler\.steps=101"):
    PROCESSES["cosine"].grid(101)
