"""The data that a run is measured against: "valid" during training, "test" at the end."""

import json
import types

import jax.numpy as jnp
import pytest

from genjax import config, core
from genjax.data import pipeline, tasks
from genjax.data.sources import digits, toys
from genjax.evaluation import metrics
from genjax.modes import evaluate, train
from genjax.runs import open as runs

POINTS = ("modes", "w2", "likelihood")


class Sealed:
  """A split that may not be read."""

  def read(self, *_):
    raise AssertionError("the sealed split was read")

  __getitem__ = __iter__ = __len__ = keys = values = items = read


def measured(name, split, sealed):
  """Returns METRICS[name] of a run against `split`; its samples are training examples.

  sealed: the split that must not be read.
  """
  source = toys.Toy(kind="ring8") if name in POINTS else digits.Digits()
  data, task = source.load(), tasks.SuperResolution() if name == "psnr" else tasks.Nothing()
  data = data._replace(spec=data.spec.beside(**task.fields(data.spec)))
  data = data._replace(splits={**data.splits, sealed: Sealed()})
  batches = pipeline.Pipeline(data, source, batch=32, task=task)
  batch = batches.at(0)
  log_prob = lambda params, buffers, batch, key: -jnp.sum(batch["x"] ** 2, -1)
  setup = types.SimpleNamespace(
    config={"num": 32, "seed": 0, "eval_ema": "", "sample_batch": 32},
    model=types.SimpleNamespace(
      likelihoods={"flat": core.Likelihood(core.EXACT, log_prob)},
      conditions={"psnr": ("image",), "heard": ("label",)}.get(name, ()),
      codes={},
      encode=lambda params, buffers, x, cond: x.reshape(len(x), -1)[:, :3],
      reconstruct=lambda params, buffers, x, cond: 0.9 * x,
      classify=lambda params, buffers, x: x.reshape(len(x), -1)[:, :10],
    ),
    data=data,
    pipeline=batches,
    sample=lambda params, buffers, root, index, cond: batch["x"],
  )
  state = types.SimpleNamespace(params={}, buffers={}, step=0)
  return metrics.METRICS[name](runs.Run.of_state(setup, state).against(split))


@pytest.mark.parametrize("name", metrics.METRICS)
def test_only_the_split_of_the_run_is_measured_against(name):
  assert measured(name, "valid", sealed="test") and measured(name, "test", sealed="valid")
  with pytest.raises(AssertionError, match="sealed"):
    measured(name, "test", sealed="test")


@pytest.mark.slow
def test_training_sees_the_valid_split_and_ends_with_the_test_split(tmp_path, monkeypatch):
  seen = []

  def watch(run):
    seen.append((run.step, run.split))
    return {"steps": run.step}

  monkeypatch.setitem(metrics.METRICS, "w2", watch)
  overrides = ("evaluate_every=10", "metrics=w2", "sample_every=0", "samples=4")
  values = config.from_file("configs/gmm_moons.py:smoke", overrides)[0]
  train.train(values, tmp_path / "run", {}, "command")
  assert seen == [(10, "valid"), (20, "valid"), (20, "test")]
  evaluate.evaluate(values, tmp_path / "run")
  assert seen[-1] == (20, "test")
  facts = json.loads((tmp_path / "run" / "eval.json").read_text())
  assert facts["split"] == "test" and facts["metrics"] == {"steps": 20}


@pytest.mark.slow
def test_a_number_says_of_which_data_it_is(tmp_path):
  """An ELBO of digits means nothing without their number, their split and how they became bits."""
  overrides = ("data.binarize=dynamic", "metrics=reconstruction", "sample_every=0")
  values = config.from_file("configs/vae_mnist.py:smoke", overrides)[0]
  train.train(values, tmp_path / "run", {}, "command")
  known = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
  said = json.loads((tmp_path / "run" / "eval.json").read_text())["data"]
  assert said["hash"] == known["hash"] and set(said["hash"]) == {"train", "valid", "test"}
  assert (said["name"], said["binarize"]) == ("fake", "dynamic")


def test_raw_values_stand_beside_the_averages_where_they_differ():
  values = {"fd/x": 3.0, "fd/x/real": 1.0, "fd/x/n": 500, "bits/uniform/exact/8-bit": 8.0}
  raw = {**values, "fd/x": 4.0, "fd/x/real": 1.5}
  assert metrics.beside(values, raw) == {"fd/x/raw": 4.0}
