"""--mode=evaluate: the configured metrics of a run -> eval.json.

A look with other settings than the run's own has a file of its own, eval-<digest>.json.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from genjax import core
from genjax.evaluation import metrics
from genjax.modes import folder
from genjax.runs.open import Run
from genjax.training import sharding, writers


def evaluate(config: Mapping[str, Any], workdir: pathlib.Path) -> None:
  """Measures the newest checkpoint of a run; prints the metrics and writes them to a file."""
  sharding.check("sample_batch", config["sample_batch"])
  run = Run.open(workdir, config)
  metrics.check(config["metrics"], run.model, run.data, run.num)
  measure(run, workdir, writers.Console())


def measure(run: Run, workdir: pathlib.Path, console: writers.Console) -> None:
  """Measures the configured metrics of a run; prints them, then writes them to a file."""
  if not run.config["metrics"]:
    return
  run.progress = writers.Progress(console)
  values = metrics.measure(run, run.config["metrics"], console.say)
  if run.config["eval_ema"]:
    raw = metrics.measure(run.raw(), run.config["metrics"], console.say)
    values |= metrics.beside(values, raw)

  facts = {
    "step": run.step,
    "average": run.config["eval_ema"] or "raw",
    "num": run.num,
    "seed": run.config["seed"],
    "split": run.split,
    "settings": dict(run.settings),
    # Which data, how they were made binary and split, and what the task made of them.
    "data": {**run.config["data"], "hash": run.data.hash},
    "task": run.config["task"],
  }
  if not console.main:
    return

  # First printed, then written: where nothing can be written, nothing is lost.
  console.say("\n".join(f"{name:40} {value:.4g}" for name, value in values.items()))
  file = folder.evaluation(workdir, run.settings)
  try:
    writers.write_json(file, {**facts, "metrics": values})
  except OSError as e:
    raise core.UserError(f"these metrics could not be saved: {file}: {e.strerror}") from None
  if run.settings:
    console.say(f"saved as   {file}, since these settings are not the run's own:")
    console.say("\n".join(f"           {key}={value!r}" for key, value in run.settings.items()))
