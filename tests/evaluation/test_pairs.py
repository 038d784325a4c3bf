"""Metrics that compare samples with what was asked for."""

import types

import numpy as np
import pytest

from genjax import core
from genjax.data import pipeline, tasks
from genjax.data.sources import fake, toys
from genjax.evaluation import pairs


class Told:
  """A run whose samples are known: what `sample` makes of the true x.

  task, conditions: the fields beside x, and those that the model is told.
  """

  def __init__(self, source, task, conditions, sample, num=30):
    data = source.load()
    self.data = data._replace(spec=data.spec.beside(**task.fields(data.spec)))
    self.spec, self.num, self.split = self.data.spec, num, "test"
    self.batches = pipeline.Pipeline(self.data, source, task=task)
    self.model = types.SimpleNamespace(conditions=conditions)
    self.sample = sample

  def batch(self, split, n):
    return self.batches.examples(split, np.arange(n))

  def samples(self, n):
    stored = {k: v[:n] for k, v in self.data.splits[self.split].items()}
    return {**stored, "x": self.sample(stored["x"])}


def test_decibels_of_a_known_error():
  spec = core.DataSpec(shape=(2, 2, 1), range=(-1.0, 1.0))
  truth = np.zeros((3, 2, 2, 1), np.float32)
  np.testing.assert_allclose(pairs.decibels(truth + 0.2, truth, spec), 20, atol=1e-4)  # 0.1 of 1
  np.testing.assert_allclose(pairs.decibels(truth, truth, spec), 100)


def test_psnr_of_shifted_pictures():
  """One grey level off: 20 log10(255)."""
  source = fake.Fake(shape=(4, 4, 1), n=60)
  shift = lambda x: np.where(x < 255, x + 1, x - 1).astype(np.uint8)
  run = Told(source, tasks.SuperResolution(), ("image",), shift)
  values = pairs.psnr(run)
  assert values["psnr"] == pytest.approx(20 * np.log10(255), abs=1e-3) and values["psnr/n"] == 30
  assert values["psnr/mean"] > values["psnr/nearest"] * 0.5 and "psnr/bicubic" in values
  low = run.batch("test", 30)["image"].repeat(2, 1).repeat(2, 2)
  nearest = pairs.decibels(low, run.batch("test", 30)["x"], run.spec).mean()
  assert values["psnr/nearest"] == pytest.approx(nearest, abs=1e-4)


def test_heard_counts_samples_where_the_words_say():
  source = toys.Toy(words=True, n=2000)
  right = Told(source, tasks.Nothing(), ("text",), lambda x: x, num=200)
  # sets.samples are in order, held ones shuffled: both are examples with their own words
  assert pairs.heard(right)["heard/text"] > 0.97
  mirrored = Told(source, tasks.Nothing(), ("text",), lambda x: -x, num=200)
  assert pairs.heard(mirrored)["heard/text"] < 0.1
  assert pairs.heard(mirrored)["heard/text/real"] > 0.97


def test_what_has_no_truth_or_words_is_refused():
  data = toys.Toy(words=True, n=50).load()
  unpaired = data.spec.beside(y=core.Field(shape=(2,), paired=False))
  for check, conditions, message in (
    (pairs.check_psnr, ("y",), "no truth"),
    (pairs.check_psnr, ("label",), "no truth"),
    (pairs.check_psnr, ("text",), "in a range"),
    (pairs.check_heard, ("y",), "no labels or words"),
  ):
    with pytest.raises(core.UserError, match=message):
      check(types.SimpleNamespace(conditions=conditions), data._replace(spec=unpaired))
