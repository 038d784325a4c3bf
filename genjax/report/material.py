"""What a run directory holds, read once; whatever is absent is empty.

    config.json   run.json   metrics.jsonl   eval.json   eval-<digest>.json
    samples/step_<step>.png   generated/<name>/{grid.png, animation.gif, strip.png, about.json}

A run that was killed may leave half a line in metrics.jsonl, and a resumed run may log some steps a
second time. Unreadable lines are counted and passed over. Of two lines of one step, the values of
the later line count.
"""

import json
import math
import os
import pathlib
import re
from typing import Any, NamedTuple

from genjax import core


class Material(NamedTuple):
  """The content of one run directory.

  workdir: the run directory.
  config: config.json, the configuration.
  run: run.json, the facts about the run.
  evaluation: eval.json, the metrics and how they were measured.
  looks: the metrics that were measured with other settings than the run's own.
  curves: {metric: [(step, value)]} of finite values, in the order of the steps.
  levels: {metric: {number: [(step, value)]}} of the metrics named "METRIC@NUMBER".
  samples: [(step, picture)] of the pictures taken during training, in the order of the steps.
  generated: {name of a set of samples: {file name: path}}.
  unreadable: the number of unreadable lines in metrics.jsonl, not counting an incomplete last line.
  """

  workdir: pathlib.Path
  config: dict[str, Any]
  run: dict[str, Any]
  evaluation: dict[str, Any]
  looks: list[dict[str, Any]]
  curves: dict[str, list[tuple[int, float]]]
  levels: dict[str, dict[float, list[tuple[int, float]]]]
  samples: list[tuple[int, pathlib.Path]]
  generated: dict[str, dict[str, pathlib.Path]]
  unreadable: int


def read(workdir: str | os.PathLike) -> Material:
  """Reads a run directory.

  Raises UserError if it is no run directory, or if a JSON file in it cannot be read.
  """
  workdir = pathlib.Path(workdir)
  if not (workdir / "config.json").is_file():
    missing = "holds no config.json" if workdir.is_dir() else "does not exist"
    beside = sorted(p.parent.name for p in workdir.absolute().parent.glob("*/config.json"))
    hint = f"; run directories beside it: {', '.join(beside[:5])}" if beside else ""
    raise core.UserError(f"{workdir} is no run directory: it {missing}{hint}")

  lines, unreadable = _lines(workdir / "metrics.jsonl")
  curves, levels = _curves(lines)
  steps = ((re.fullmatch(r"step_(\d+)", p.stem), p) for p in workdir.glob("samples/*.png"))
  generated = {
    d.name: {p.name: p for p in sorted(d.iterdir())}
    for d in sorted(workdir.glob("generated/*/"))
    # A name with a dot is a directory that is still being written.
    if d.is_dir() and not d.name.startswith(".")
  }
  return Material(
    workdir=workdir,
    config=_object(workdir / "config.json"),
    run=_object(workdir / "run.json"),
    evaluation=_object(workdir / "eval.json"),
    looks=[_object(file) for file in sorted(workdir.glob("eval-*.json"))],
    curves=curves,
    levels=levels,
    samples=sorted((int(m[1]), p) for m, p in steps if m),
    generated=generated,
    unreadable=unreadable,
  )


def about(files: dict[str, pathlib.Path]) -> dict[str, Any]:
  """Returns what is known of one set of samples, {} if nothing was recorded.

  legend: what stands side by side in its pictures, from the left; [] for samples alone.
  settings: in what they were drawn otherwise than the run's own samples.
  """
  return _object(files["about.json"]) if "about.json" in files else {}


def _object(path: pathlib.Path) -> dict[str, Any]:
  """Returns the JSON object in a file, {} if there is no such file.

  Raises UserError if the file holds anything else.
  """
  try:
    value = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return {}
  except ValueError as e:
    raise core.UserError(f"{path} is not JSON ({e})") from e

  if not isinstance(value, dict):
    raise core.UserError(f"{path} holds a {type(value).__name__}, expected an object")
  return value


def _lines(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
  """Reads a JSON-lines file of metrics.

  Returns one object for each step, in the order of the steps, and the number of unreadable lines,
  not counting an incomplete last line.
  """
  text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
  merged = {}
  unreadable = 0
  lines = text.splitlines()

  for i, line in enumerate(lines):
    try:
      value = json.loads(line)
      step = int(value["step"])
    except (ValueError, TypeError, KeyError, OverflowError):
      # The last line may be incomplete if the run was killed; this is not worth a note.
      unreadable += bool(line.strip()) and i < len(lines) - 1
      continue
    merged[step] = {**merged.get(step, {}), **value, "step": step}

  return [merged[step] for step in sorted(merged)], unreadable


def _curves(
  lines: list[dict[str, Any]],
) -> tuple[dict[str, list], dict[str, dict[float, list]]]:
  """Returns (curves, levels), see `Material`."""
  curves: dict[str, list] = {}
  levels: dict[str, dict[float, list]] = {}

  for line in lines:
    for name, value in line.items():
      numeric = isinstance(value, int | float) and not isinstance(value, bool)
      if name in ("step", "time") or not numeric or not math.isfinite(value):
        continue

      metric, at, number = name.rpartition("@")
      try:
        points = levels.setdefault(metric, {}).setdefault(float(number), []) if at else None
      except ValueError:  # an "@" that no number follows is part of the name
        points = None
      if points is None:
        points = curves.setdefault(name, [])
      points.append((line["step"], float(value)))

  return curves, levels
