"""Tables of experiments, and where they go."""

import pytest

from genjax.report import markdown


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
