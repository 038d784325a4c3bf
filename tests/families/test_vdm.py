"""The variational diffusion model: its bound, and the loss that trains each parameter group."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.families.diffusion import vdm
from genjax.networks import mlp
from genjax.processes import couplings, learned
from genjax.samplers import grids, solvers

PIXELS = core.DataSpec(shape=(4,), range=(-1.0, 1.0), levels=17)


def small(**kwargs):
  given = dict(process=learned.Learned(gamma_min=-8.0, gamma_max=4.0)) | kwargs
  return vdm.VDM(spec=PIXELS, network=mlp.MLP(widths=(16,)), **given)


def start(model, n=256):
  x = jnp.round(jax.random.uniform(jax.random.key(1), (n, 4), minval=0, maxval=16)) / 8 - 1
  return *model.init(jax.random.key(0), {"x": x}, {}), {"x": x}


def test_the_schedule_rises_between_its_ends_whatever_its_weights():
  process = learned.Learned(gamma_min=-8.0, gamma_max=4.0)
  ends, shape = process.weights()
  t = jnp.linspace(process.least, 1, 500)
  even = process.gamma(t)
  np.testing.assert_allclose(even, np.linspace(-8, 4, 500), atol=0.3)  # nearly linear at first
  shape = jax.tree.map(lambda a: a + jax.random.normal(jax.random.key(2), a.shape), shape)
  other = process.bound(ends, shape)
  gamma = other.gamma(t)
  assert np.all(np.diff(gamma) > 0) and np.abs(gamma - even).max() > 0.1
  np.testing.assert_allclose(gamma[jnp.array([0, -1])], [-8, 4], atol=1e-4)
  np.testing.assert_allclose(other.time(-gamma / 2), t, atol=2e-3)


@pytest.mark.slow
def test_loss_is_the_likelihoods_bound():
  """In bits per dimension; both estimate the same integral, over t and over the circle."""
  model = small()
  params, buffers, batch = start(model, 4000)
  loss, (_, logs) = model.loss(params, buffers, batch, jax.random.key(2), 0)
  parts = model.bound(params, buffers, batch, jax.random.key(3))
  bits = {name: -float(jnp.mean(v)) / (4 * np.log(2)) for name, v in parts.items()}
  for name, value in bits.items():
    assert float(logs[name]) == pytest.approx(value, rel=0.05, abs=6e-3), name
  assert float(loss) == pytest.approx(sum(bits.values()), rel=0.05)


@pytest.mark.slow
def test_the_bounds_mean_does_not_depend_on_the_shape():
  model = small()
  params, buffers, batch = start(model, 8000)
  bent = {**params, "schedule": {**params["schedule"], "a": params["schedule"]["a"] + 8.0}}
  losses = [float(model.loss(p, buffers, batch, jax.random.key(2), 0)[0]) for p in (params, bent)]
  assert losses[0] == pytest.approx(losses[1], rel=0.03)


@pytest.mark.slow
def test_learning_the_shape_lowers_the_variance():
  model = small()
  params, buffers, batch = start(model)
  shape, square = (
    params["schedule"],
    jax.jit(
      jax.value_and_grad(
        lambda s, key: model.variance({**params, "schedule": s}, buffers, batch, key, 0)[0]
      )
    ),
  )
  keys = jax.random.split(jax.random.key(4), 150)
  before = np.mean([square(shape, key)[0] for key in keys[:20]])
  for key in keys:
    slope = square(shape, key)[1]
    shape = jax.tree.map(lambda a, g: a - 0.02 * jnp.sign(g), shape, slope)
  assert np.mean([square(shape, key)[0] for key in keys[:20]]) < 0.95 * before


def test_samples_follow_the_schedule_that_was_learnt():
  model = small(sampler=solvers.DDIM(steps=5))
  params, buffers, _ = start(model)
  keys = jax.random.split(jax.random.key(1), 3)
  draw = jax.jit(model.sample)(params, buffers, keys, {})
  moved = {**params, "ends": {"gamma": params["ends"]["gamma"] + jnp.array([0.0, -3.0])}}
  other = jax.jit(model.sample)(moved, buffers, keys, {})
  with pytest.raises(AssertionError):
    chex.assert_trees_all_close(draw, other, atol=1e-3)


def test_what_the_bound_fixes_is_refused():
  for kwargs, message in [
    (dict(coupling=couplings.OptimalTransport()), "no choice of coupling"),
    (dict(uncertainty=8), "no choice of uncertainty"),
    (dict(reflow=True), "no choice of reflow"),
    (dict(reflow=True, sampler=solvers.DDIM(steps=5)), "no choice of reflow"),
    (dict(sampler=solvers.DDIM(grid=grids.LogSNR())), "must be 'uniform'"),
    (dict(process=vdm.diffusion.Diffusion.process), "must be 'learned'"),
  ]:
    with pytest.raises(core.UserError, match=message):
      small(**kwargs)
