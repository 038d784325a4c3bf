"""The results of the trials of a sweep, read from their directories, as rows of one table.

A row is a dict with these keys; `read` gives the last three, and `sweep.save` adds the others:

    name         the name of the trial
    values       {swept key: value}, as text
    outcome      "done" or "failed (EXIT CODE)"
    step         the last step in metrics.jsonl, None if there is none
    logged       {metric: its last value in metrics.jsonl}
    evaluation   {metric: value} of eval.json
"""

import difflib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

# Metrics that say something about other metrics end in one of these; the table leaves them out.
BESIDE = ("/n", "/real", "/se", "/raw")


def read(workdir: str) -> dict[str, Any]:
  """Returns {"step", "logged", "evaluation"} of the run directory of a trial.

  Of files that are not there, the step is None and the metrics are {}.
  """
  step = None
  logged = {}
  for line in text_of(f"{workdir}/metrics.jsonl").splitlines():
    values = _object(line)
    step = values.pop("step", step)
    logged |= values

  logged.pop("time", None)
  evaluation = _object(text_of(f"{workdir}/eval.json")).get("metrics", {})
  return {"step": step, "logged": logged, "evaluation": evaluation}


def text_of(file: str) -> str:
  """Returns the text of a file, "" if there is no such file."""
  path = pathlib.Path(file)
  return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _object(text: str) -> dict[str, Any]:
  """Returns the JSON object in a text, {} if the text is anything else."""
  try:
    value = json.loads(text)
  except ValueError:
    return {}  # half a line, left by a run that was killed
  return value if isinstance(value, dict) else {}


def order(rows: Sequence[dict[str, Any]], sort_by: str) -> list[dict[str, Any]]:
  """Returns the rows sorted by a metric.

  sort_by: NAME for ascending values, -NAME for descending values, "" to keep the order. Rows in
    which the metric is missing or NaN come last.
  """
  name = sort_by.removeprefix("-")
  sign = -1 if sort_by.startswith("-") else 1

  def rank(row):
    value = (row["logged"] | row["evaluation"]).get(name)
    good = isinstance(value, int | float) and value == value  # NaN differs from itself
    return not good, sign * value if good else 0

  return sorted(rows, key=rank) if sort_by else list(rows)


def unsorted(rows: Sequence[dict[str, Any]], sort_by: str) -> str:
  """Returns why the rows cannot be sorted (no trial has this metric), "" if they can."""
  name = sort_by.removeprefix("-")
  names = {n for row in rows for n in row["logged"] | row["evaluation"]}
  if not name or name in names:
    return ""

  near = difflib.get_close_matches(name, names, n=1)
  hint = f"; did you mean {near[0]!r}?" if near else ""
  return f"no trial has {name!r} to sort by{hint}"


def table(rows: Sequence[dict[str, Any]], sort_by: str) -> str:
  """Returns the rows as a Markdown table.

  The columns are the swept keys, the outcome, the step, the metric that is sorted by, the losses
  and the evaluation. The other metrics are in sweep.json only.
  """
  # A dict keeps the order of the columns and names each once.
  chosen = {sort_by.removeprefix("-")} & {n for row in rows for n in row["logged"]}
  columns = dict.fromkeys(chosen)
  columns |= dict.fromkeys(n for row in rows for n in row["logged"] if n.endswith("loss"))
  evaluated = (n for row in rows for n in row["evaluation"] if not n.endswith(BESIDE))
  columns |= dict.fromkeys(evaluated)

  head = [*rows[0]["values"], "outcome", "step", *columns]
  lines = [head, ["---"] * len(head)]
  for row in rows:
    metrics = row["logged"] | row["evaluation"]
    cells = [row["step"], *map(metrics.get, columns)]
    lines.append([*row["values"].values(), row["outcome"], *map(_number, cells)])

  # A "|" in a value would end its cell.
  escaped = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
  return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _number(value: Any) -> str:
  """Returns a value for the table: five significant digits of a float, "" for None."""
  if value is None:
    return ""
  return f"{value:.5g}" if isinstance(value, float) else str(value)
