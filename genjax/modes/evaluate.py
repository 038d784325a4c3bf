"""--mode=evaluate: the configured metrics of a run -> eval.json."""

import pathlib
from collections.abc import Mapping
from typing import Any

from genjax.evaluation import metrics
from genjax.runs.open import Run
from genjax.training import sharding, writers


def evaluate(config: Mapping[str, Any], workdir: pathlib.Path) -> None:
  """Writes the configured metrics of the newest checkpoint to eval.json."""
  sharding.check("sample_batch", config["sample_batch"])
  run = Run.open(workdir, config)
  metrics.check(config["metrics"], run.model, run.data, run.num)
  measure(run, workdir, writers.Console())


def measure(run: Run, workdir: pathlib.Path, console: writers.Console) -> None:
  """The configured metrics of a run to eval.json and the console."""
  if not run.config["metrics"]:
    return
  values = metrics.measure(run)
  if run.config["eval_ema"]:
    values |= metrics.beside(values, metrics.measure(run.raw()))
  facts = {"step": run.step, "average": run.config["eval_ema"] or "raw", "num": run.num}
  facts |= {"seed": run.config["seed"], "split": run.split}
  facts["data"] = {**run.config["data"], "hash": run.data.hash}  # which, how made binary, how split
  facts["task"] = run.config["task"]
  if console.main:
    writers.write_json(workdir / "eval.json", {**facts, "metrics": values})
    console.say("\n".join(f"{name:40} {value:.4g}" for name, value in values.items()))
