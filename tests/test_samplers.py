"""Solvers against closed forms on Gaussian data, each other, and independently derived sums."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.processes import gaussian, schedules
from genjax.samplers import solvers

PROCESS = gaussian.DDPM()
COSINE = gaussian.DDPM(noise=schedules.Cosine(), steps=1000)


def gaussian_field(process, mean, std):
  """The exact posterior means E[x0 | xt], E[eps | xt] for data ~ N(mean, std^2)."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0 = mean + alpha * std**2 / (alpha**2 * std**2 + sigma**2) * (xt - alpha * mean)
    return x0, (xt - alpha * x0) / sigma, memory

  return solvers.Field(lambda x: (), at)


def run(solver, field, process, n=4096, seed=0, grid=None, x=None):
  keys = jax.random.split(jax.random.key(seed), n)
  x = jax.random.normal(jax.random.key(seed + 1), (n, 1)) if x is None else x
  grid = process.grid(solver.steps) if grid is None else grid
  return solvers.integrate(solver, field, process, grid, x, keys, 1)[-1]


@pytest.mark.parametrize("process", [PROCESS, COSINE], ids=["linear", "cosine"])
def test_ddim_reaches_the_analytic_marginal(process):
  """The probability flow of Gaussian data is linear: x(0) = mean + std/s(1) (x(1) - alpha mean)."""
  mean, std = 0.7, 0.4
  x = jnp.linspace(-2, 2, 9)[:, None]
  out = run(solvers.DDIM(steps=1000), gaussian_field(process, mean, std), process, n=9, x=x)
  alpha, sigma = (np.float64(c) for c in process.coefficients(jnp.float32(1)))
  exact = mean + std / np.sqrt(alpha**2 * std**2 + sigma**2) * (np.asarray(x) - alpha * mean)
  np.testing.assert_allclose(out, exact, atol=0.02)


def test_ddim_converges_to_it_in_first_order():
  x = jnp.linspace(-2, 2, 9)[:, None]
  field = gaussian_field(COSINE, 0.7, 0.4)
  alpha, sigma = (np.float64(c) for c in COSINE.coefficients(jnp.float32(1)))
  exact = 0.7 + 0.4 / np.sqrt(alpha**2 * 0.16 + sigma**2) * (np.asarray(x) - alpha * 0.7)
  errors = [
    np.max(np.abs(np.asarray(run(solvers.DDIM(steps=n), field, COSINE, n=9, x=x)) - exact))
    for n in (25, 50, 100)
  ]
  assert errors[0] / errors[1] == pytest.approx(2, abs=0.35)
  assert errors[1] / errors[2] == pytest.approx(2, abs=0.35)


@pytest.mark.parametrize("steps", [1000, 20])
def test_ddim_with_eta_one_is_ancestral_with_the_posterior_variance(steps):
  field = gaussian_field(PROCESS, 0.7, 0.4)
  a = run(solvers.DDIM(steps=steps, eta=1.0), field, PROCESS, n=64)
  b = run(solvers.Ancestral(steps=steps), field, PROCESS, n=64)
  chex.assert_trees_all_close(a, b, atol=2e-4)


def test_ancestral_step_has_the_moments_of_bayes_rule():
  """q(xs | xt, x0) by conditioning the joint Gaussian of (xs, xt) given x0, in float64."""
  t, s, x0, xt = 0.5, 0.3, 0.4, -0.9
  (at, st), (as_, ss) = (
    [np.float64(c) for c in PROCESS.coefficients(jnp.float32(u))] for u in (t, s)
  )
  r = at / as_
  gain = r * ss**2 / st**2  # cov(xs, xt) / var(xt)
  mean, var = as_ * x0 + gain * (xt - at * x0), ss**2 - gain * r * ss**2
  field = solvers.Field(lambda x: (), lambda x, t, m: (jnp.full_like(x, x0), x, m))
  step = lambda z: solvers.Ancestral().step(
    field, PROCESS, jnp.full((1,), xt), jnp.float32(t), jnp.float32(s), jnp.full((1,), z), (), ()
  )[0]
  np.testing.assert_allclose(step(0.0), mean, rtol=1e-4)
  np.testing.assert_allclose(step(1.0) - step(0.0), np.sqrt(var), rtol=1e-3)


