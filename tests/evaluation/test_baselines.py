"""Baselines (the simplest models of images) against their definitions."""

import numpy as np
import pytest
from scipy import stats

from genjax.data.sources import digits
from genjax.evaluation import baselines


def test_independent_pixels_by_hand():
  train = np.array([[0, 2], [0, 1], [1, 2]], np.uint8)
  held = np.array([[0, 2], [2, 0]], np.uint8)
  third = 1 / 3  # of the one example that is added
  p = [(2 + third) / 4 * (2 + third) / 4, third / 4 * third / 4]
  np.testing.assert_allclose(baselines.independent(train, held, 3), -np.log(p))
  total = baselines.independent(train, np.stack(np.mgrid[:3, :3], -1).reshape(-1, 2), 3)
  assert np.exp(-total).sum() == pytest.approx(1)


def test_gaussian_is_the_expectation_over_the_noise():
  rng = np.random.default_rng(0)
  train = rng.integers(0, 9, (400, 3))
  train[:, 2] = train[:, 0] // 2
  held = train[:2]
  covariance = np.cov(train.T) + np.eye(3) / 12
  noisy = held[:, None] + rng.random((2, 200_000, 3)) - 0.5
  expected = -stats.multivariate_normal(train.mean(0), covariance).logpdf(noisy).mean(1)
  np.testing.assert_allclose(baselines.gaussian(train, held), expected, rtol=2e-3)


def test_digits_have_the_known_floors():
  """Uniform: log2(17). The others were measured on another split, and agree to a few percent."""
  splits = digits.Digits().load().splits
  bits = baselines.bits(splits["train"]["x"][:], splits["test"]["x"][:], 17)
  means = {name: value.mean() for name, value in bits.items()}
  assert means["uniform"] == pytest.approx(4.0875, abs=1e-4)
  assert means["independent"] == pytest.approx(2.396, abs=0.08)
  assert means["gaussian"] == pytest.approx(2.964, abs=0.15)
