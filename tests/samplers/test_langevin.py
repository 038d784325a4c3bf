"""Langevin steps against the papers' formulae, stationary distributions and moments of samples."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.processes import chains, continuous
from genjax.samplers import langevin, solvers
from tests import fields

MEAN, STD = 0.7, 0.4
VE = continuous.VE(sigma_min=0.01, sigma_max=5.0)


def walk(solver, process, x, grid=None, field=None, seed=0):
  grid = solvers.times(solver, process) if grid is None else grid
  keys = jax.random.split(jax.random.key(seed), len(x))
  field = field or fields.gaussian(process, MEAN, STD)
  run = jax.jit(lambda x: solvers.integrate(solver, field, process, grid, x, keys, 1)[-1])
  return np.asarray(run(x), np.float64)


def start(process, n, d):
  return process.std(1.0) * jax.random.normal(jax.random.key(1), (n, d))


def test_a_stay_repeats_a_time():
  corrector = langevin.PredictorCorrector(steps=3, corrections=2)
  third = np.linspace(1, 0, 4)[1]
  two = np.linspace(1, 0, 4)[2]
  np.testing.assert_array_equal(
    solvers.times(corrector, VE), [1, third, third, third, two, two, two, 0]
  )
  annealed = langevin.AnnealedLangevin(steps=3, corrections=2)
  np.testing.assert_array_equal(solvers.times(annealed, VE), [1, 1, third, third, two, two, two, 0])
  plain = langevin.PredictorCorrector(steps=3, corrections=0)
  np.testing.assert_array_equal(solvers.times(plain, VE), VE.grid(3))


def one_step(solver, process, t, s, x, z):
  t, s = jnp.float32(t), jnp.float32(s)
  out = solver.step(fields.gaussian(process, MEAN, STD), process, x, t, s, z, (), ())[0]
  return np.asarray(out, np.float64)


def draws():
  """Draws (x, z), [3, 5] each."""
  rng = np.random.default_rng(0)
  return rng.normal(size=(3, 5)), rng.normal(size=(3, 5))


def score(process, t, x):
  alpha, sigma = (np.float64(c) for c in process.coefficients(jnp.float32(t)))
  return -(x - alpha * MEAN) / (alpha**2 * STD**2 + sigma**2), sigma


@pytest.mark.parametrize("process", [VE, continuous.VP()], ids=["ve", "vp"])
def test_corrections_are_those_of_the_paper(process):
  """Song et al. 2021, algorithm 4, each example with its own norms."""
  x, z = draws()
  g, _ = score(process, 0.3, x)
  norm = lambda a: np.linalg.norm(a, axis=1, keepdims=True)
  size = 2 * (0.16 * norm(z) / norm(g)) ** 2
  out = one_step(langevin.PredictorCorrector(snr=0.16), process, 0.3, 0.3, x, z)
  np.testing.assert_allclose(out, x + size * g + np.sqrt(2 * size) * z, rtol=1e-4)


def test_reverse_diffusion_is_that_of_the_paper():
  """Song et al. 2021, algorithm 2, lines 4 to 6."""
  x, z = draws()
  (g, now), (_, then) = score(VE, 0.3, x), score(VE, 0.25, x)
  expected = x + (now**2 - then**2) * g + np.sqrt(now**2 - then**2) * z
  out = one_step(langevin.PredictorCorrector(), VE, 0.3, 0.25, x, z)
  np.testing.assert_allclose(out, expected, rtol=1e-4)


def test_annealed_steps_are_those_of_the_paper():
  """Song & Ermon 2019, algorithm 1, with their epsilon = 2e-5 and sigma_L = 0.01."""
  process = chains.NCSN()
  x, z = draws()
  g, sigma = score(process, 0.6, x)
  size = 2e-5 * sigma**2 / 0.01**2
  out = one_step(langevin.AnnealedLangevin(), process, 0.6, 0.6, x, z)
  np.testing.assert_allclose(out, x + size / 2 * g + np.sqrt(size) * z, rtol=1e-4)


@pytest.mark.parametrize("process", [VE, continuous.VP()], ids=["ve", "vp"])
def test_stationary_variance_of_corrections(process):
  """V (1 + snr^2): with |z|^2 = D and |eps|^2 = D sigma^2 V'/V^2 at the variance V', (2) is
  h = 2 snr^2 V^2/V', and V' = V / (1 - h/(2 V)) has this solution."""
  alpha, sigma = (float(c) for c in process.coefficients(jnp.float32(0.2)))
  expected = ((alpha * STD) ** 2 + sigma**2) * 1.25
  x = jnp.zeros((128, 512))
  out = walk(langevin.PredictorCorrector(snr=0.5), process, x, np.full(41, 0.2))
  assert out.mean() == pytest.approx(alpha * MEAN, abs=4 * np.sqrt(expected / out.size))
  assert out.var() == pytest.approx(expected, rel=4 * np.sqrt(2 / out.size) + 2 / 512)


@pytest.mark.parametrize("ratio", [0.2, 1.0])
def test_annealed_chain_has_the_moments_of_its_recursion(ratio):
  """Every step is linear on Gaussian data, so mean and variance are known at the end."""
  process = chains.NCSN(steps=6, sigma_min=0.1, sigma_max=2.0)
  solver = langevin.AnnealedLangevin(steps=6, corrections=10, ratio=ratio)
  mean, variance = 0.0, 4.0
  for sigma in np.geomspace(2.0, 0.1, 6):
    total = STD**2 + sigma**2
    size = ratio * sigma**2 / 2
    for _ in range(10):
      mean += size * (MEAN - mean) / total
      variance = (1 - size / total) ** 2 * variance + 2 * size
  keep = STD**2 / (STD**2 + 0.1**2)  # x0 of the last state
  mean, variance = MEAN + keep * (mean - MEAN), keep**2 * variance
  out = walk(solver, process, 2 * jax.random.normal(jax.random.key(2), (20_000, 1)))
  assert out.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / out.size))
  assert out.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / out.size))


SAMPLED = {
  "ve": (langevin.PredictorCorrector(steps=100), VE),
  "vp": (langevin.PredictorCorrector(steps=100), continuous.VP()),
  "sub_vp": (langevin.PredictorCorrector(steps=100, predictor="ancestral"), continuous.SubVP()),
  "ncsn": (langevin.PredictorCorrector(steps=50), chains.NCSN(steps=50, sigma_max=5.0)),
  "euler_maruyama": (
    langevin.PredictorCorrector(steps=200, predictor="euler_maruyama", corrections=2),
    continuous.VP(),
  ),
  "ddim": (langevin.PredictorCorrector(steps=50, predictor="ddim"), chains.DDPM()),
  "annealed": (
    langevin.AnnealedLangevin(steps=20, corrections=30),
    chains.NCSN(steps=20, sigma_min=0.05, sigma_max=5.0),
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_datas_moments(name):
  solver, process = SAMPLED[name]
  out = walk(solver, process, start(process, 32, 256))
  assert out.mean() == pytest.approx(MEAN, abs=0.03)
  assert out.std() == pytest.approx(STD, abs=0.03)


def test_corrections_mend_what_the_predictor_spoils():
  """Of the variance at t = 0.1 after ten steps."""
  process, times = continuous.VP(), np.linspace(1, 0.1, 11)
  alpha, sigma = (float(c) for c in process.coefficients(jnp.float32(0.1)))
  expected = (alpha * STD) ** 2 + sigma**2

  def error(corrections):
    grid = np.append(1, np.repeat(times[1:], 1 + corrections))
    out = walk(langevin.PredictorCorrector(), process, start(process, 32, 256), grid)
    return abs(out.var() / expected - 1)

  assert error(10) < error(0) / 2


ENDING = [
  *(langevin.PredictorCorrector(steps=5, predictor=name) for name in langevin.PREDICTORS),
  langevin.AnnealedLangevin(steps=5, corrections=3),
]


@pytest.mark.slow
@pytest.mark.parametrize("solver", ENDING)
@pytest.mark.parametrize("process", [VE, chains.DDPM()], ids=["ve", "ddpm"])
def test_the_last_step_returns_x0_without_noise(solver, process):
  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0 = jnp.full_like(xt, 0.123)
    return x0, (xt - alpha * x0) / sigma, memory

  out = walk(solver, process, start(process, 8, 3), field=solvers.VectorField(lambda x: (), at))
  chex.assert_trees_all_close(out, np.full((8, 3), 0.123), atol=1e-6)


@pytest.mark.parametrize("solver", ENDING)
def test_a_sample_does_not_depend_on_the_others(solver):
  x = start(VE, 4, 6)
  a, b = (walk(solver, VE, x) for x in (x, jnp.concatenate([x[:1], 100 * x[1:]])))
  np.testing.assert_array_equal(a[0], b[0])
  assert np.abs(a[1:] - b[1:]).min() > 0


def test_every_step_of_a_stay_has_noise_of_its_own():
  """Twice the same noise would be a step of twice the standard deviation."""
  field = solvers.VectorField(lambda x: (), lambda x, t, memory: (x, jnp.zeros_like(x), memory))
  solver = langevin.AnnealedLangevin(steps=2, corrections=2, ratio=1.0)
  out = walk(solver, VE, jnp.zeros((20_000, 1)), np.full(3, 0.5), field)
  _, sigma = VE.coefficients(jnp.float32(0.5))
  assert out.var() == pytest.approx(2 * float(sigma) ** 2, rel=4 * np.sqrt(2 / out.size))


def test_unknown_predictors_are_refused():
  with pytest.raises(core.UserError, match="did you mean 'ancestral'"):
    langevin.PredictorCorrector(predictor="ancestor")
