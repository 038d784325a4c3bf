"""The README's own commands, on the variants of seconds."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
  line.partition("  #")[0].strip()
  for line in README.splitlines()
  if line.startswith("    python -m genjax.")
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  return tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, runs):
  """In the order of the README, since the later ones look at the runs of the earlier."""
  command = re.sub(r"(configs/\w+\.py)", r"\1:smoke", command)
  if command.endswith("genjax.main") or "--mode=describe" in command:
    pass
  elif "--workdir=runs/" in command:
    command = command.replace("--workdir=runs/", f"--workdir={runs}/")
  else:
    name = re.search(r"configs/(\w+)\.py", command)[1]
    extra = "-20" if "sampler.steps" in command else "-sweep" if "sweep" in command else ""
    command += f" --workdir={runs}/{name}{extra}"
  words = command.replace("--num=1000", "--num=40").split()
  assert words[:2] == ["python", "-m"]
  done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


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
