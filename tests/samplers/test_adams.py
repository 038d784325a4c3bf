"""Adams' methods (lms, deis, pndm) against independent computations.

Weights are compared with quadrature, steps with the formulae of the papers, whole loops with sums
that other libraries publish. The observed orders are tested too.
"""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from genjax import core
from genjax.processes import chains, continuous, gaussian, schedules
from genjax.samplers import adams, grids, solvers
from tests import fields

KEYS = jax.random.split(jax.random.key(0), 4)
VP = continuous.VP()
SOLVERS = {
  **{f"lms{k}": adams.LMS(order=k) for k in (1, 2, 3, 4)},
  **{
    f"deis {name}{k}": adams.DEIS(order=k, variable=name)
    for name, k in itertools.product(("t", "log_rho"), (1, 2, 3, 4))
  },
  "pndm": adams.PNDM(),
}


class Sigma:
  """A process with alpha = 1 and sigma = t."""

  def coefficients(self, t):
    return jnp.ones_like(t), t


@pytest.fixture
def double_precision():
  with jax.enable_x64(True):
    yield


def walk(solver, field, process, grid, x):
  run = jax.jit(lambda x: solvers.integrate(solver, field, process, grid, x, KEYS[: len(x)], 1))
  return np.asarray(run(x)[-1])


# Orders


def error(solver, process, grid, std):
  """Returns the relative error at the end of the flow of data N(0, std^2).

  The exact flow keeps x / std(xt) constant.
  """
  alpha, sigma = (np.asarray(c, np.float64) for c in process.coefficients(jnp.asarray(grid)))
  exact = np.sqrt((alpha * std) ** 2 + sigma**2)
  out = walk(solver, fields.gaussian(process, 0.0, std), process, grid, jnp.full((1, 1), exact[0]))
  return abs(out[0, 0] / exact[-1] - 1)


EVEN = lambda n: np.linspace(1, 0.1, n + 1)
# From so much noise that the first steps, which are of lower order, hardly count.
LONG = lambda n: np.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), n + 1) ** 7
ORDERS = [  # name, process, grid, steps, standard deviation of the data, order
  *((f"lms{k}", Sigma(), LONG, 256, 0.5, k) for k in (1, 2, 3, 4)),
  *((f"deis t{k}", VP, EVEN, 128, 0.5, k) for k in (1, 2, 3, 4)),
  *((f"deis log_rho{k}", Sigma(), LONG, 256, 0.5, k) for k in (1, 2, 3)),
  ("deis log_rho4", VP, EVEN, 256, 0.1, 4),
  ("pndm", VP, EVEN, 128, 1.5, 2),
  ("pndm", Sigma(), EVEN, 128, 0.5, 4),  # rho is linear in t
]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "process", "grid", "steps", "std", "order"),
  ORDERS,
  ids=[f"{name} of order {order}" for name, *_, order in ORDERS],
)
def test_attained_order(name, process, grid, steps, std, order, double_precision):
  few, many = (error(SOLVERS[name], process, grid(n), std) for n in (steps, 2 * steps))
  assert np.log2(few / many) == pytest.approx(order, abs=0.1)


# Weights


def rho_of(name, y):
  """Returns rho = sigma/alpha as a function of a variable, for VP with beta from 0.1 to 20."""
  if name == "t":
    return np.sqrt(np.expm1(0.1 * y + 9.95 * y**2))
  return np.exp(y) if name == "log_rho" else y


@pytest.mark.slow
@pytest.mark.parametrize("name", adams.VARIABLES)
@pytest.mark.parametrize("times", [[0.5], [0.5, 0.8], [0.5, 0.6, 0.9], [0.5, 0.7, 0.8, 0.9]])
def test_weights_are_the_means_of_lagranges_polynomials(name, times, double_precision):
  places = np.array(
    [{"t": t, "rho": rho_of("t", t), "log_rho": np.log(rho_of("t", t))}[name] for t in times]
  )
  last = {"t": 0.4, "rho": rho_of("t", 0.4), "log_rho": np.log(rho_of("t", 0.4))}[name]
  length = last - places[0]

  def mean(j):  # integral of L_j drho over the step, by the slope of rho from central differences
    others = np.delete(places, j)
    basis = lambda y: np.prod((y - others) / (places[j] - others))
    slope = lambda y: (rho_of(name, y + 1e-5) - rho_of(name, y - 1e-5)) / 2e-5
    value, _ = integrate.quad(lambda y: basis(y) * slope(y), places[0], last, epsabs=1e-12)
    return value / (rho_of(name, last) - rho_of(name, places[0]))

  rho = adams.VARIABLES[name][1]
  r = lambda v: adams._relative(VP, rho(VP, places[0] + v * length), jnp.float64(0.5), 0.4)
  v = jnp.array((places - places[0]) / length)
  weights = adams._weights(v, r, len(times))
  np.testing.assert_allclose(weights, [mean(j) for j in range(len(times))], rtol=1e-6)
  # Those that are not there yet have none, whatever stands in their place.
  padded = adams._weights(jnp.concatenate([v, jnp.array([jnp.nan, 0.0])]), r, len(times))
  np.testing.assert_allclose(padded, [*weights, 0, 0], rtol=1e-12, atol=1e-15)


