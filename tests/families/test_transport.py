"""Gaussian optimal transport: moments, symmetry, optimality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from genjax import core
from genjax.families.classical import transport

RNG = np.random.default_rng(0)
SPEC = core.DataSpec(shape=(3,)).beside(y=core.Field(shape=(3,), paired=False))
X = RNG.normal(size=(400, 3)) @ RNG.normal(size=(3, 3)) + [1, 2, 3]
Y = RNG.normal(size=(400, 3)) @ RNG.normal(size=(3, 3)) - 1


def trained(batches=4):
  """Returns (model, params, buffers) after one pass over all points."""
  model = transport.GaussianTransport(spec=SPEC)
  parts = [{"x": a, "y": b} for a, b in zip(np.split(X, batches), np.split(Y, batches))]
  parts = [jax.tree.map(jnp.float32, part) for part in parts]
  params, buffers = model.init(None, parts[0], {})
  for step, part in enumerate(parts):
    params, buffers, logs = model.refresh(params, buffers, part, None, jnp.float32(step))
  assert np.isfinite(logs["transport/moved"])
  return model, params, buffers


def test_samples_have_the_moments_of_x():
  model, params, buffers = trained()
  x = np.asarray(model.sample(params, buffers, None, {"y": jnp.float32(Y)}), np.float64)
  np.testing.assert_allclose(x.mean(0), X.mean(0), atol=1e-3)
  np.testing.assert_allclose(np.cov(x.T), np.cov(X.T), atol=0.01 * np.abs(np.cov(X.T)).max())


def test_the_gain_is_that_of_square_roots_and_symmetric():
  x_cov, y_cov = np.cov(X.T), np.cov(Y.T)
  gain = np.asarray(transport.gain(jnp.float32(x_cov), jnp.float32(y_cov)))
  root = linalg.sqrtm(y_cov)
  expected = linalg.inv(root) @ linalg.sqrtm(root @ x_cov @ root) @ linalg.inv(root)
  np.testing.assert_allclose(gain, expected.real, rtol=2e-3, atol=2e-3)
  np.testing.assert_allclose(gain, gain.T, atol=1e-4)
  assert np.linalg.eigvalsh(gain).min() > 0


def test_no_map_with_the_same_moments_moves_less():
  """The mean square distance is the Bures-Wasserstein one, and a rotated map moves more."""
  x_cov, y_cov = np.cov(X.T), np.cov(Y.T)
  gain = np.asarray(transport.gain(jnp.float32(x_cov), jnp.float32(y_cov)), np.float64)
  moved = lambda a: np.trace((a - np.eye(3)) @ y_cov @ (a - np.eye(3)).T)
  root = linalg.sqrtm(x_cov)
  bures = np.trace(x_cov) + np.trace(y_cov) - 2 * np.trace(linalg.sqrtm(root @ y_cov @ root)).real
  assert moved(gain) == pytest.approx(bures, rel=1e-3)
  turn = linalg.expm(np.array([[0, 0.3, 0], [-0.3, 0, 0.1], [0, -0.1, 0]]))
  other = root.real @ turn @ linalg.inv(root.real) @ gain
  np.testing.assert_allclose(other @ y_cov @ other.T, x_cov, rtol=5e-3, atol=5e-3)
  assert moved(other) > moved(gain)


def test_what_has_no_second_domain_is_refused():
  with pytest.raises(core.UserError, match="use data 'domains'"):
    transport.GaussianTransport(spec=core.DataSpec(shape=(3,)))
  with pytest.raises(core.UserError, match="not as large as x"):
    transport.GaussianTransport(spec=SPEC.beside(y=core.Field(shape=(2,))))
