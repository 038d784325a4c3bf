"""Processes against their definitions and simulations; the algebra of predictions."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genjax import core, registry
from genjax.processes import chains, continuous, gaussian, learned, schedules, times, weightings

CHAINS = {
  "linear": chains.DDPM(),
  "scaled_linear": chains.DDPM(noise=schedules.Scaled()),
  "cosine": chains.DDPM(noise=schedules.CosineNoise(), steps=100),
  "sigmoid": chains.DDPM(noise=schedules.SigmoidNoise(tau=0.7)),
  "shifted": chains.DDPM(noise=schedules.CosineNoise(), steps=50, shift=4.0),
  "ncsn": chains.NCSN(steps=20),
}
PROCESSES = {
  **CHAINS,
  "vp": continuous.VP(),
  "sub_vp": continuous.SubVP(sigma_data=0.5),
  "ve": continuous.VE(sigma_data=0.5),
  "edm": continuous.EDM(sigma_data=0.5),
  "cond_ot": continuous.CondOT(),
  "cond_ot shifted": continuous.CondOT(shift=3.0),
  "cosine flow": continuous.CosineFlow(),
  "polynomial": continuous.Polynomial(power=2.0),
  "learned": learned.Learned(gamma_min=-8.0),
}
# One of each kind; the others differ in their numbers.
OFTEN = ("linear", "ncsn", "vp", "ve", "edm", "cond_ot", "learned")
CASES = [
  pytest.param(process, id=name, marks=() if name in OFTEN else pytest.mark.slow)
  for name, process in PROCESSES.items()
]
EVERY = pytest.mark.parametrize("process", CASES)


def legal(process, prediction):
  try:
    process.check(prediction)
  except core.UserError:
    return False
  return True


def test_every_registered_process_is_here():
  assert {type(p) for p in PROCESSES.values()} == set(registry.TABLES["process"].values())


# Schedules and states


def test_linear_schedules_are_the_products_of_their_betas():
  betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
  expected = np.exp(np.cumsum(np.log1p(-np.array(betas))))
  np.testing.assert_allclose(schedules.LinearNoise().alpha_bar(1000), expected, rtol=1e-12)
  roots = [0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999 for i in range(1000)]
  expected = np.exp(np.cumsum(np.log1p(-np.square(roots))))
  np.testing.assert_allclose(schedules.Scaled().alpha_bar(1000), expected, rtol=1e-12)


def test_cosine_and_sigmoid_are_their_closed_forms_until_beta_is_cut():
  u = np.arange(1, 991) / 1000
  f = lambda u: np.cos(np.pi / 2 * (u + 0.008) / 1.008) ** 2
  np.testing.assert_allclose(schedules.CosineNoise().alpha_bar(1000)[:990], f(u) / f(0), rtol=1e-9)
  # Jabri et al.: clip((v_end - S((t (end - start) + start) / tau)) / (v_end - v_start))
  s = lambda x: 1 / (1 + np.exp(-x))
  first, last = s(-3 / 0.7), s(3 / 0.7)
  expected = (last - s((u * 6 - 3) / 0.7)) / (last - first)
  np.testing.assert_allclose(
    schedules.SigmoidNoise(tau=0.7).alpha_bar(1000)[:990], expected, rtol=1e-9
  )


@pytest.mark.slow
@pytest.mark.parametrize("process", CHAINS.values(), ids=CHAINS)
def test_chains_have_states(process):
  t = jnp.arange(process.steps + 1) / process.steps
  alpha, sigma = process.coefficients(t)
  assert (alpha[0], sigma[0]) == (1, 0)
  assert np.all(np.diff(alpha) <= 0) and np.all(np.diff(sigma) > 0)
  visits, counts = np.unique(
    np.round(np.asarray(process.snap((jnp.arange(5000) + 0.5) / 5000)) * process.steps),
    return_counts=True,
  )
  np.testing.assert_array_equal(visits, np.arange(1, process.steps + 1))
  np.testing.assert_array_equal(counts, 5000 // process.steps)
  near = process.visit(jnp.linspace(0, 1, 777))
  np.testing.assert_allclose(near * process.steps, np.round(near * process.steps), atol=1e-3)
  nearest = np.abs(near - np.linspace(0, 1, 777).clip(process.least))
  assert np.all(nearest <= 0.51 / process.steps)


@pytest.mark.parametrize("steps", [1, 3, 7, 50, 100])
def test_grid_walks_from_noise_to_data_through_times_of_the_chain(steps):
  grid = CHAINS["cosine"].grid(steps)
  assert (len(grid), grid[0], grid[-1]) == (steps + 1, 1, 0)
  assert np.all(np.diff(grid) < 0)
  np.testing.assert_allclose(grid * 100, np.round(grid * 100), atol=1e-9)


@pytest.mark.slow
def test_ddpm_is_exactly_its_table_on_states_and_on_the_circle_between():
  for name in ("linear", "cosine", "shifted"):
    process = CHAINS[name]
    states = np.arange(process.steps + 1)
    on = process.coefficients(jnp.asarray(states / process.steps, jnp.float32))
    np.testing.assert_array_equal(on, process.table.astype(np.float32))
    alpha, sigma = process.coefficients(jnp.linspace(process.least, 1, 3 * process.steps))
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-5)


def test_shift_of_a_chain_multiplies_its_noise_once():
  plain = chains.DDPM(noise=schedules.CosineNoise(), steps=50)
  ratio = [p.table[1, 1:] / p.table[0, 1:] for p in (CHAINS["shifted"], plain)]
  np.testing.assert_allclose(ratio[0] / ratio[1], 4.0)


def test_shift_of_a_flow_is_applied_once():
  """SD3's sigma(t) = s t / (1 + (s - 1) t) on an even grid of 1000: ends in .00299, not .00893."""
  process = PROCESSES["cond_ot shifted"]
  sigma = np.asarray(process.coefficients(jnp.asarray(process.grid(1000)))[1])
  t = np.linspace(1, 0, 1001)
  np.testing.assert_allclose(sigma, 3 * t / (1 + 2 * t), atol=1e-6)
  assert sigma[-2] == pytest.approx(0.0029940, abs=1e-6)


