"""Solvers against the equations of their papers, solved here in other ways, and exact moments."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, interpolate

from genjax.processes import chains, continuous, gaussian, schedules
from genjax.samplers import grids, multistep, singlestep, solvers
from tests import fields

KEYS = jax.random.split(jax.random.key(0), 4)


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


# One step of each multistep solver. The exact solutions of Lu et al. 2022 (arXiv:2211.01095) from t
# to s, in which the polynomial through the answers replaces the unknown x0(lambda),
#
#     ODE    xs = sigma_s/sigma_t xt + sigma_s integral e^lambda x0(lambda) dlambda
#     SDE    xs = sigma_s/sigma_t e^-h xt + 2 alpha_s integral e^(-2 (lambda_s - lambda)) x0(lambda)
#                 dlambda + sigma_s sqrt(1 - e^-2h) z
#
# integrated numerically. UniPC (Zhao et al. 2023, arXiv:2302.04867) is the first of them twice: the
# corrector's polynomial also goes through the answer at the end.
VP = continuous.VP()
TIMES = np.array([0.5, 0.62, 0.7, 0.81])  # the newest first
NEXT = 0.41
RNG = np.random.default_rng(0)
XT, BEFORE, Z, *PAST = RNG.normal(size=(7, 4, 3))
JUNK = 7.0  # stands where no answer is yet


def alpha_sigma(t):
  total = 0.1 * t + (20 - 0.1) * t**2 / 2
  return np.exp(-total / 2), np.sqrt(1 - np.exp(-total))


def lam(t):
  alpha, sigma = alpha_sigma(t)
  return np.log(alpha / sigma)


def answer(x, t):
  """Returns x0 of the field of these tests, in NumPy."""
  return np.tanh(1.3 * np.asarray(x)) + t


FIELD = solvers.VectorField(lambda x: (), lambda x, t, memory: (jnp.tanh(1.3 * x) + t, x, memory))


def paper(x, t, s, times, answers, eta=0.0, z=0.0):
  """Returns xs of the equations above.

  times, answers: where x0 is known, and its values; x0(lambda) is the polynomial through them.
  """
  (_, sigma_t), (alpha_s, sigma_s) = alpha_sigma(t), alpha_sigma(s)
  h = lam(s) - lam(t)
  x0 = interpolate.KroghInterpolator(lam(np.array(times)), np.array(answers))
  if eta == 0:
    whole, _ = integrate.quad_vec(lambda v: np.exp(v) * x0(v), lam(t), lam(s), epsrel=1e-12)
    return sigma_s / sigma_t * x + sigma_s * whole
  kernel = lambda v: np.exp(-2 * (lam(s) - v)) * x0(v)
  whole, _ = integrate.quad_vec(kernel, lam(t), lam(s), epsrel=1e-12)
  noise = sigma_s * np.sqrt(1 - np.exp(-2 * h)) * z
  return sigma_s / sigma_t * np.exp(-h) * x + 2 * alpha_s * whole + noise


def history(length, known):
  """Returns a history of `length` places, of which the first `known` hold PAST at TIMES[1:].

  All other places hold JUNK, which must not be used.
  """
  x0, lams = np.full((length, 4, 3), JUNK), np.full(length, JUNK)
  for i in range(known):
    x0[i], lams[i] = PAST[i], lam(TIMES[1 + i])
  return multistep.PastAnswers(jnp.asarray(x0), jnp.asarray(lams), jnp.asarray(known, jnp.int32))


def step(solver, past):
  t, s = jnp.asarray(TIMES[0]), jnp.asarray(NEXT)
  return solver.step(FIELD, VP, jnp.asarray(XT), t, s, jnp.asarray(Z), (), past)[0]


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize(("order", "known"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_a_step_of_dpm(order, known, eta):
  solver = multistep.DPMSolver(order=order, eta=eta)
  answers = [answer(XT, TIMES[0]), *PAST[:known]]
  expected = paper(XT, TIMES[0], NEXT, TIMES[: known + 1], answers, eta, Z)
  np.testing.assert_allclose(step(solver, history(order, known)), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
  ("order", "known"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2), (3, 3)]
)
def test_a_step_of_unipc(order, known):
  past = history(order + 1, known), jnp.asarray(BEFORE), jnp.asarray(TIMES[1])
  answers = [answer(XT, TIMES[0]), *PAST[:known]]
  xt = paper(BEFORE, TIMES[1], TIMES[0], TIMES[: known + 1], answers) if known else XT
  used = min(order, known + 1)
  expected = paper(xt, TIMES[0], NEXT, TIMES[:used], answers[:used])
  result = step(multistep.UniPC(order=order), past)
  np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9)


# The third order of DPM-Solver++(3M). By Taylor's theorem, with f = x0 at lambda_t,
#
#     xs = sigma_s/sigma_t xt + alpha_s (phi_1 f + phi_2 f' + phi_3 f'')
#
# and f'' is twice the second divided difference. Published implementations take it once.


def taylor(factor, x, sigmas, f):
  """Makes a step from sigmas[2] to sigmas[3], with alpha = 1.

  factor: f'' as a multiple of the second divided difference.
  f: x0 at sigmas[:3].
  """
  at = -np.log(sigmas)
  h = at[3] - at[2]
  older, newer = (f[1] - f[0]) / (at[1] - at[0]), (f[2] - f[1]) / (at[2] - at[1])
  second = (newer - older) / (at[2] - at[0])
  phi_1 = -np.expm1(-h)
  phi_2 = h - phi_1
  phi_3 = h**2 / 2 - phi_2
  slope = newer + (at[2] - at[1]) * second
  return sigmas[3] / sigmas[2] * x + phi_1 * f[2] + phi_2 * slope + phi_3 * factor * second


STD = 0.5
LONG = continuous.EDM(sigma_max=80.0, sigma_min=0.002)


def stops(process, steps):
  """Returns times from 1 to the least one; a step to 0 has no order."""
  return np.asarray(grids.Karras()(process, steps + 1))[:-1]


def flow(sigmas):
  """Returns the exact flow of data N(0, STD^2) at sigmas, which starts with x = 1 at sigmas[0]."""
  return np.sqrt((STD**2 + np.square(sigmas)) / (STD**2 + sigmas[0] ** 2))


def three_m(factor, steps):
  """Returns the end of the flow by `taylor`, with the first two steps exact."""
  sigmas = 80 * stops(LONG, steps)
  believed = lambda i, x: STD**2 / (STD**2 + sigmas[i] ** 2) * x
  x = flow(sigmas)[:3]
  f = [believed(i, x[i]) for i in range(3)]
  x = x[2]
  for i in range(3, len(sigmas)):
    x = taylor(factor, x, sigmas[i - 3 : i + 1], f)
    f = [*f[1:], believed(i, x)]
  return x


def ours(steps):
  keys = KEYS[:1]
  field = fields.gaussian(LONG, 0.0, STD)
  solver, grid = multistep.DPMSolver(order=3), stops(LONG, steps)
  run = jax.jit(lambda x: solvers.integrate(solver, field, LONG, grid, x, keys, 1))
  return run(jnp.ones((1, 1)))[-1, 0, 0]


def attained(run, few, many):
  """Returns the observed order of `run(steps)` between few and many steps."""
  errors = [abs(float(run(n)) - flow(80 * stops(LONG, n))[-1]) for n in (few, many)]
  return np.log2(errors[0] / errors[1])


def test_three_m_needs_the_factor_two():
  assert attained(lambda n: three_m(2, n), 512, 1024) == pytest.approx(3, abs=0.05)
  assert attained(lambda n: three_m(1, n), 512, 1024) == pytest.approx(2, abs=0.05)
  assert attained(ours, 512, 1024) == pytest.approx(3, abs=0.05)


# Weak orders. On Gaussian data every step is affine in (xt, z), so the end of a trajectory is
# c + a x(1) + sum_i b_i z_i, and its mean and variance need no samples.
MEAN, WIDTH = 0.7, 0.4


def exact_moments(process, t):
  alpha, sigma = (float(c) for c in process.coefficients(jnp.asarray(t)))
  return alpha * MEAN, np.hypot(alpha * WIDTH, sigma)


def end_moments(solver, process, grid):
  """Returns (mean, standard deviation) at the end, starting from the exact marginal."""
  field, n = fields.gaussian(process, MEAN, WIDTH), len(grid) - 1
  basis = jnp.zeros((n + 2, 1)).at[1].set(1)  # all zero, x = 1, then each z = 1

  def body(carry, inputs):
    xt, past = carry
    xt, _, past = solver.step(field, process, xt, *inputs, (), past)
    return (xt, past), None

  draws = jnp.eye(n, n + 2, 2)[..., None]
  inputs = jnp.asarray(grid[:-1]), jnp.asarray(grid[1:]), draws
  run = jax.jit(lambda x: jax.lax.scan(body, (x, solver.start(x)), inputs)[0][0][:, 0])
  c, *ends = np.asarray(run(basis))
  a, *b = np.array(ends) - c
  mean, std = exact_moments(process, grid[0])
  return c + a * mean, np.sqrt((a * std) ** 2 + np.sum(np.square(b)))


def moment_errors(solver, process, grid_of, steps):
  grid = grid_of(steps)
  found = end_moments(dataclasses.replace(solver, steps=steps), process, grid)
  return np.abs(np.subtract(found, exact_moments(process, grid[-1])))


WEAK = {
  "euler_maruyama": (singlestep.EulerMaruyama(), 1),
  "posterior": (solvers.Ancestral(), 1),
  "upper": (solvers.Ancestral(variance="upper"), 1),
  "ddim 0.5": (solvers.DDIM(eta=0.5), 1),
  "ddim 1": (solvers.DDIM(eta=1.0), 1),
  "dpm++1": (multistep.DPMSolver(order=1, eta=1.0), 1),
  "dpm++2": (multistep.DPMSolver(order=2, eta=1.0), 2),
  "churn": (singlestep.Heun(churn=40.0), 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WEAK)
def test_weak_order_of_mean_and_variance(name):
  solver, order = WEAK[name]
  even = lambda n: np.linspace(1, 0.05, n + 1)
  few, many = (moment_errors(solver, VP, even, n) for n in (128, 256))
  assert few[1] < 0.02 and np.log2(few[1] / many[1]) == pytest.approx(order, abs=0.15)
  if name == "euler_maruyama":
    assert np.log2(few[0] / many[0]) == pytest.approx(1, abs=0.15)
  else:  # they renoise a posterior mean, and means of means are exact
    assert max(few[0], many[0]) < 1e-13


def test_more_answers_than_two_bring_no_higher_weak_order():
  """The polynomial says nothing of the noise within a step."""
  process = continuous.EDM(sigma_max=2.0, sigma_min=0.1)
  solver = multistep.DPMSolver(order=3, eta=1.0)
  few, many = (moment_errors(solver, process, lambda n: stops(process, n), n) for n in (256, 512))
  assert np.log2(few[1] / many[1]) == pytest.approx(2, abs=0.15)


# Deterministic loops as in test_samplers.py: a sample that counts up, the "network" x t / (t + 1).
SAMPLE = np.arange(768).reshape(3, 8, 8, 4).transpose(3, 0, 1, 2) / 768


def loop(process, grid, x, clip):
  """Runs DDIM over the grid and returns the sum of |x| at the end."""

  def at(xt, t, memory):
    index = process.c_noise(t)
    x0, eps = gaussian.solve(process, "eps", xt * index / (index + 1), xt, t)
    return jnp.clip(x0, -clip, clip), eps, memory

  field = solvers.VectorField(lambda x: (), at)
  run = jax.jit(lambda x: solvers.integrate(solvers.DDIM(), field, process, grid, x, KEYS, 1)[-1])
  return float(jnp.sum(jnp.abs(run(jnp.asarray(x)))))


def test_loop_that_ends_on_the_first_state():
  """The diffusers library's sum with `set_alpha_to_one=False`: the last step stays where it is."""
  grid = np.array([901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 1]) / 1000
  process = chains.DDPM(noise=schedules.LinearNoise(first=0.01))
  assert loop(process, grid, SAMPLE, clip=1.0) == pytest.approx(149.0784, abs=1e-2)


def test_ddim_is_eulers_rule_in_sigma():
  """dx/dsigma = eps for x = xt/alpha, sigma/alpha interpolated between 1100 states.

  The library's own sum, 10.0807, is not of Euler's rule: its loop keeps x as it was scaled for the
  network and steps from there.
  """
  alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1100))
  times = np.linspace(1099, 0, 10)
  sigmas = np.interp(times, np.arange(1100), np.sqrt(1 / alpha_bar - 1))
  x = SAMPLE * sigmas[0]
  for t, sigma, after in zip(times, sigmas, [*sigmas[1:], 0]):
    x = x + (after - sigma) * x / np.hypot(sigma, 1) * t / (t + 1)
  process, grid = chains.DDPM(steps=1100), np.append(times + 1, 0) / 1100
  start = SAMPLE * np.sqrt(1 - alpha_bar[-1])
  assert loop(process, grid, start, clip=np.inf) == pytest.approx(np.abs(x).sum(), abs=1e-3)
