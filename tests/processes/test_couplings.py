"""Couplings against enumeration and an independent solver; which marginals they must not change."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from genjax.processes import couplings


def batch(n, seed=0, classes=3):
  x0, eps = jax.random.normal(jax.random.key(seed), (2, n, 2))
  return x0, eps, {"label": jnp.arange(n) % classes}


def squares(a, b):
  return np.sum((np.asarray(a)[:, None] - np.asarray(b)[None]) ** 2, axis=-1)


def rows_of(part, whole):
  """Returns the index in `whole` of each row of `part`."""
  return np.argmin(squares(part, whole), axis=1)


def test_optimal_transport_is_the_best_of_all_permutations():
  x0, eps, cond = batch(6)
  c = squares(x0, eps)
  best = min(itertools.permutations(range(6)), key=lambda p: sum(c[i, j] for i, j in enumerate(p)))
  paired = couplings.OptimalTransport()(None, x0, eps, cond)
  np.testing.assert_array_equal(rows_of(paired, eps), best)


def test_optimal_transport_agrees_with_scipy_and_keeps_all_noise():
  x0, eps, cond = batch(100)
  paired = couplings.OptimalTransport()(None, x0, eps, cond)
  rows, columns = optimize.linear_sum_assignment(squares(x0, eps))
  cost = np.sum((np.asarray(x0) - np.asarray(paired)) ** 2)
  assert cost == pytest.approx(squares(x0, eps)[rows, columns].sum(), rel=1e-5)
  np.testing.assert_array_equal(np.sort(rows_of(paired, eps)), np.arange(100))


def test_sinkhorns_plan_has_its_marginals_and_is_the_entropic_optimum():
  """The optimum is P_ij = u_i K_ij v_j: log P + c/reg has rank one after centring."""
  x0, eps, _ = batch(12)
  c = couplings.cost(x0, eps)
  with jax.enable_x64(True):
    log_plan = np.asarray(couplings.plan(jnp.asarray(c, jnp.float64), 0.7, 2000))
  np.testing.assert_allclose(np.exp(log_plan).sum(1), 1 / 12, rtol=1e-6)
  np.testing.assert_allclose(np.exp(log_plan).sum(0), 1 / 12, rtol=1e-6)
  scaled = log_plan + np.asarray(c) / 0.7
  centred = scaled - scaled.mean(0) - scaled.mean(1, keepdims=True) + scaled.mean()
  np.testing.assert_allclose(centred, 0, atol=1e-5)


def test_sinkhorn_goes_from_independent_to_optimal():
  x0, eps, cond = batch(64)
  cost = lambda coupling: float(
    np.mean(np.sum((x0 - coupling(jax.random.key(1), x0, eps, cond)) ** 2, axis=1))
  )
  exact = cost(couplings.OptimalTransport())
  assert cost(couplings.Sinkhorn(reg=0.01, iterations=500)) == pytest.approx(exact, rel=0.1)
  free = float(np.mean(squares(x0, eps)))
  assert cost(couplings.Sinkhorn(reg=100.0)) == pytest.approx(free, rel=0.25)


def test_conditional_transport_permutes_within_each_label():
  x0, eps, cond = batch(30)
  paired = rows_of(couplings.ConditionalTransport()(None, x0, eps, cond), eps)
  label = np.asarray(cond["label"])
  np.testing.assert_array_equal(label[paired], label)
  for k in range(3):
    (mine,) = np.nonzero(label == k)
    c = squares(x0[mine], eps[mine])
    rows, columns = optimize.linear_sum_assignment(c)
    ours = np.sum((np.asarray(x0)[mine] - np.asarray(eps)[paired[mine]]) ** 2)
    assert ours == pytest.approx(c[rows, columns].sum(), rel=1e-5)


@pytest.mark.slow
def test_transport_skews_the_noise_of_a_condition_and_conditional_transport_does_not():
  """Two labels to the left and right: optimal pairs give each label its own half of the noise."""
  n = 400
  label = jnp.arange(n) % 2
  eps = jax.random.normal(jax.random.key(0), (n, 2))
  x0 = jnp.stack([jnp.where(label == 0, -4.0, 4.0), jnp.zeros(n)], axis=1)
  apart = {}
  for name in ("ot", "c2ot"):
    paired = couplings.COUPLINGS[name]()(None, x0, eps, {"label": label})
    apart[name] = float(paired[label == 1, 0].mean() - paired[label == 0, 0].mean())
  assert apart["ot"] > 1.4  # the two halves of a normal distribution: 2 sqrt(2/pi) = 1.6
  assert abs(apart["c2ot"]) < 0.3
  # Without a weight for the condition they are the same.
  free = couplings.ConditionalTransport(weight=0.0)(None, x0, eps, {"label": label})
  np.testing.assert_allclose(
    free, couplings.OptimalTransport()(None, x0, eps, {"label": label}), atol=1e-6
  )


def test_vectors_are_conditions_too():
  c = jnp.array([[0.0, 0.0], [3.0, 4.0]])
  np.testing.assert_allclose(couplings.apart(c), [[0, 25], [25, 0]])
  np.testing.assert_allclose(couplings.apart(jnp.array([1, 2])), [[0, 1], [1, 0]])


def test_independent_pairs_are_left_alone():
  x0, eps, cond = batch(8)
  assert couplings.Independent()(None, x0, eps, cond) is eps
