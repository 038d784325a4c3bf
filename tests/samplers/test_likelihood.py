"""Log-likelihoods along exact fields, whose densities are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from genjax import core
from genjax.processes import chains, continuous, schedules
from genjax.samplers import likelihood
from tests import fields

MEAN, STD = 0.7, 0.4
PROCESSES = {
  "vp": continuous.VP(),
  "sub_vp": continuous.SubVP(),
  "ve": continuous.VE(sigma_min=0.002),
  "edm": continuous.EDM(),
  "cond_ot": continuous.CondOT(),
  "cosine": continuous.CosineFlow(),
  "ddpm": chains.DDPM(noise=schedules.CosineNoise()),
  "ncsn": chains.NCSN(steps=500, sigma_min=0.002, sigma_max=50.0),
}
POINTS = core.DataSpec(shape=(2,))
PIXEL = core.DataSpec(shape=(1,), range=(-1.0, 1.0), levels=2, kind="binary")


def ends(process):
  """Returns (alpha, sigma) at the least time, and at t = 1."""
  return ([float(c) for c in process.coefficients(jnp.float32(t))] for t in (process.least, 1))


@pytest.mark.slow
@pytest.mark.parametrize("probes", [0, 1])
@pytest.mark.parametrize("name", PROCESSES)
def test_flow_density_of_gaussian_data(name, probes):
  """The flow of a Gaussian is affine; a linear field has the same trace for every probe."""
  process, x = PROCESSES[name], jnp.linspace(-0.8, 1.9, 12).reshape(6, 2)
  flow, field = likelihood.Flow(probes=probes, steps=48), fields.gaussian(process, MEAN, STD)
  log_p = jax.jit(lambda x: flow.log_prob(field, process, x, jax.random.key(0)))(x)
  (alpha, sigma), (alpha_1, sigma_1) = ends(process)
  grown = np.hypot(alpha_1 * STD, sigma_1) / np.hypot(alpha * STD, sigma)
  end = alpha_1 * MEAN + grown * (np.asarray(x) - alpha * MEAN)
  exact = stats.norm(0, float(process.std(1.0))).logpdf(end) + np.log(grown)
  np.testing.assert_allclose(log_p, exact.sum(1), atol=3e-5)


@pytest.mark.slow
def test_flow_density_converges_in_fourth_order():
  with jax.enable_x64(True):
    process, x = continuous.EDM(sigma_min=0.01), jnp.linspace(-0.8, 1.9, 4).reshape(2, 2)
    two = lambda xt, a, s: (
      jnp.tanh(xt * a / (s**2 + 0.04 * a**2)) * s**2 / (s**2 + 0.04 * a**2)
      + (xt * 0.04 * a / (s**2 + 0.04 * a**2))
    )  # modes at +-1, each of standard deviation 0.2
    value = lambda n: np.asarray(
      likelihood.Flow(probes=0, steps=n).log_prob(fields.of(process, two), process, x, None)
    )
    best = value(640)
    order = np.log2(np.abs(value(40) - best).max() / np.abs(value(80) - best).max())
    assert order == pytest.approx(4, abs=0.3)
    noisy = np.hypot(0.2, 0.01)
    exact = np.log(0.5 * sum(stats.norm(m, noisy).pdf(np.asarray(x)) for m in (-1, 1))).sum(1)
    np.testing.assert_allclose(best, exact, atol=2e-4)


def test_hutchinsons_trace_is_unbiased():
  process, turn = continuous.VP(), jnp.array([[0.3, 0.8], [-0.1, 0.2]])
  field = fields.of(process, lambda xt, a, s: jnp.tanh(xt @ turn))
  x = jnp.broadcast_to(jnp.array([0.4, -0.2]), (4000, 2))
  density = lambda probes: jax.jit(
    lambda x: likelihood.Flow(probes=probes, steps=12).log_prob(
      field, process, x, jax.random.key(1)
    )
  )(x)
  exact, guess = density(0)[0], density(1)
  assert jnp.std(guess) > 0.01
  assert float(jnp.mean(guess)) == pytest.approx(float(exact), abs=4 * float(jnp.std(guess)) / 60)
  assert jnp.std(density(4)) == pytest.approx(float(jnp.std(guess)) / 2, rel=0.1)


@pytest.mark.slow
def test_flow_density_is_differentiable():
  process, x = continuous.VP(), jnp.array([[0.2, 1.0]])
  gain = lambda w: lambda xt, a, s: w * fields.denoiser(MEAN, STD)(xt, a, s)
  log_p = lambda w: likelihood.Flow(steps=8).log_prob(
    fields.of(process, gain(w)), process, x, jax.random.key(0)
  )[0]
  slope = (log_p(1.01) - log_p(0.99)) / 0.02
  assert float(jax.grad(log_p)(1.0)) == pytest.approx(float(slope), rel=1e-2)


OFTEN = ("ddpm", "vp")
CASES = [pytest.param(n, marks=() if n in OFTEN else pytest.mark.slow) for n in PROCESSES]


@pytest.mark.parametrize("name", CASES)
def test_bound_of_the_exact_field_is_known(name):
  """In continuous time its mean is the entropy of x at the least time; a chain's is a sum."""
  process, n = PROCESSES[name], 20_000
  x = MEAN + STD * jax.random.normal(jax.random.key(5), (n, 2))
  bound = likelihood.Bound(terms=32)
  parts = jax.jit(
    lambda x, shift: bound.parts(
      fields.of(process, lambda *args: fields.denoiser(MEAN, STD)(*args) + shift),
      process,
      x,
      jax.random.key(0),
      POINTS,
    )
  )
  (alpha, sigma), (alpha_1, sigma_1) = ends(process)
  prior = (MEAN**2 + STD**2) * alpha_1**2 + sigma_1**2
  prior = (
    prior / float(process.std(1.0)) ** 2 - 1 - np.log(sigma_1**2 / float(process.std(1.0)) ** 2)
  ) / 2
  snr, last = (alpha / sigma) ** 2, (alpha_1 / sigma_1) ** 2
  missed = lambda snr: STD**2 / (STD**2 * snr + 1)  # the posterior variance of x0
  diffusion = np.log((STD**2 * snr + 1) / (STD**2 * last + 1)) / 2
  if isinstance(process, chains.Chain):
    alpha, sigma = process.coefficients(jnp.arange(1, process.steps + 1) / process.steps)
    states = np.asarray(alpha / sigma, np.float64) ** 2
    diffusion = np.sum((states[:-1] - states[1:]) / 2 * missed(states[1:]))
  expected = {
    "prior": prior,
    "reconstruction": (np.log(2 * np.pi * np.e / snr)) / 2,
    "diffusion": diffusion,
  }
  for term, value in parts(x, 0.0).items():
    se = float(jnp.std(value)) / n**0.5
    assert -float(jnp.mean(value)) == pytest.approx(2 * expected[term], abs=4 * se + 1e-5), term
  assert jnp.mean(parts(x, 0.05)["diffusion"]) < jnp.mean(parts(x, 0.0)["diffusion"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "edm", "cond_ot", "ddpm"])