def test_even_steps_of_rho_have_bashforths_weights(double_precision):
  weights = adams._weights(jnp.array([0.0, -1, -2, -3]), lambda v: v, 4)
  np.testing.assert_allclose(weights, np.array([55, -59, 37, -9]) / 24, rtol=1e-12)


def test_what_pndm_neglects_is_of_second_order(double_precision):
  """For eps = t its mean lies h^2 rho''/(12 rho') off the mean over rho."""
  t, h = 0.5, 1e-3
  places = t + h * np.arange(4)
  rho = lambda u: rho_of("t", u)
  r = lambda v: (rho(t - h * v) - rho(t)) / (rho(t - h) - rho(t))
  mean = float(adams._weights(jnp.array([0.0, -1, -2, -3]), r, 4) @ places)
  m, d = t - h / 2, 1e-4
  slope = (rho(m + d) - rho(m - d)) / (2 * d)
  curvature = (rho(m + d) - 2 * rho(m) + rho(m - d)) / d**2
  pndm = adams._BASHFORTH @ places
  assert (mean - pndm) / (h**2 * curvature / (12 * slope)) == pytest.approx(1, abs=1e-3)


# Steps, against the papers' formulae in float64


def vp(t):
  """Returns alpha_bar of the VP process at time t."""
  return np.exp(-(0.1 * t + 9.95 * t**2))


def transfer(x, eps, t, s):
  """Returns xs by the transfer part of Liu et al. 2022, written in alpha_bar."""
  a, b = vp(t), vp(s)
  root = np.sqrt(a) * (np.sqrt((1 - b) * a) + np.sqrt((1 - a) * b))
  return np.sqrt(b / a) * x - (b - a) / root * eps


def test_pndm_takes_the_papers_steps(double_precision):
  """F-PNDM: three pseudo Runge-Kutta steps, then pseudo linear multistep."""
  times = np.linspace(1, 0.4, 7)
  believed = lambda x, t: np.sin(3 * x + t)
  x, past = np.array([[0.3], [-1.2]]), []
  start = x
  for t, s in itertools.pairwise(times):
    past.append(believed(x, t))
    if len(past) < 4:
      m = (t + s) / 2
      second = believed(transfer(x, past[-1], t, m), m)
      third = believed(transfer(x, second, t, m), m)
      fourth = believed(transfer(x, third, t, s), s)
      mean = (past[-1] + 2 * second + 2 * third + fourth) / 6
    else:
      mean = (55 * past[-1] - 59 * past[-2] + 37 * past[-3] - 9 * past[-4]) / 24
    x = transfer(x, mean, t, s)
  out = walk(adams.PNDM(), sine_field(VP), VP, times, jnp.asarray(start))
  np.testing.assert_allclose(out, x, rtol=1e-10)


def sine_field(process):
  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    eps = jnp.sin(3 * xt + t)
    return (xt - sigma * eps) / alpha, eps, memory

  return solvers.VectorField(lambda x: (), at)


@pytest.mark.parametrize("name", ["lms3", "lms4", "deis t2", "deis t3", "deis log_rho3"])
def test_multistep_takes_the_papers_steps(name, double_precision):
  """x/alpha grows by the integral of the polynomial, found by a fit and by quadrature in rho."""
  solver, times = SOLVERS[name], np.array([1.0, 0.85, 0.8, 0.62, 0.5, 0.45])
  rho = np.sqrt(1 / vp(times) - 1)
  places = {"rho": rho, "log_rho": np.log(rho), "t": times}[solver.variable]
  place = {  # of rho; t by the quadratic formula
    "rho": lambda r: r,
    "log_rho": np.log,
    "t": lambda r: (np.sqrt(0.01 + 39.8 * np.log1p(r**2)) - 0.1) / 19.9,
  }[solver.variable]
  x, past = np.array([[0.3], [-1.2]]), []
  start = x
  for i, t in enumerate(times[:-1]):
    past.append(np.sin(3 * x + t)[:, 0])
    k = min(solver.order, len(past))
    seen = places[i + 1 - k : i + 1]
    nodes, gauss = np.polynomial.legendre.leggauss(60)
    r = rho[i] + (nodes + 1) / 2 * (rho[i + 1] - rho[i])
    basis = np.linalg.solve(np.vander(seen, k).T, np.vander(place(r), k).T)
    change = basis @ gauss / 2 * (rho[i + 1] - rho[i]) @ np.array(past[-k:])
    x = np.sqrt(vp(times[i + 1])) * (x / np.sqrt(vp(t)) + change[:, None])
  out = walk(solver, sine_field(VP), VP, times, jnp.asarray(start))
  np.testing.assert_allclose(out, x, rtol=1e-8)


