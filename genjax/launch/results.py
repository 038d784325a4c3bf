"""What came out of the trials of a sweep, read from their directories, as rows of one table.

A row is {"name", "values", "outcome", "step", "logged", "evaluation"}: see `read` and `sweep.save`.
"""

import difflib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

BESIDE = ("/n", "/real", "/se", "/raw")  # metrics about other metrics, left out of the table


def read(workdir: str) -> dict[str, Any]:
  """{"step", "logged", "evaluation"} of a trial's directory; None and {} of what is not there.

  logged: the last value of each metric in metrics.jsonl; evaluation: the metrics of eval.json.
  """
  step, logged = None, {}
  for line in text_of(f"{workdir}/metrics.jsonl").splitlines():
    values = _object(line)
    step = values.pop("step", step)
    logged |= values
  logged.pop("time", None)
  evaluation = _object(text_of(f"{workdir}/eval.json")).get("metrics", {})
  return {"step": step, "logged": logged, "evaluation": evaluation}


def text_of(file: str) -> str:
  """What a file holds, "" if it is not there."""
  path = pathlib.Path(file)
  return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _object(text: str) -> dict[str, Any]:
  """The JSON object, {} if it is none: a run that was killed leaves half a line."""
  try:
    value = json.loads(text)
  except ValueError:
    return {}
  return value if isinstance(value, dict) else {}


def order(rows: Sequence[dict[str, Any]], sort_by: str) -> list[dict[str, Any]]:
  """Rows by a metric, ascending, or descending for "-NAME"; those without it, or NaN, last."""
  name, sign = sort_by.removeprefix("-"), -1 if sort_by.startswith("-") else 1

  def rank(row):
    value = (row["logged"] | row["evaluation"]).get(name)
    good = isinstance(value, int | float) and value == value
    return not good, sign * value if good else 0

  return sorted(rows, key=rank) if sort_by else list(rows)


def unsorted(rows: Sequence[dict[str, Any]], sort_by: str) -> str:
  """Why the rows cannot be sorted: no trial has this metric; "" if they can."""
  name, names = sort_by.removeprefix("-"), {n for r in rows for n in r["logged"] | r["evaluation"]}
  if not name or name in names:
    return ""
  near = difflib.get_close_matches(name, names, n=1)
  return f"no trial has {name!r} to sort by" + (f"; did you mean {near[0]!r}?" if near else "")


def table(rows: Sequence[dict[str, Any]], sort_by: str) -> str:
  """Markdown: values, outcome, what is sorted by, losses, evaluation; the rest is in sweep.json."""
  chosen = {sort_by.removeprefix("-")} & {n for row in rows for n in row["logged"]}
  columns = dict.fromkeys(chosen)
  columns |= dict.fromkeys(n for row in rows for n in row["logged"] if n.endswith("loss"))
  evaluated = (n for row in rows for n in row["evaluation"] if not n.endswith(BESIDE))
  columns |= dict.fromkeys(evaluated)
  axes = list(rows[0]["values"])
  lines = [[*axes, "outcome", "step", *columns], ["---"] * (len(axes) + 2 + len(columns))]
  for row in rows:
    metrics = row["logged"] | row["evaluation"]
    cells = [row["step"], *map(metrics.get, columns)]
    lines.append([*row["values"].values(), row["outcome"], *map(_number, cells)])
  escaped = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
  return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _number(value: Any) -> str:
  return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