# Any process


@pytest.mark.slow
@EVERY
def test_noise_only_grows_and_time_inverts_it(process):
  with jax.enable_x64(True):
    t = jnp.linspace(process.least, 0.999, 3000)
    alpha, sigma = process.coefficients(t)
    lam = np.log(np.asarray(alpha) / np.asarray(sigma))
    assert np.all(np.diff(lam) < 0)
    np.testing.assert_allclose(process.time(jnp.asarray(lam)), t, atol=2e-4, rtol=1e-3)
  start = process.coefficients(jnp.zeros(()))
  np.testing.assert_allclose(start, (1, 0), atol=1e-6)


@pytest.mark.slow
@EVERY
def test_rates_are_slopes(process):
  """By central differences; those of a chain hold between its states."""
  with jax.enable_x64(True):
    t, h = jnp.linspace(0.1013, 0.9017, 41), 1e-6
    ahead, behind = process.coefficients(t + h), process.coefficients(t - h)
    for rate, a, b in zip(process.rates(t), ahead, behind):
      np.testing.assert_allclose(rate, (a - b) / (2 * h), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@EVERY
def test_xt_has_the_standard_deviation_that_networks_and_sampling_start_from(process):
  x0, eps = jax.random.normal(jax.random.key(0), (2, 20_000))
  for t in (0.3, 1.0):
    t = jnp.full(20_000, t)
    xt = gaussian.corrupt(process, process.sigma_data * x0, eps, t)
    assert float(jnp.std(xt / process.std(t))) == pytest.approx(1, abs=0.03)


PAIRS = [
  (name, a, b)
  for name, process in PROCESSES.items()
  for a, b in itertools.permutations([r for r in gaussian.ROWS if legal(process, r)], 2)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_every_prediction_round_trips_through_every_other(name):
  """project(a), solve, project(b), solve: the pair (x0, eps) comes back."""
  process = PROCESSES[name]
  with jax.enable_x64(True):
    x0, eps = jax.random.normal(jax.random.key(0), (2, 16, 3))
    t = process.visit(jnp.linspace(0.2, 0.9, 16))
    xt = gaussian.corrupt(process, x0, eps, t)
    for _, a, b in (pair for pair in PAIRS if pair[0] == name):
      out = gaussian.project(process, a, x0, eps, t)
      out = gaussian.project(process, b, *gaussian.solve(process, a, out, xt, t), t)
      pair = gaussian.solve(process, b, out, xt, t)
      chex.assert_trees_all_close(pair, (x0, eps), atol=1e-6)


def test_who_predicts_what_is_known():
  """Pure noise at t = 1 leaves eps, score, and the velocity of a path that stops there, blind."""
  blind = {"eps", "score"}
  for name, process in PROCESSES.items():
    illegal = {r for r in gaussian.ROWS if r != "mu" and not legal(process, r)}
    expected = {"cond_ot": blind, "cond_ot shifted": blind, "cosine flow": blind}
    expected |= {"polynomial": blind | {"velocity"}}
    assert illegal == expected.get(name, set()), name
    assert legal(process, "mu") == (name in CHAINS)
  with pytest.raises(core.UserError, match="one of v, x0, F"):
    PROCESSES["polynomial"].check("velocity")
  with pytest.raises(core.UserError, match="did you mean 'eps'"):
    PROCESSES["vp"].check("esp")


def test_zero_snr_ends_in_pure_noise_and_refuses_what_it_cannot_solve():
  process = chains.DDPM(zero_snr=True)
  alpha, sigma = process.coefficients(jnp.array([0.001, 1.0]))
  assert (alpha[1], sigma[1]) == (0, 1)
  np.testing.assert_allclose(alpha[0], np.sqrt(1 - 1e-4), rtol=1e-6)  # the first stays
  assert all(legal(process, r) for r in ("v", "x0", "velocity", "F", "mu"))
  for prediction in ("eps", "score"):
    with pytest.raises(core.UserError, match="zero terminal"):
      process.check(prediction)


def test_grid_longer_than_the_chain_is_refused():
  with pytest.raises(core.UserError, match=r"sampler\.steps=101"):
    PROCESSES["cosine"].grid(101)


def test_score_is_the_gradient_of_the_log_density():
  """For one data point, q(xt | x0) is Gaussian, and its score is what the pair says."""
  process, t = PROCESSES["vp"], jnp.float32(0.3)
  alpha, sigma = process.coefficients(t)
  x0, eps = jnp.array([[1.0, -2.0]]), jnp.array([[0.3, 0.7]])
  log_q = lambda x: -jnp.sum((x - alpha * x0) ** 2) / (2 * sigma**2)
  chex.assert_trees_all_close(
    gaussian.project(process, "score", x0, eps, t),
    jax.grad(log_q)(gaussian.corrupt(process, x0, eps, t)),
    rtol=1e-4,
  )


def test_velocity_is_the_speed_of_xt():
  process, t = PROCESSES["sub_vp"], jnp.float32(0.4)
  x0, eps = jnp.array([[1.0, -2.0]]), jnp.array([[0.3, 0.7]])
  path = lambda t: gaussian.corrupt(process, x0, eps, t)
  chex.assert_trees_all_close(
    gaussian.project(process, "velocity", x0, eps, t), jax.jvp(path, (t,), (jnp.ones(()),))[1]
  )


def test_f_is_edms_preconditioned_network():
  """Karras et al., 2022, table 1: D = c_skip x + c_out F."""
  process, t = PROCESSES["edm"], jnp.float32(0.01)
  sigma, s = 0.8, 0.5
  c_skip, c_out = s**2 / (sigma**2 + s**2), sigma * s / np.sqrt(sigma**2 + s**2)
  f, xt = jnp.array([0.7]), jnp.array([1.3])
  x0, eps = gaussian.solve(process, "F", f, xt, t)
  np.testing.assert_allclose(x0, c_skip * xt + c_out * f, rtol=1e-5)
  np.testing.assert_allclose(x0 + sigma * eps, xt, rtol=1e-5)
  assert float(process.std(t)) == pytest.approx(np.sqrt(sigma**2 + s**2), rel=1e-5)  # 1/c_in


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_mu_is_the_posterior_mean_of_the_state_before(name):
  """By conditioning the joint Gaussian of (x_{k-1}, x_k) given x0, in float64."""
  process = CHAINS[name]
  with jax.enable_x64(True):
    states = process.coefficients(jnp.arange(process.steps + 1) / process.steps)
    alpha, sigma = (np.asarray(c) for c in states)
    x0, xt, k = 0.4, -0.9, process.steps // 2
    r = alpha[k] / alpha[k - 1]
    gain = r * sigma[k - 1] ** 2 / sigma[k] ** 2  # cov(x_{k-1}, x_k) / var(x_k)
    mean = alpha[k - 1] * x0 + gain * (xt - alpha[k] * x0)
    eps = jnp.array((xt - alpha[k] * x0) / sigma[k])
    t = jnp.array(k / process.steps)
    mu = gaussian.project(process, "mu", jnp.array(x0), eps, t)
    np.testing.assert_allclose(mu, mean, rtol=1e-5)


SDES = {  # drift(x, t), diffusion(t), as published
  "vp": (lambda x, t: -(0.1 + 19.9 * t) * x / 2, lambda t: np.sqrt(0.1 + 19.9 * t)),
  "sub_vp": (
    lambda x, t: -(0.1 + 19.9 * t) * x / 2,
    lambda t: np.sqrt((0.1 + 19.9 * t) * (1 - np.exp(-2 * (0.1 * t + 19.9 * t**2 / 2)))),
  ),
  "ve": (lambda x, t: 0 * x, lambda t: 0.01 * 5000**t * np.sqrt(2 * np.log(5000))),
}


@pytest.mark.parametrize("name", SDES)
def test_sde_marginals_by_simulation(name):
  """Euler-Maruyama from one point."""
  (drift, diffusion), rng, steps = SDES[name], np.random.default_rng(0), 2000
  x, end = np.full(20_000, 0.8), 0.6
  for t in np.arange(steps) / steps * end:
    noise = diffusion(t + end / steps / 2) * np.sqrt(end / steps)
    x = x + drift(x, t) * end / steps + noise * rng.standard_normal(len(x))
  alpha, sigma = PROCESSES[name].coefficients(jnp.float32(end))
  assert x.std() == pytest.approx(float(sigma), rel=0.02)
  assert x.mean() == pytest.approx(0.8 * float(alpha), abs=0.03 * float(sigma))


def test_ncsn_levels_are_geometric():
  sigma = PROCESSES["ncsn"].coefficients(jnp.arange(1, 21) / 20)[1]
  np.testing.assert_allclose(sigma, np.geomspace(0.01, 1.0, 20), rtol=1e-5)


# Weightings and times


def test_every_weighting_is_its_formula_whatever_is_predicted():
  process, t = PROCESSES["vp"], jnp.linspace(0.05, 0.95, 13)
  alpha, sigma = (np.asarray(c, np.float64) for c in process.coefficients(t))
  snr = (alpha / sigma) ** 2
  beta = 0.1 + 19.9 * np.asarray(t)  # g^2
  of_eps = beta / (2 * sigma**2)
  expected = {
    "snr": snr,
    "truncated_snr": np.maximum(snr, 1),
    "min_snr": np.minimum(snr, 5),
    "p2": snr / (1 + snr),
    "edm": (sigma**2 / alpha**2 + 1) / (sigma / alpha) ** 2,
    "likelihood": snr * of_eps,
    "sigmoid": snr * of_eps / (1 + np.exp(1 + np.log(snr))),
  }
  assert {"simple", *expected} == set(weightings.WEIGHTINGS)
  x0, eps, wrong = jax.random.normal(jax.random.key(0), (3, 13, 1))
  xt = gaussian.corrupt(process, x0, eps, t)
  for prediction in ("x0", "eps", "v", "velocity", "score", "F"):
    true, out = (gaussian.project(process, prediction, x, (xt - alpha[:, None] * x)
                 / sigma[:, None], t) for x in (x0, x0 + wrong))  # fmt: skip
    for name, weight in expected.items():
      given = weightings.WEIGHTINGS[name]()(process, prediction, t)[:, None] * (out - true) ** 2
      np.testing.assert_allclose(given, weight[:, None] * wrong**2, rtol=5e-3)
  np.testing.assert_array_equal(weightings.Simple()(process, "eps", t), 1)


def test_weights_are_finite_at_pure_noise():
  for name in ("cond_ot", "cosine flow"):
    for weighting in weightings.WEIGHTINGS.values():
      w = weighting()(PROCESSES[name], "velocity", jnp.array([1e-3, 1.0]))
      assert np.all(np.isfinite(w)), (name, weighting)


def test_likelihood_weight_does_not_depend_on_the_process():
  """Its integral over the same noise levels is the same: substitution of lambda for t."""
  totals = []
  for name in ("vp", "cond_ot", "edm"):
    process = PROCESSES[name]
    ends = process.time(jnp.array([3.0, -3.0]))
    t = jnp.linspace(*ends, 20_001)
    totals.append(float(jnp.trapezoid(weightings.LikelihoodWeighting().of_x0(process, t), t)))
  # snr dlambda from -3 to 3 = sinh(6)
  np.testing.assert_allclose(totals, np.sinh(6), rtol=1e-2)


def test_times_have_their_distributions():
  u = (jnp.arange(4000) + 0.5) / 4000
  flow, edm = PROCESSES["cond_ot"], PROCESSES["edm"]
  t, scale = times.LogitNormal(mean=0.5, std=0.8)(flow, u, None)
  assert stats.kstest(np.log(t / (1 - t)), "norm", (0.5, 0.8)).statistic < 0.01
  np.testing.assert_array_equal(scale, 1)
  t, _ = times.LogNormal()(edm, u, None)
  assert stats.kstest(np.log(80 * t), "norm", (-1.2, 1.2)).statistic < 0.01
  t, _ = times.UniformTimes()(flow, u, None)
  assert stats.kstest(t, "uniform").statistic < 0.01
  chain = CHAINS["cosine"]
  for kind in (times.LogitNormal(), times.LogNormal()):
    t, _ = kind(chain, u, None)
    np.testing.assert_allclose(t * 100, np.round(t * 100), atol=1e-3)


def test_no_time_of_a_bridge_is_one_of_infinite_speed():
  """Quantiles of 0 and 1 occur by rounding: (n - 1 + u)/n is 1 for u near 1."""
  bridge = continuous.CondOT(bridge=0.5)
  for kind in (times.UniformTimes(), times.LogitNormal(), times.LogNormal()):
    t = kind.at(bridge, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(t, [bridge.least, 1 - bridge.least], atol=1e-6)
    assert np.all(np.isfinite(bridge.detour(t, jnp.ones((2, 1)))))
  assert continuous.CondOT().visit(jnp.ones(())) == 1  # no bridge, no such end


@pytest.mark.slow
def test_importance_sampling_looks_where_the_loss_is_and_keeps_its_mean():
  process, sampler = CHAINS["cosine"], times.ImportanceTimes(bins=20, last=4)
  loss = lambda t: 1 + 50 * (t > 0.95)
  memory = sampler.start()
  u = (jnp.arange(200) + 0.5) / 200
  uniform = process.snap(u)
  np.testing.assert_allclose(sampler(process, u, memory)[0], uniform, atol=1e-6)
  learn = jax.jit(sampler.learn)
  for _ in range(3):
    t, _ = sampler(process, u, memory)
    memory = learn(u, loss(t), memory)
  p = sampler.probabilities(memory)
  # the last of 20 bins has the loss 51, the others 1; a thousandth stays uniform
  np.testing.assert_allclose(p[-1], 0.999 * 51 / 70 + 0.001 / 20, rtol=1e-4)
  t, scale = sampler(process, u, memory)
  assert float(jnp.mean(t > 0.95)) == pytest.approx(float(p[-1]), abs=0.01)
  assert float(jnp.mean(scale * loss(t))) == pytest.approx(float(jnp.mean(loss(uniform))), rel=0.02)
  _, scale = sampler(process, (jnp.arange(5000) + 0.5) / 5000, memory)
  assert float(jnp.mean(scale)) == pytest.approx(1, abs=0.01)
