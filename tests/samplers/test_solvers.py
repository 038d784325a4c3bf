"""Solvers against closed forms on Gaussian data, each other, and independent sums."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.processes import chains, continuous, gaussian, schedules
from genjax.samplers import grids, multistep, singlestep, solvers
from tests import fields

PROCESS = chains.DDPM()
COSINE = chains.DDPM(noise=schedules.CosineNoise(), steps=1000)


def exact_flow(process, mean, std, x):
  """Returns the end x(0) of the probability flow of data N(mean, std^2) from x at t = 1.

  It is affine: x(0) = mean + std/s(1) (x(1) - alpha mean), s(1) the standard deviation of x(1).
  """
  alpha, sigma = (np.float64(c) for c in process.coefficients(jnp.float32(1)))
  return mean + std / np.sqrt(alpha**2 * std**2 + sigma**2) * (np.asarray(x) - alpha * mean)


def run(solver, field, process, n=4096, seed=0, grid=None, x=None):
  keys = jax.random.split(jax.random.key(seed), n)
  x = jax.random.normal(jax.random.key(seed + 1), (n, 1)) if x is None else x
  grid = solvers.times(solver, process) if grid is None else grid
  return solvers.integrate(solver, field, process, grid, x, keys, 1)[-1]


@pytest.mark.parametrize("process", [PROCESS, COSINE], ids=["linear", "cosine"])
def test_ddim_reaches_the_analytic_marginal(process):
  x = jnp.linspace(-2, 2, 9)[:, None]
  out = run(solvers.DDIM(steps=1000), fields.gaussian(process, 0.7, 0.4), process, n=9, x=x)
  np.testing.assert_allclose(out, exact_flow(process, 0.7, 0.4, x), atol=0.02)


def test_ddim_converges_to_it_in_first_order():
  x = jnp.linspace(-2, 2, 9)[:, None]
  field, exact = fields.gaussian(COSINE, 0.7, 0.4), exact_flow(COSINE, 0.7, 0.4, x)
  errors = [
    np.abs(run(solvers.DDIM(steps=n), field, COSINE, n=9, x=x) - exact).max() for n in (25, 50, 100)
  ]
  assert errors[0] / errors[1] == pytest.approx(2, abs=0.35)
  assert errors[1] / errors[2] == pytest.approx(2, abs=0.35)


@pytest.mark.parametrize("steps", [1000, 20])
def test_ddim_with_eta_one_is_ancestral_with_the_posterior_variance(steps):
  field = fields.gaussian(PROCESS, 0.7, 0.4)
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
  field = solvers.VectorField(lambda x: (), lambda x, t, m: (jnp.full_like(x, x0), x, m))
  step = lambda z: solvers.Ancestral().step(
    field, PROCESS, jnp.full((1,), xt), jnp.float32(t), jnp.float32(s), jnp.full((1,), z), (), ()
  )[0]
  np.testing.assert_allclose(step(0.0), mean, rtol=1e-4)
  np.testing.assert_allclose(step(1.0) - step(0.0), np.sqrt(var), rtol=1e-3)


STOCHASTIC = {
  "posterior": solvers.Ancestral(),
  "upper": solvers.Ancestral(variance="upper"),
  "euler_maruyama": singlestep.EulerMaruyama(),
  "churn": singlestep.Heun(steps=100, churn=40.0, grid=grids.Karras()),
  "some churn": singlestep.Heun(steps=50, churn=20.0, churn_min=0.1, churn_max=5.0),
  "dpm++ sde": multistep.DPMSolver(steps=50, eta=1.0, grid=grids.LogSNR()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samples_have_the_datas_moments(name):
  x = np.asarray(run(STOCHASTIC[name], fields.gaussian(PROCESS, 0.7, 0.4), PROCESS))
  assert x.mean() == pytest.approx(0.7, abs=0.03)
  assert x.std() == pytest.approx(0.4, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("diffusion", singlestep.DIFFUSIONS)
def test_any_diffusion_coefficient_keeps_the_marginals(diffusion):
  """On a path that begins in pure noise, where the process' own coefficient is infinite."""
  flow = continuous.CondOT()
  solver = singlestep.EulerMaruyama(steps=300, diffusion=diffusion)
  x = np.asarray(run(solver, fields.gaussian(flow, 0.7, 0.4), flow))
  assert x.mean() == pytest.approx(0.7, abs=0.03)
  assert x.std() == pytest.approx(0.4, abs=0.03)


ENDING = [
  solvers.DDIM(steps=5),
  solvers.DDIM(steps=5, eta=1.0),
  solvers.Ancestral(steps=5, variance="upper"),
  singlestep.Heun(steps=5),
  singlestep.Midpoint(steps=5),
  *(multistep.DPMSolver(steps=5, order=k) for k in (1, 2, 3)),
  multistep.DPMSolver(steps=5, eta=1.0),
  *(multistep.UniPC(steps=5, order=k) for k in (1, 2, 3)),
]


