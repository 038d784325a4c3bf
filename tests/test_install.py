"""Installed from a wheel, genjax works in an empty folder, without the checkout."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ("genjax", "configs", "docs", "setup.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """A folder with nothing but what the wheel holds."""
  source = tmp_path_factory.mktemp("source")
  for name in SOURCES:
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, source / name)
  wheels = tmp_path_factory.mktemp("wheels")
  build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", wheels, source]
  subprocess.run(build, check=True)
  (wheel,) = wheels.glob("*.whl")
  site = tmp_path_factory.mktemp("site")
  zipfile.ZipFile(wheel).extractall(site)
  return site


def python(site, folder, *arguments):
  """Runs Python in a folder, the installed package being found first; returns what it prints."""
  env = {**os.environ, "PYTHONPATH": str(site)}
  done = subprocess.run(
    [sys.executable, *map(str, arguments)], cwd=folder, env=env, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.slow
def test_a_wheel_holds_all_that_a_person_needs(installed, tmp_path):
  where = python(installed, tmp_path, "-c", "import genjax; print(genjax.__file__)")
  assert where.startswith(str(installed))
  listing = python(installed, tmp_path, "-m", "genjax.main")
  for path in (ROOT / "configs").glob("*.py"):
    assert (f"  {path.stem} " in listing) == (path.stem != "base")

  # One that imports its neighbours, by its name alone.
  program = ("-m", "genjax.main")
  python(installed, tmp_path, *program, "--config=flow_matching_mnist:smoke", "--workdir=run")
  assert (tmp_path / "run" / "report.html").is_file()
  assert json.loads((tmp_path / "run" / "run.json").read_text())["git"] == {}  # no checkout
  out = python(installed, tmp_path, *program, "--mode=sample", "--workdir=run", "--num=3")
  assert (tmp_path / out.strip() / "grid.png").is_file()
