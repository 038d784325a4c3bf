"""The commands of the README, run with the `smoke` variants, which take seconds."""

import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
  line.partition("  #")[0].strip()
  for line in README.splitlines()
  if line.startswith("    python -m genjax.")
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """A folder for the runs, with the images that some commands read."""
  folder = tmp_path_factory.mktemp("runs")
  for name in ("a.png", "b.png"):
    Image.fromarray(np.full((3, 3), 99, np.uint8)).save(folder / name)
  return folder


def start(words):
  done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, runs):
  """In the order of the README, since the later ones look at the runs of the earlier."""
  command = re.sub(r"(configs/\w+\.py)", r"\1:smoke", command)
  if command.endswith("genjax.main") or "--mode=describe" in command:
    pass
  elif "--workdir=runs/" in command:
    name = re.search(r"runs/(\w+)", command)[1]
    if not (runs / name).exists():  # no command before has made it
      start(["-m", "genjax.main", f"--config=configs/{name}.py:smoke", f"--workdir={runs}/{name}"])
    command = command.replace("--workdir=runs/", f"--workdir={runs}/")
    command = command.replace("a.png,b.png", f"{runs}/a.png,{runs}/b.png")
  else:
    name = re.search(r"configs/(\w+)\.py", command)[1]
    extra = "-20" if "sampler.steps" in command else "-sweep" if "sweep" in command else ""
    command += f" --workdir={runs}/{name}{extra}"
  words = shlex.split(command.replace("--num=1000", "--num=40"))
  assert words[:2] == ["python", "-m"]
  start(words[1:])


@pytest.mark.slow
def test_python_block(runs):
  """Every line runs, on a run of the smoke variant."""
  name = "ddpm_moons"
  if not (runs / name).exists():
    start(["-m", "genjax.main", f"--config=configs/{name}.py:smoke", f"--workdir={runs}/{name}"])
  (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  names = {}
  exec(block.replace(f"runs/{name}", str(runs / name)), names)
  assert names["x"].shape == names["y"].shape == (8, 2)
  assert set(names["nats"]) == {"flow/estimate", "elbo/lower-bound"}
  assert {"w2/exact", "w2/exact/real"} <= set(names["metrics"])


def test_it_fits_its_place():
  assert len(README.splitlines()) <= 120


def test_what_it_names_exists():
  for path in re.findall(r"`((?:genjax|configs|experiments|tests)/[\w/.]*)`", README):
    assert "NAME" in path or (ROOT / path).exists(), path
  for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
    assert (ROOT / picture).is_file(), picture


def test_make_targets_and_modes_are_the_programs():
  from genjax import main

  makefile = (ROOT / "Makefile").read_text()
  for target in re.findall(r"    make (\w+)", README):
    assert f"\n{target}:" in makefile
  for mode in re.findall(r"--mode=(\w+)", README):
    assert mode in main.MODES
