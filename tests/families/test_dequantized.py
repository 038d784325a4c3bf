"""Variational dequantization against densities whose probabilities are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from genjax import core
from genjax.distributions import sources
from genjax.families.diffusion import dequantized
from genjax.networks import mlp
from genjax.processes import continuous
from genjax.samplers import singlestep
from tests import fields

SPEC = core.DataSpec(shape=(2,), range=(-1.0, 1.0), levels=5)  # 1/2 apart
NARROW = 0.15  # standard deviation of the density


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normal(dequantized.Dequantized):
  """A model of p = N(0, NARROW^2 I), by its exact denoiser."""

  def _believed(self, params, buffers, batch):
    return fields.gaussian(self.process, 0.0, NARROW)


@pytest.fixture(scope="module")
def model():
  net = mlp.MLP(widths=(32,))
  process = continuous.VP(beta_min=1e-3)
  wide = mlp.MLP(widths=(32,), out=4)
  return Normal(spec=SPEC, network=net, dequantizer=wide, process=process, prediction="v", probes=0)


@pytest.fixture(scope="module")
def start(model):
  x = jnp.array([[0.0, 0.0], [0.5, 0.0], [0.0, -0.5]] * 100)
  return {"x": x}, *model.init(jax.random.key(0), {"x": x}, {})


def test_q_is_a_density_on_the_level(model, start):
  """E_q[1/q] is the volume of its support, whatever the network says."""
  batch, params, buffers = start
  many = {"x": jnp.tile(batch["x"], (100, 1))}
  y, minus_log_q, _ = jax.jit(model.noisy)(params, buffers, many, jax.random.key(1))
  assert float(jnp.max(jnp.abs(y - many["x"]))) <= 0.25 + 1e-6
  assert float(jnp.std(minus_log_q)) > 0.05  # not uniform
  assert float(jnp.mean(jnp.exp(minus_log_q))) == pytest.approx(0.25, rel=0.02)


def test_uniform_noise_where_the_network_says_nothing(model, start):
  batch, params, buffers = start
  zero = {**params, "dequantizer": jax.tree.map(jnp.zeros_like, params["dequantizer"])}
  y, minus_log_q, _ = model.noisy(zero, buffers, batch, jax.random.key(1))
  np.testing.assert_allclose(minus_log_q, 2 * np.log(0.5), atol=1e-5)
  assert stats.kstest(np.ravel(y - batch["x"]), stats.uniform(-0.25, 0.5).cdf).pvalue > 0.01


@pytest.mark.slow
def test_learnt_noise_tightens_the_bound_and_never_breaks_it(model, start):
  """(1) with uniform noise, with what is learnt, and log P(x) itself."""
  batch, params, buffers = start
  tx = optax.adam(1e-2)

  @jax.jit
  def step(carry, key):
    own, state = carry
    loss = lambda own: model.gap({**params, "dequantizer": own}, buffers, batch, key, 0)[0]
    updates, state = tx.update(jax.grad(loss)(own), state)
    return (optax.apply_updates(own, updates), state), None

  own = params["dequantizer"]
  (own, _), _ = jax.lax.scan(step, (own, tx.init(own)), jax.random.split(jax.random.key(2), 1500))
  cdf = stats.norm(0, NARROW).cdf
  x = np.asarray(batch["x"])
  exact = np.log(cdf(x + 0.25) - cdf(x - 0.25)).sum(1).mean()
  keys = jax.random.split(jax.random.key(3), 20)
  mean = lambda f, p: float(np.mean(jax.lax.map(lambda k: f(p, buffers, batch, k), keys)))
  uniform = mean(model.flow_log_prob, params)
  learnt = mean(model.dequantized_log_prob, {**params, "dequantizer": own})
  assert uniform < exact - 0.5
  assert exact - 0.1 < learnt < exact + 0.01


def test_the_denoiser_is_trained_as_without(model):
  plain, own = (o.trains for o in model.objectives)
  assert (plain, own) == (("denoiser",), ("dequantizer",))
  assert [model.objectives[1].due(k) for k in range(4)] == [False, False, False, True]
  assert {"flow", "elbo", "flow-dequantized"} == set(model.likelihoods)


def test_another_source_than_the_normal_one_has_no_likelihood(model):
  flow = dict(process=continuous.CondOT(), sampler=singlestep.Euler(steps=2))
  other = dataclasses.replace(model, source=sources.EightGaussians(), **flow)
  assert other.likelihoods == {}


def test_data_without_levels_are_refused(model):
  with pytest.raises(core.UserError, match="no levels"):
    dataclasses.replace(model, spec=dataclasses.replace(SPEC, levels=None))