# The published deterministic loops of the diffusers library: a sample that counts up, the "network"
# x t / (t + 1), ten steps.
SAMPLE = np.arange(768, dtype=np.float32).reshape(3, 8, 8, 4).transpose(3, 0, 1, 2) / 768


def loop(solver, process, prediction, indices, x):
  def at(xt, t, memory):
    index = process.c_noise(t)
    return *gaussian.solve(process, prediction, xt * index / (index + 1), xt, t), memory

  field = solvers.VectorField(lambda x: (), at)
  return walk(solver, field, process, (np.array(indices) + 1) / process.steps, jnp.asarray(x))


@pytest.mark.parametrize(("first", "expected"), [(1e-4, 198.1318), (0.01, 186.9482)])
def test_pndm_loop(first, expected):
  """Its last step stays where it is, at the first state. That of v is another method there: it
  averages v, not eps."""
  process = chains.DDPM(noise=schedules.LinearNoise(first=first))
  out = loop(adams.PNDM(), process, "eps", range(900, -1, -100), SAMPLE)
  assert np.abs(out).sum() == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize(("prediction", "expected"), [("eps", 0.23916), ("v", 0.091)])
def test_deis_loop(prediction, expected):
  """In log(rho), of order 2; its last step is of order 1."""
  process = chains.DDPM(noise=schedules.LinearNoise())
  indices = np.linspace(999, 0, 11).round()
  solver = adams.DEIS(order=2, variable="log_rho")
  x = loop(solver, process, prediction, indices[:-1], SAMPLE)
  out = loop(solvers.DDIM(), process, prediction, indices[-2:], x)
  assert np.abs(out).mean() == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_lms_loop(double_precision):
  """Scaling is applied to the state itself there, not just to what the network sees: only the
  weights can be ours."""
  alpha, sigma = chains.DDPM(noise=schedules.LinearNoise(), steps=1100).table[:, 1:]
  times = np.linspace(1099, 0, 10)
  rho = np.append(np.interp(times, np.arange(1100), sigma / alpha), 0)
  x, past = SAMPLE.astype(np.float64) * rho[0], []
  for i, t in enumerate(times):
    x = x / np.sqrt(rho[i] ** 2 + 1)
    past = [x * t / (t + 1), *past][:4]
    step = rho[i + 1] - rho[i]
    v = (rho[i - np.arange(len(past))] - rho[i]) / step
    weights = np.asarray(adams._weights(jnp.array(v), lambda v: v, len(past)))
    x = x + step * np.tensordot(weights, past, 1)
  assert np.abs(x).sum() == pytest.approx(1006.388, abs=1e-2)


# What all solvers owe


ENDING = [
  adams.LMS(steps=5),
  adams.PNDM(steps=5),
  *(adams.DEIS(steps=5, variable=name) for name in ("t", "log_rho")),
]
PROCESSES = {
  "ddpm": chains.DDPM(),
  "zero_snr": chains.DDPM(zero_snr=True),
  "cond_ot": continuous.CondOT(),
}


@pytest.mark.slow
@pytest.mark.parametrize("solver", ENDING)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_the_last_step_returns_x0(solver, process):
  """Whatever was believed before."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0 = jnp.full_like(xt, 0.5) + t
    return x0, (xt - alpha * x0) / sigma, memory

  grid = solvers.times(solver, process)
  out = walk(solver, solvers.VectorField(lambda x: (), at), process, grid, jnp.ones((4, 3)))
  chex.assert_trees_all_close(out, np.full((4, 3), 0.5 + grid[-2]), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ENDING)
@pytest.mark.parametrize("process", [PROCESSES["zero_snr"], PROCESSES["cond_ot"]])
def test_pure_noise_is_a_place_to_start_from(solver, process):
  x = jnp.linspace(-1, 1, 8).reshape(4, 2)
  grid = grids.Quadratic()(process, 40)
  out = walk(solver, fields.gaussian(process, 0.7, 0.4), process, grid, x)
  alpha, sigma = (np.float64(c) for c in process.coefficients(jnp.float32(1)))
  exact = 0.7 + 0.4 / np.sqrt((alpha * 0.4) ** 2 + sigma**2) * (np.asarray(x) - alpha * 0.7)
  np.testing.assert_allclose(out, exact, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ENDING)
def test_a_sample_does_not_depend_on_the_others(solver):
  field, grid = sine_field(VP), np.linspace(1, 0.1, 8)
  x = jax.random.normal(jax.random.key(1), (4, 6))
  others = jnp.concatenate([x[:1], 100 * x[1:]])
  a, b = (walk(solver, field, VP, grid, x) for x in (x, others))
  np.testing.assert_array_equal(a[0], b[0])
  assert np.abs(a[1:] - b[1:]).min() > 0


def test_deis_is_in_the_variable_of_its_paper():
  assert (adams.DEIS().variable, adams.DEIS().order) == ("t", 3)


def test_unknown_variables_are_refused():
  with pytest.raises(core.UserError, match="did you mean 'log_rho'"):
    adams.DEIS(variable="log_ro")