@pytest.mark.parametrize("solver", ENDING)
@pytest.mark.parametrize(
  "process",
  [
    pytest.param(PROCESS, id="", marks=pytest.mark.slow),
    pytest.param(chains.DDPM(zero_snr=True), id="zero_snr"),
  ],
)
def test_the_last_step_returns_x0_without_noise(solver, process):
  """At s = 0 nothing of the noise is left, whatever was believed before."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0 = jnp.full_like(xt, 0.123)
    return x0, (xt - alpha * x0) / sigma, memory

  out = run(solver, solvers.VectorField(lambda x: (), at), process, n=8)
  chex.assert_trees_all_close(out, jnp.full((8, 1), 0.123), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("process", [PROCESS, COSINE], ids=["linear", "cosine"])
def test_grids_are_even_in_what_they_say(process):
  def steps_of(grid, function):
    times = solvers.times(multistep.DPMSolver(steps=20, grid=grid), process)
    assert len(times) == 21 and times[0] == 1 and times[-1] == 0 and np.all(np.diff(times) < 0)
    alpha, sigma = (
      np.asarray(c, np.float64) for c in process.coefficients(jnp.asarray(times[:-1]))
    )
    return np.diff(function(times[:-1], alpha, sigma))

  even = {
    grids.LogSNR(): lambda t, alpha, sigma: np.log(alpha / sigma),
    grids.Karras(): lambda t, alpha, sigma: (sigma / alpha) ** (1 / 7),
    grids.Karras(rho=2.0): lambda t, alpha, sigma: (sigma / alpha) ** 0.5,
    grids.Quadratic(): lambda t, alpha, sigma: np.sqrt(t),
  }
  for grid, function in even.items():
    steps = steps_of(grid, function)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.02)


def test_grids_that_cannot_be_are_refused():
  pure = chains.DDPM(zero_snr=True)
  for grid in (grids.LogSNR(), grids.Karras()):
    with pytest.raises(core.UserError, match="pure noise"):
      solvers.times(solvers.DDIM(grid=grid), pure)
  given = grids.Given(times=(1.0, 0.4, 0.0))
  np.testing.assert_array_equal(
    solvers.times(solvers.DDIM(steps=2, grid=given), PROCESS), [1, 0.4, 0]
  )
  with pytest.raises(core.UserError, match=r"steps \+ 1 = 4"):
    solvers.times(solvers.DDIM(steps=3, grid=given), PROCESS)
  for times in ((1.0, 0.5), (0.9, 0.0), (1.0, 0.2, 0.3, 0.0), ()):
    with pytest.raises(core.UserError, match="must decrease"):
      grids.Given(times=times)


@pytest.mark.slow
def test_higher_orders_halve_the_error_at_equal_evaluations():
  field, x = fields.gaussian(PROCESS, 0.7, 0.4), jnp.linspace(-2, 2, 9)[:, None]
  exact, grid = exact_flow(PROCESS, 0.7, 0.4, x), grids.LogSNR()
  error = lambda solver: np.abs(run(solver, field, PROCESS, n=9, x=x) - exact).max()
  first = error(solvers.DDIM(steps=24, grid=grid))
  for solver in (
    *(multistep.DPMSolver(steps=24, order=k, grid=grid) for k in (2, 3)),
    *(multistep.UniPC(steps=24, order=k, grid=grid) for k in (1, 2, 3)),
    singlestep.Midpoint(steps=12, grid=grid),
  ):
    assert error(solver) < first / 2


@pytest.mark.parametrize(
  "process",
  [
    pytest.param(continuous.CondOT(), id="cond_ot"),
    pytest.param(chains.DDPM(zero_snr=True), id="zero_snr", marks=pytest.mark.slow),
  ],
)
def test_multistep_solvers_start_from_pure_noise(process):
  """There log(alpha/sigma) is -infinity, and the first step is one of DDIM."""
  x = jnp.linspace(-2, 2, 9)[:, None]
  field, exact = fields.gaussian(process, 0.7, 0.4), exact_flow(process, 0.7, 0.4, x)
  ddim = run(solvers.DDIM(steps=40), field, process, n=9, x=x)
  same = run(multistep.DPMSolver(steps=40, order=1), field, process, n=9, x=x)
  np.testing.assert_allclose(same, ddim, atol=1e-5)
  for solver in (multistep.DPMSolver(steps=40), multistep.UniPC(steps=40)):
    error = np.abs(run(solver, field, process, n=9, x=x) - exact).max()
    assert error < np.abs(ddim - exact).max() / 3


def test_each_step_starts_where_the_last_one_ended():
  seen = []

  class Spy:
    steps, grid = 7, grids.UniformGrid()

    def start(self, xt):
      return ()

    def step(self, field, process, xt, t, s, z, memory, history):
      jax.debug.callback(lambda t, s: seen.append((float(t), float(s))), t, s, ordered=True)
      return xt, memory, history

  run(Spy(), fields.gaussian(PROCESS, 0, 1), PROCESS, n=1)
  jax.effects_barrier()
  np.testing.assert_allclose(seen[0][0], 1)
  np.testing.assert_allclose([s for _, s in seen[:-1]], [t for t, _ in seen[1:]])
  assert seen[-1][1] == 0


def test_frames_are_the_states_on_the_way():
  field, x = fields.gaussian(PROCESS, 0.7, 0.4), jnp.ones((3, 1))
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
  process = chains.DDPM(noise=schedules.LinearNoise(first=first))

  def at(xt, t, memory):
    index = process.c_noise(t)
    x0, eps = gaussian.solve(process, prediction, xt * index / (index + 1), xt, t)
    return jnp.clip(x0, -1, 1), eps, memory

  field = solvers.VectorField(lambda x: (), at)
  keys = jax.random.split(jax.random.key(0), 4)
  x = jnp.asarray(SAMPLE)
  out = solvers.integrate(solvers.DDIM(), field, process, LEADING, x, keys, 1)[-1]
  assert float(jnp.sum(jnp.abs(out))) == pytest.approx(expected, abs=1e-2)
