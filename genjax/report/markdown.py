"""Tables in the Markdown pages of experiments, between <!-- NAME --> and <!-- end -->."""

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np


def table(rows: Iterable[Sequence[str]]) -> str:
  """Rows of cells, the first of which is the head."""
  head, *rest = [list(row) for row in rows]
  return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rest])


def percent(values: Sequence[float]) -> str:
  """Shares at several seeds as their mean and deviation, "" if there are none."""
  return f"{np.mean(values):.1%} ± {np.std(values, ddof=1):.1%}" if len(values) else ""


def insert(page: pathlib.Path, text: str, name: str = "table") -> None:
  """`text` in the place of what stands there under this name.

  Raises ValueError if the page has no such place.
  """
  between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
  before = page.read_text()
  if not between.search(before):
    raise ValueError(f"{page} has no place <!-- {name} --> ... <!-- end -->")
  page.write_text(between.sub(lambda m: f"{m[1]}{text}\n{m[2]}", before))