def test_bound_of_a_coin_is_its_entropy(name):
  """One pixel of two levels, up with probability 0.8: 0.5004 nats, by the level's likelihood."""
  process, up = PROCESSES[name], 0.8
  denoise = lambda xt, a, s: jnp.tanh(a * xt / s**2 + np.log(up / (1 - up)) / 2)
  x = jnp.where(jnp.arange(20_000) < up * 20_000, 1.0, -1.0)[:, None]
  parts = jax.jit(
    lambda x: likelihood.Bound(terms=32).parts(
      fields.of(process, denoise), process, x, jax.random.key(0), PIXEL
    )
  )(x)
  entropy = -(up * np.log(up) + (1 - up) * np.log(1 - up))
  assert -np.mean(sum(parts.values())) == pytest.approx(entropy, abs=0.02)

  # The reconstruction costs log(1 + exp(-2 r (r + n))) with r = alpha/sigma at the first noise and
  # n ~ N(0, 1). The chain begins at its own first state, the others where levels are still clear.
  (alpha, sigma), _ = ends(process)
  clear = 1 / (likelihood.CLEAR * PIXEL.level_width)
  r = alpha / sigma if isinstance(process, chains.Chain) else min(alpha / sigma, clear)
  n = np.linspace(-10, 10, 100_001)
  cost = np.logaddexp(0, -2 * r * (r + n))
  mean, square = (np.trapezoid(c * stats.norm.pdf(n), n) for c in (cost, cost**2))
  se = np.sqrt((square - mean**2) / len(x))
  assert -np.mean(parts["reconstruction"]) == pytest.approx(mean, abs=3 * se + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.1, 1.8, 3.0])  # in widths of a level: near, near, all
