"""Restricted Boltzmann machines so small that all states can be enumerated."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.data.sources import bars
from genjax.families.energy import rbm

BARS = bars.Bars(size=2, kind="bars").load().spec


def small_rbm(hidden=4):
  model = rbm.RBM(spec=BARS, hidden=hidden, chains=4000, sweeps=60)
  draw = np.random.default_rng(0).normal
  weights = rbm.Weights(*(jnp.asarray(draw(size=s), jnp.float32) for s in [(4, hidden), 4, hidden]))
  return model, {"rbm": weights}


def states(n):
  return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


def joint(params):
  """Returns p(v, h) over all 2^4 x 2^hidden states, in float64.

  The energy is -b.v - c.h - v W h.
  """
  w, b, c = (np.asarray(a, np.float64) for a in params["rbm"])
  v, h = states(4), states(len(c))
  p = np.exp((v @ b)[:, None] + h @ c + v @ w @ h.T)
  return p / p.sum()


@pytest.mark.parametrize("hidden", [3, 14])
def test_rbm_likelihood_is_the_enumerated_marginal(hidden):
  model, params = small_rbm(hidden)
  v = {"x": states(4).reshape(-1, *BARS.shape).astype(np.float32)}
  log_p = model.log_prob(params, {}, v, None)
  np.testing.assert_allclose(np.exp(log_p), joint(params).sum(1), rtol=1e-4)


def test_rbm_pseudo_likelihood_is_the_sum_of_conditionals():
  model, params = small_rbm()
  p, v = joint(params).sum(1), states(4)
  index = lambda v: (v @ 2 ** np.arange(4)).astype(int)
  expected = 0
  for i in range(4):
    flipped = v.copy()
    flipped[:, i] = 1 - flipped[:, i]
    expected = expected + np.log(p / (p + p[index(flipped)]))
  batch = {"x": v.reshape(-1, *BARS.shape).astype(np.float32)}
  np.testing.assert_allclose(model.pseudo_log_prob(params, {}, batch, None), expected, atol=1e-4)


def test_rbm_samples_follow_the_enumerated_distribution():
  model, params = small_rbm()
  x = model.sample(params, {}, jax.random.split(jax.random.key(0), 8000), {})
  counts = np.bincount((np.asarray(x).reshape(-1, 4) @ 2 ** np.arange(4)).astype(int), minlength=16)
  assert np.abs(counts / 8000 - joint(params).sum(1)).sum() < 0.05  # total variation, twice


@pytest.mark.slow
def test_rbm_gradient_is_that_of_the_likelihood_once_the_chains_have_mixed():
  """mean F(data) - mean F(chain) against autodiff through the enumerated log Z."""
  model, params = small_rbm()
  batch = {"x": states(4).reshape(-1, *BARS.shape).astype(np.float32)}
  model = rbm.RBM(spec=BARS, hidden=4, chains=20_000, gibbs=30)
  _, buffers = model.init(jax.random.key(0), batch, {})
  loss = lambda p: model.loss(p, buffers, batch, jax.random.key(1), 0)[0]
  exact = lambda p: -jnp.mean(model.log_prob(p, {}, batch, None))
  chex.assert_trees_all_close(jax.grad(loss)(params), jax.grad(exact)(params), atol=0.02)


def test_rbm_refuses_grey_levels():
  with pytest.raises(core.UserError, match="binary"):
    rbm.RBM(spec=core.DataSpec(shape=(4,), range=(-1.0, 1.0), levels=256))
