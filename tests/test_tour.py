"""The notebook is the script, and runs."""

import importlib.util
import pathlib

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def maker():
  """The script that makes the notebook."""
  spec = importlib.util.spec_from_file_location("make_tour", DOCS / "make_tour.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_notebook_is_made_from_the_script(maker):
  import nbformat

  stored = nbformat.read(DOCS / "tour.ipynb", as_version=4)
  made = maker.cells((DOCS / "tour.py").read_text(encoding="utf-8"))
  assert [(cell.cell_type, cell.source) for cell in stored.cells] == made
  for cell in stored.cells:
    outputs = cell.get("outputs", [])
    assert all(output.output_type != "error" for output in outputs)
  assert sum("image/png" in str(cell.get("outputs")) for cell in stored.cells) == 2


@pytest.mark.slow
def test_the_notebook_runs(maker, tmp_path):
  """With the shortest trainings that its cells can do with."""
  source = (DOCS / "tour.py").read_text(encoding="utf-8")
  for name in ("ddpm_moons", "vae_mnist"):
    source = source.replace(f'"--config={name}"', f'"--config={name}", "--config.steps=100"')
  maker.run(maker.notebook(source), tmp_path)
