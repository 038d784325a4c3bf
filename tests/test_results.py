"""The numbers that the configurations promise, by running them completely; takes three minutes."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# configuration -> metric -> the most that may come out (the least, where negative)
PROMISED = {
  "ddpm_moons": {"w2/exact": 0.3},
  "wgan_gp_ring": {"w2/exact": 0.3, "modes/covered": -8},
  "gmm_moons": {"regret/density/exact/continuous": 0.1},
  "rbm_bars": {"regret/enumerated/exact/binary": 0.25},
  "transformer_bars": {"regret/chain-rule/exact/binary": 0.05},
}


def genjax(*arguments, devices=1):
  env = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
  subprocess.run(
    [sys.executable, "-m", "genjax.main", *arguments], cwd=ROOT, check=True,
    env={**os.environ, **env},
  )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_configuration_reaches_its_number(name, tmp_path):
  genjax(f"--config=configs/{name}.py", f"--workdir={tmp_path}/run")
  metrics = json.loads((tmp_path / "run" / "eval.json").read_text())["metrics"]
  for metric, bound in PROMISED[name].items():
    value = metrics[metric]
    assert value <= bound if bound > 0 else value >= -bound, f"{metric} = {value}"


@pytest.mark.slow
def test_a_unet_draws_the_same_on_eight_devices(tmp_path):
  """Guided samples of a trained network agree to one grey level of 256."""
  workdir = tmp_path / "run"
  genjax("--config=configs/ddpm_mnist.py:smoke", f"--workdir={workdir}", "--config.steps=200")
  look = ("--mode=sample", f"--workdir={workdir}", "--num=16")
  genjax(*look, f"--out={tmp_path}/one")
  genjax(*look, f"--out={tmp_path}/eight", devices=8)
  one, eight = (np.load(tmp_path / n / "samples.npz")["x"].astype(int) for n in ("one", "eight"))
  assert one.std() > 10 and np.abs(one - eight).max() <= 1
