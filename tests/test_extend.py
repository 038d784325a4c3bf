"""The worked example of docs/extend.md is a family that passes the contract."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def blocks():
  """Returns the blocks of code of the page, in their order."""
  page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
  return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.mark.slow
def test_a_family_in_four_touches(tmp_path):
  """In a copy of the code, which Python finds before the checkout."""
  for name in ("genjax", "configs", "tests"):
    shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
  shutil.copy(ROOT / "pyproject.toml", tmp_path)

  family, lines, config, test = blocks()
  (tmp_path / "genjax/families/classical/gaussian.py").write_text(family)
  (tmp_path / "configs/gaussian_moons.py").write_text(config)
  (tmp_path / "tests/families/test_gaussian.py").write_text(test)
  table = tmp_path / "genjax/families/table.py"
  imported, _, line = lines.partition("\n\n")
  text = table.read_text()
  text = text.replace("from genjax.families.classical import mixture, transport", imported)
  table.write_text(text.replace("MODELS = {\n", f"MODELS = {{\n{line}"))

  checks = ["tests/families/test_gaussian.py", "tests/test_contract.py", "tests/test_imports.py"]
  command = [sys.executable, "-m", "pytest", "-vv", *checks, "-m", "", "-k", "gaussian or imports"]
  env = {**os.environ, "PYTHONPATH": str(tmp_path)}
  done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout[-3000:]
  assert "[gaussian_moons:]" in done.stdout
