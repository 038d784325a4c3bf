"""Markdown tables and bar charts for the pages of experiments."""

import numpy as np
import pytest
from PIL import Image

from genjax.report import bars, markdown


def test_a_table_takes_the_place_of_the_one_before(tmp_path):
  page = tmp_path / "README.md"
  page.write_text("a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\nc\n")
  text = markdown.table([["x", "y"], ["1", r"\1"]])
  assert text.splitlines() == ["| x | y |", "| --- | --- |", r"| 1 | \1 |"]
  for _ in range(2):  # twice is the same
    markdown.insert(page, text, "one")
  assert (
    page.read_text() == f"a\n<!-- one -->\n{text}\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\nc\n"
  )
  with pytest.raises(ValueError, match="three"):
    markdown.insert(page, text, "three")


def test_shares_of_several_seeds():
  assert markdown.percent([0.5, 0.6, 0.7]) == "60.0% ± 10.0%"
  assert markdown.percent([]) == ""


def test_bars_are_drawn_where_there_are_values(tmp_path):
  groups = {"a": [[0.1, 0.3], []], "b": [[0.5, 0.5], [0.2, 0.4]]}
  bars.draw(tmp_path / "bars.png", groups, ["x", "y"], ("place", "value"), (0.0, 1.0))
  with Image.open(tmp_path / "bars.png") as image:
    shown = {tuple(color) for color in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
  assert {(31, 119, 180), (255, 127, 14)} <= shown  # both groups, in matplotlib's first colours
