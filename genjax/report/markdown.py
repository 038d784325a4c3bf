"""Tables in the Markdown pages of experiments, between <!-- NAME --> and <!-- end -->."""

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np


def table(rows: Iterable[Sequence[str]]) -> str:
  """Returns a Markdown table; the first row of cells is its head."""
  head, *rest = [list(row) for row in rows]
  lines = [head, ["---"] * len(head), *rest]
  return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def percent(values: Sequence[float]) -> str:
  """Returns the mean and the standard deviation of shares over seeds, "" if there are none.

  [0.5, 0.6, 0.7] -> "60.0% ± 10.0%".
  """
  return f"{np.mean(values):.1%} ± {np.std(values, ddof=1):.1%}" if len(values) else ""


def insert(page: pathlib.Path, text: str, name: str = "table") -> None:
  """Writes `text` into a page, in place of what stands between <!-- NAME --> and <!-- end -->.

  Raises ValueError if the page has no such place.
  """
  between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
  before = page.read_text(encoding="utf-8")
  if not between.search(before):
    raise ValueError(f"{page} has no place <!-- {name} --> ... <!-- end -->")

  # A function, since a backslash in a replacement text would be an escape.
  after = between.sub(lambda m: f"{m[1]}{text}\n{m[2]}", before)
  page.write_text(after, encoding="utf-8")
