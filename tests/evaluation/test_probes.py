"""Probes, on codes for which the right answers are known."""

import numpy as np
import pytest
from scipy import stats

from genjax.evaluation import probes


def test_a_probe_finds_what_is_linear_and_nothing_else():
  rng = np.random.default_rng(0)
  code = rng.standard_normal((600, 5)) * [1, 10, 0.1, 1, 1] + 3
  linear = (code[:, 1] > 3).astype(int)
  fitted = probes.probe(code[:400], linear[:400])
  assert fitted.score(code[400:], linear[400:]) > 0.95
  chance = rng.integers(0, 2, 600)
  assert probes.probe(code[:400], chance[:400]).score(code[400:], chance[400:]) < 0.6


def test_auroc_is_the_probability_of_the_right_order():
  rng = np.random.default_rng(1)
  usual, strange = rng.normal(0, 1, 4000), rng.normal(1, 1, 4000)
  score, truth = np.concatenate([usual, strange]), np.arange(8000) >= 4000
  assert probes.auroc(score, truth) == pytest.approx(stats.norm.cdf(1 / 2**0.5), abs=0.02)
  few = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])
  assert probes.auroc(*few) == pytest.approx((1 + 0.5 + 1 + 1) / 4)  # pairs, by hand


def test_precision_and_hamming_by_hand():
  bits = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 0]])
  distance = probes.hamming(bits[:1], bits)
  np.testing.assert_array_equal(distance, [[0, 2, 1, 1]])
  same = np.array([[True, True, False, True]])
  assert probes.precision(distance, same, 1) == 1
  assert probes.precision(distance, same, 2) == 0.5
  assert probes.precision(distance, same, 3) == pytest.approx(2 / 3)


def test_psnr_of_known_noise():
  clean = np.zeros((2, 4, 4, 1))
  np.testing.assert_allclose(probes.psnr(clean, clean + 0.1), 20)
  np.testing.assert_allclose(probes.psnr(2 * clean, clean + 0.2, width=2), 20)
