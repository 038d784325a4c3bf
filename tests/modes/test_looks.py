"""A look at a finished run with other settings leaves the run's own results alone."""

import json
import pathlib

import numpy as np
import pytest

import genjax
from tests.command import MOONS, ROOT, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A finished run with metrics and samples."""
  workdir = tmp_path_factory.mktemp("looks") / "run"
  run(MOONS, "--config.model.network.widths=16,16", "--config.metrics=w2", f"--workdir={workdir}",
      f"--cache={ROOT}/.jax_cache")  # fmt: skip
  return workdir


def read(path):
  return json.loads(path.read_text())


def test_an_evaluation_with_other_settings_has_a_file_of_its_own(finished):
  own = (finished / "eval.json").read_bytes()
  out, _ = run("--mode=evaluate", f"--workdir={finished}", "--config.model.sampler.steps=1")
  assert (finished / "eval.json").read_bytes() == own
  (file,) = finished.glob("eval-*.json")
  assert file.name in out and "model.sampler.steps=1" in out
  look = read(file)
  assert look["settings"] == {"model.sampler.steps": 1}
  assert look["metrics"]["w2/exact"] != read(finished / "eval.json")["metrics"]["w2/exact"]
  assert read(finished / "eval.json")["settings"] == {}

  # The same again is the same file; the run's own settings, written out, are no look.
  run("--mode=evaluate", f"--workdir={finished}", "--config.model.sampler.steps=1")
  run("--mode=evaluate", f"--workdir={finished}", "--config.num=32")
  assert len(list(finished.glob("eval*.json"))) == 2
  assert (finished / "eval.json").read_bytes() == own

  out, _ = run("--mode=report", f"--workdir={finished}")
  page = pathlib.Path(out.strip()).read_text(encoding="utf-8")
  assert "With model.sampler.steps=1" in page


def test_samples_with_other_settings_have_a_folder_of_their_own(finished):
  own = (finished / "generated/seed0_num16/samples.npz").read_bytes()
  sampling = "--mode=sample", f"--workdir={finished}", "--num=16"
  out, _ = run(*sampling, "--config.model.sampler.steps=1")
  place = pathlib.Path(out.strip())
  assert place.name.startswith("seed0_num16-")
  assert read(place / "about.json")["settings"] == {"model.sampler.steps": 1}
  assert (finished / "generated/seed0_num16/samples.npz").read_bytes() == own
  other = np.load(place / "samples.npz")["x"]
  assert not np.array_equal(other, np.load(finished / "generated/seed0_num16/samples.npz")["x"])


def test_a_finished_run_says_what_it_ignores(finished):
  out, _ = run(MOONS, "--config.model.network.widths=16,16", "--config.metrics=w2",
               "--config.model.sampler.steps=3", f"--workdir={finished}")  # fmt: skip
  assert "is finished: 20 of 20 steps" in out
  assert "ignored    model.sampler.steps=3 (the run has 5)" in out


def test_a_run_is_asked_in_python(finished, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  opened = genjax.open_run(finished)
  x = opened.sample(8)
  np.testing.assert_array_equal(x, np.load(finished / "generated/seed0_num16/samples.npz")["x"][:8])
  np.testing.assert_array_equal(opened.sample(3, seed=5), opened.sample(8, seed=5)[:3])
  values = opened.likelihood(x)
  assert set(values) == {"flow/estimate", "elbo/lower-bound"}
  assert all(nats.shape == (8,) and np.isfinite(nats).all() for nats in values.values())
  assert opened.metrics() == opened.metrics("w2")
  assert opened.metrics("w2")["w2/exact"] == read(finished / "eval.json")["metrics"]["w2/exact"]
  assert opened.settings == {}
  look = genjax.open_run(str(finished), ["model.sampler.steps=1"])
  assert look.settings == {"model.sampler.steps": 1} and not np.array_equal(look.sample(8), x)
