"""Distances between sets against closed forms and independent, slower implementations."""

import itertools

import numpy as np
import pytest
import scipy.linalg

from genjax.evaluation import distances

RNG = np.random.default_rng(0)


def covariance(d: int) -> np.ndarray:
  a = RNG.standard_normal((d, 2 * d))
  return a @ a.T / d


def draw(mean: np.ndarray, cov: np.ndarray, n: int) -> np.ndarray:
  """Draws n points whose sample mean and unbiased covariance are exactly those given."""
  x = RNG.standard_normal((n, len(mean)))
  x -= x.mean(0)
  x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
  return mean + x @ np.linalg.cholesky(cov).T


def test_frechet_of_diagonal_gaussians_is_the_closed_form():
  a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0])
  x, y = draw(np.zeros(3), np.diag(a), 50), draw(np.array([1.0, 2.0, 2.0]), np.diag(b), 60)
  assert distances.frechet(x, y) == pytest.approx(9 + ((a**0.5 - b**0.5) ** 2).sum(), rel=1e-9)


def test_frechet_agrees_with_the_matrix_square_root():
  (a, b), mean = (covariance(6), covariance(6)), RNG.standard_normal(6)
  cross = scipy.linalg.sqrtm(a @ b)
  expected = mean @ mean + np.trace(a) + np.trace(b) - 2 * np.trace(cross).real
  x, y = draw(np.zeros(6), a, 40), draw(mean, b, 40)
  assert distances.frechet(x, y) == pytest.approx(expected, rel=1e-8)
  assert distances.frechet(y, x) == pytest.approx(expected, rel=1e-8)


def test_frechet_of_a_set_and_itself_is_zero():
  x = RNG.standard_normal((200, 20))
  assert distances.frechet(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_frechet_is_real_with_fewer_points_than_dimensions():
  x, y = RNG.standard_normal((10, 64)), np.zeros((10, 64))
  value = distances.frechet(x, y)  # the second covariance is zero, so nothing is left to cross
  assert value == pytest.approx((x.mean(0) ** 2).sum() + x.var(0, ddof=1).sum(), rel=1e-9)
  assert np.isfinite(distances.frechet(x, RNG.standard_normal((10, 64))))


def test_kid_is_the_double_loop():
  x, y = RNG.standard_normal((7, 3)), 1 + RNG.standard_normal((7, 3))
  k = lambda a, b: (a @ b / 3 + 1) ** 3
  pairs = list(itertools.permutations(range(7), 2))
  within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs) / len(pairs)
  value, _ = distances.kid(x, y)
  assert value == pytest.approx(within - 2 * np.mean([[k(a, b) for b in y] for a in x]), rel=1e-10)


def test_kid_jackknife_leaves_one_pair_out():
  x, y = RNG.standard_normal((9, 3)), 1 + RNG.standard_normal((9, 3))
  left = [distances.kid(np.delete(x, i, 0), np.delete(y, i, 0))[0] for i in range(9)]
  assert distances.kid(x, y)[1] == pytest.approx(np.sqrt(8 * np.var(left)), rel=1e-9)


def test_kid_is_unbiased_and_knows_its_error():
  pairs = RNG.standard_normal((400, 2, 40, 4))
  values, errors = np.transpose([distances.kid(x, y) for x, y in pairs])
  assert abs(values.mean()) < 4 * values.std() / 20  # 20 = sqrt(400)
  assert 0.7 < np.sqrt((errors**2).mean()) / values.std() < 2
  shifted, error = distances.kid(pairs[0, 0], pairs[0, 1] + 1)
  assert shifted > 2 * error


def naive_prdc(x: np.ndarray, y: np.ndarray, k: int) -> dict[str, float]:
  def radius(points, i):
    return sorted(np.linalg.norm(points[i] - p) for p in np.delete(points, i, 0))[k - 1]

  ball_x, ball_y = [radius(x, i) for i in range(len(x))], [radius(y, i) for i in range(len(y))]
  near = lambda a, b, r: np.linalg.norm(a - b) < r
  return {
    "precision": np.mean([any(near(a, b, r) for b, r in zip(y, ball_y)) for a in x]),
    "recall": np.mean([any(near(a, b, r) for a, r in zip(x, ball_x)) for b in y]),
    "density": np.mean([sum(near(a, b, r) for b, r in zip(y, ball_y)) / k for a in x]),
    "coverage": np.mean([any(near(a, b, r) for a in x) for b, r in zip(y, ball_y)]),
  }


@pytest.mark.parametrize("shift", [0.0, 1.0, 9.0])
def test_prdc_agrees_with_the_definition(shift):
  x, y = shift + RNG.standard_normal((30, 4)), RNG.standard_normal((25, 4))
  assert distances.prdc(x, y, 3) == pytest.approx(naive_prdc(x, y, 3))


def test_prdc_of_disjoint_and_of_equal_sets():
  x = RNG.standard_normal((30, 2))
  assert set(distances.prdc(x + 100, x).values()) == {0.0}
  same = distances.prdc(x, x)
  assert same["precision"] == same["recall"] == same["coverage"] == 1
  assert same["density"] == pytest.approx(1)  # each ball of 5 holds its centre and 4 others


def test_nearest_is_brute_force_across_blocks():
  x, y = RNG.standard_normal((distances.BLOCK + 3, 3)), RNG.standard_normal((40, 3))
  expected = [min(np.linalg.norm(a - b) for b in y) for a in x]
  np.testing.assert_allclose(distances.nearest(x, y), expected, rtol=1e-9)


def test_divergence_in_nats():
  uniform, half = np.ones(4), np.array([1, 1, 0, 0])
  assert distances.divergence(3 * uniform, uniform) == 0
  assert distances.divergence(half, uniform) == pytest.approx(np.log(2))
  assert distances.divergence(uniform, half) == np.inf


def test_wasserstein_is_the_best_permutation():
  x, y = RNG.standard_normal((6, 2)), RNG.standard_normal((6, 2))
  cost = lambda s: np.mean(((x - y[list(s)]) ** 2).sum(1))
  best = min(map(cost, itertools.permutations(range(6))))
  assert distances.wasserstein(x, y) == pytest.approx(best**0.5, rel=1e-10)


def test_diverged_points_score_nan_and_stop_nothing():
  x = RNG.standard_normal((6, 2))
  assert np.isnan(distances.wasserstein(np.where(np.eye(6)[:, :2], np.nan, x), x))


def test_wasserstein_of_a_translation_is_its_length():
  x = RNG.standard_normal((50, 3))
  move = np.array([3.0, 4.0, 12.0])
  assert distances.wasserstein(x, x + move) == pytest.approx(13)
  # Along a random direction the shift is 13 cos(angle), and E cos^2 = 1/3 in three dimensions.
  assert distances.sliced(x, x + move, 20_000) == pytest.approx(13 / 3**0.5, rel=0.02)


def test_sliced_is_exact_on_the_line_and_below_exact_elsewhere():
  x, y = RNG.standard_normal((40, 1)), RNG.standard_normal((40, 1)) + 1
  assert distances.sliced(x, y) == pytest.approx(distances.wasserstein(x, y))
  x, y = RNG.standard_normal((40, 5)), 2 * RNG.standard_normal((40, 5))
  assert distances.sliced(x, y) < distances.wasserstein(x, y)
