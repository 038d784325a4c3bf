"""Gaussian mixtures by expectation maximisation."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import mixture as sklearn_mixture

from genjax import core
from genjax.data.sources import toys
from genjax.families.classical import mixture

PLANE = core.DataSpec(shape=(2,))


def moons(n=500):
  return {"x": jnp.asarray(toys.Toy(n=n).load().splits["train"]["x"][:n])}


def em(model, batch, steps):
  params, buffers = model.init(jax.random.key(0), batch, {})
  nats = []
  for step in range(steps):
    params, buffers, logs = jax.jit(model.refresh)(params, buffers, batch, jax.random.key(1), step)
    nats.append(float(logs["mixture/nats"]))
  return params, buffers, nats


def test_em_is_scikit_learns():
  batch = moons()
  model = mixture.GaussianMixture(spec=PLANE, components=3, floor=1e-6)
  start, _ = model.init(jax.random.key(0), batch, {})
  params, _, _ = em(model, batch, 5)
  chol = np.asarray(start["mixture"]["chol"], np.float64)
  oracle = sklearn_mixture.GaussianMixture(
    3, reg_covar=1e-6, max_iter=5, tol=0, weights_init=np.full(3, 1 / 3),
    means_init=np.asarray(start["mixture"]["mu"], np.float64),
    precisions_init=np.linalg.inv(chol @ chol.swapaxes(1, 2)),
  )  # fmt: skip
  with pytest.warns(match="did not converge"):
    oracle.fit(np.asarray(batch["x"], np.float64))
  own = params["mixture"]
  np.testing.assert_allclose(jnp.exp(own["log_pi"]), oracle.weights_, atol=1e-4)
  np.testing.assert_allclose(own["mu"], oracle.means_, atol=1e-3)
  np.testing.assert_allclose(own["chol"] @ own["chol"].mT, oracle.covariances_, atol=1e-3)
  log_p = model.log_prob(params, {}, batch, None)
  np.testing.assert_allclose(log_p, oracle.score_samples(np.asarray(batch["x"])), atol=1e-2)


@pytest.mark.slow
def test_em_never_lowers_the_likelihood():
  _, _, nats = em(mixture.GaussianMixture(spec=PLANE, components=8, floor=1e-6), moons(), 60)
  assert np.all(np.diff(nats) < 1e-5) and nats[0] - nats[-1] > 0.5


def test_stepwise_em_with_power_zero_is_em_and_a_loaded_mixture_goes_on():
  batch = moons()
  model = mixture.GaussianMixture(spec=PLANE, components=3)
  params, buffers, _ = em(model, batch, 3)
  _, loaded = model.init(jax.random.key(5), batch, {"mixture": (params["mixture"], {})})
  # Equation (5) backwards, the floor aside.
  chex.assert_trees_all_close(loaded, buffers, atol=1e-3)
  stepwise = dataclasses.replace(model, power=0.6)
  few, none = {"x": batch["x"][:3]}, jax.tree.map(jnp.zeros_like, loaded["statistics"])
  after = lambda buffers: stepwise.refresh(params, buffers, few, None, 0)[1]["statistics"]
  kept = jax.tree.map(jnp.subtract, after(loaded), after(loaded | {"statistics": none}))
  share = 1 - 2**-0.6
  chex.assert_trees_all_close(
    kept, jax.tree.map(lambda t: share * t, loaded["statistics"]), atol=1e-5
  )


@pytest.mark.slow
def test_em_is_the_same_far_from_the_origin():
  model = mixture.GaussianMixture(spec=PLANE, components=3)
  _, _, here = em(model, moons(), 10)
  _, _, there = em(model, {"x": moons()["x"] + 300}, 10)
  np.testing.assert_allclose(there, here, atol=2e-3)


def test_mixture_samples_have_its_moments():
  model = mixture.GaussianMixture(spec=PLANE, components=2)
  chol = np.array([[[1.0, 0], [0.5, 0.3]], [[0.2, 0], [0, 0.7]]])
  pi, mu = np.array([0.3, 0.7]), np.array([[1.0, 2], [-3, 0]])
  params = {"mixture": {"log_pi": jnp.log(pi), "mu": jnp.asarray(mu), "chol": jnp.asarray(chol)}}
  x = np.asarray(model.sample(params, {}, jax.random.split(jax.random.key(0), 20_000), {}))
  mean = pi @ mu
  cov = np.einsum("k,kij->ij", pi, chol @ chol.swapaxes(1, 2)) + (pi[:, None] * mu).T @ mu
  np.testing.assert_allclose(x.mean(0), mean, atol=0.06)
  np.testing.assert_allclose(np.cov(x.T), cov - np.outer(mean, mean), atol=0.12)


# RBM
