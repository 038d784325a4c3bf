"""Runs for experiments: trained once, and never replaced by a run of another configuration."""

import json
import sys

import pytest

from genjax import config, core
from genjax.launch import trained
from genjax.modes import train

NAME, OVERRIDES = "gmm_moons:smoke", ["metrics=", "sample_every=0", "samples=4"]


def test_a_finished_run_is_taken_if_it_is_the_one(tmp_path):
  values, _ = config.from_file(f"configs/{NAME}".replace(":", ".py:"), OVERRIDES)
  train.train(values, tmp_path / "run", {}, "command")
  before = sorted(p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*"))
  assert trained.trained(NAME, tmp_path / "run", OVERRIDES) == tmp_path / "run"
  assert before == sorted(p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*"))
  with pytest.raises(core.UserError, match="trained with seed=0, not 1; delete it first"):
    trained.trained(NAME, tmp_path / "run", [*OVERRIDES, "seed=1"])
  file = tmp_path / "results.json"
  assert trained.recorded(file) == []
  trained.record(file, [{"name": "a", "value": 1.5}], tmp_path / "run")
  assert trained.recorded(file) == [{"name": "a", "value": 1.5}]
  known = json.loads((tmp_path / "run" / "run.json").read_text())
  said = json.loads(file.read_text())
  assert said["data"]["hash"] == known["data"]["hash"] and said["git"] == known["git"]


def test_configurations_are_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr("sys.path", [p for p in sys.path if p not in ("", str(trained.ROOT))])
  monkeypatch.delitem(sys.modules, "configs", raising=False)
  whole, _ = config.from_file(f"{trained.ROOT}/configs/gmm_moons.py:smoke")
  assert whole["model"]["name"] == "gaussian_mixture"