def test_reconstruction_is_the_share_of_a_level_among_all(noise):
  """With its gradient by the noise, at the ends of the range too."""
  spec = core.DataSpec(shape=(40,), range=(-1.0, 1.0), levels=64)
  levels = np.linspace(-1, 1, 64)
  x = np.concatenate([levels[:20], levels[-20:]])
  n = np.random.default_rng(0).standard_normal(40)

  def by_hand(phi):
    y = np.cos(phi) * x + np.sin(phi) * n
    score = lambda level: -((y - np.cos(phi) * level) ** 2) / (2 * np.sin(phi) ** 2)
    return score(x) - special.logsumexp([score(level) for level in levels], axis=0)

  def ours(phi):
    y = jnp.cos(phi) * jnp.float32(x) + jnp.sin(phi) * jnp.float32(n)
    return likelihood._reconstruction(jnp.float32(x), y, phi, spec)

  phi = np.arctan(noise * spec.level_width)
  np.testing.assert_allclose(ours(phi), by_hand(phi), atol=2e-4)
  slope = (by_hand(phi + 1e-6).sum() - by_hand(phi - 1e-6).sum()) / 2e-6
  value = jax.grad(lambda phi: jnp.sum(ours(phi)))(phi)
  assert float(value) == pytest.approx(slope, rel=2e-3, abs=1e-2)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_bound_on_levels_does_not_pay_for_noise_that_hides_nothing():
  """A network that errs only below a sixth of a level's width has an exact one's bound."""
  exact = lambda xt, a, s: jnp.tanh(a * xt / s**2)
  blind = lambda xt, a, s: jnp.where(s / a < 2 / 6 - 1e-4, 0.0, exact(xt, a, s))
  x = jnp.array([[1.0], [-1.0]] * 50)
  key = jax.random.key(0)
  parts = [
    likelihood.Bound().parts(fields.of(PROCESSES["ve"], f), PROCESSES["ve"], x, key, PIXEL)
    for f in (exact, blind)
  ]
  np.testing.assert_array_equal(*(p["diffusion"] for p in parts))
  chain = PROCESSES["ncsn"]  # has its states, and pays
  paid = [
    np.mean(likelihood.Bound().parts(fields.of(chain, f), chain, x, key, PIXEL)["diffusion"])
    for f in (exact, blind)
  ]
  assert paid[1] < paid[0] - 100


def test_states_of_a_chain_are_summed_exactly():
  """As many terms as states, none twice: the sum over k of the weights of (3), by hand."""
  process = chains.DDPM(steps=12, noise=schedules.LinearNoise(first=0.01, last=0.3))
  x = jnp.array([[0.3, -0.2]])
  field = fields.of(process, lambda xt, a, s: 0.0 * xt)  # x0_hat = 0: every |x0|^2 is known
  parts = likelihood.Bound(terms=11).parts(field, process, x, jax.random.key(0), POINTS)
  alpha, sigma = process.table[:, 1:]
  snr = (alpha / sigma) ** 2
  expected = np.sum((snr[:-1] - snr[1:]) / 2) * float(jnp.sum(x**2))
  assert float(parts["diffusion"][0]) == pytest.approx(-expected, rel=1e-4)


def test_dequantization_stays_within_a_level():
  spec = core.DataSpec(shape=(2, 2, 1), range=(-1.0, 1.0), levels=17, kind="image")
  x = jnp.full((500, 2, 2, 1), 0.25)
  y, nats = likelihood.dequantize(x, jax.random.key(0), spec)
  assert float(jnp.max(jnp.abs(y - x))) <= 1 / 16 and float(jnp.std(y)) > 0.03
  assert nats == pytest.approx(4 * np.log(2 / 16))