@pytest.mark.parametrize("variance", ["posterior", "upper"])
def test_ancestral_sampling_has_the_datas_moments(variance):
  solver = solvers.Ancestral(variance=variance)
  x = np.asarray(run(solver, gaussian_field(PROCESS, 0.7, 0.4), PROCESS))
  assert x.mean() == pytest.approx(0.7, abs=0.03)
  assert x.std() == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("solver", [solvers.DDIM(steps=5), solvers.DDIM(steps=5, eta=1.0),
                                    solvers.Ancestral(steps=5, variance="upper")])  # fmt: skip
def test_the_last_step_returns_x0_without_noise(solver):
  """At s = 0 nothing of the noise is left, whatever was believed before."""
  believed = jnp.float32(0.123)
  field = solvers.Field(lambda x: (), lambda x, t, m: (jnp.full_like(x, believed), x, m))
  chex.assert_trees_all_close(
    run(solver, field, PROCESS, n=8), jnp.full((8, 1), believed), atol=1e-7
  )


def test_each_step_starts_where_the_last_one_ended():
  seen = []

  class Spy:
    steps = 7

    def start(self, xt):
      return ()

    def step(self, field, process, xt, t, s, z, memory, history):
      jax.debug.callback(lambda t, s: seen.append((float(t), float(s))), t, s, ordered=True)
      return xt, memory, history

  run(Spy(), gaussian_field(PROCESS, 0, 1), PROCESS, n=1)
  jax.effects_barrier()
  np.testing.assert_allclose(seen[0][0], 1)
  np.testing.assert_allclose([s for _, s in seen[:-1]], [t for t, _ in seen[1:]])
  assert seen[-1][1] == 0


def test_frames_are_the_states_on_the_way():
  field, x = gaussian_field(PROCESS, 0.7, 0.4), jnp.ones((3, 1))
  keys, grid = jax.random.split(jax.random.key(0), 3), PROCESS.grid(12)
  whole = solvers.integrate(solvers.DDIM(steps=12), field, PROCESS, grid, x, keys, 12)
  some = solvers.integrate(solvers.DDIM(steps=12), field, PROCESS, grid, x, keys, 4)
  chex.assert_trees_all_close(some, whole[2::3], atol=1e-6)
  more = solvers.integrate(solvers.DDIM(steps=12), field, PROCESS, grid, x, keys, 24)
  chex.assert_trees_all_close(more, jnp.repeat(whole, 2, axis=0), atol=1e-6)


# A deterministic loop that several implementations share: a sample that counts up, the "network"
# x t / (t + 1), ten steps of a chain of 1000. The sums were derived in float64 by an independent
# implementation and agree with the published ones of the diffusers library to 1e-2.
SAMPLE = np.arange(768, dtype=np.float32).reshape(3, 8, 8, 4).transpose(3, 0, 1, 2) / 768
LEADING = np.array([901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]) / 1000


@pytest.mark.parametrize(
  ("prediction", "first", "clip", "expected"),
  [("eps", 1e-4, True, 172.0067), ("v", 1e-4, True, 52.5302), ("eps", 0.01, True, 149.8295)],
)
def test_deterministic_loop(prediction, first, clip, expected):
  process = gaussian.DDPM(noise=schedules.Linear(first=first))

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    index = process.c_noise(t)
    x0, eps = gaussian.solve(prediction, xt * index / (index + 1), xt, alpha, sigma)
    return jnp.clip(x0, -1, 1), eps, memory

  field = solvers.Field(lambda x: (), at)
  keys = jax.random.split(jax.random.key(0), 4)
  x = jnp.asarray(SAMPLE)
  out = solvers.integrate(solvers.DDIM(), field, process, LEADING, x, keys, 1)[-1]
  assert float(jnp.sum(jnp.abs(out))) == pytest.approx(expected, abs=1e-2)
