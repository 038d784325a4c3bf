"""How few steps will do? Samples a trained run with several solvers and numbers of steps.

usage: quality.py RUN_DIRECTORY

A program of run.py; it prints one JSON line for each solver and number of steps. Quality is the
Fréchet distance to the test split and the share of legible digits, with as many samples as the run
itself uses. Seconds are those of one batch of samples, the median over all batches but the first.
"""

import json
import pathlib
import statistics
import sys
import time

from genjax import config as config_lib
from genjax.evaluation import metrics
from genjax.runs import open as runs
from genjax.training import runtime

STEPS = (5, 10, 15, 25, 50)
SOLVERS = {
  "DDIM, eta 0": {"name": "ddim", "eta": 0.0},
  "DDIM, eta 1": {"name": "ddim", "eta": 1.0},
  "ancestral, upper variance": {"name": "ancestral", "variance": "upper"},
  "DPM-Solver++, order 2": {"name": "dpm++"},
  "UniPC, order 2": {"name": "unipc"},
}


def measure(workdir: pathlib.Path, solver: dict) -> dict:
  """Returns {"seconds", "fd", "legible"} of a run sampled with `solver`."""
  overrides = [f"model.sampler.{key}={value}" for key, value in solver.items()]
  config, _ = config_lib.from_run(workdir, overrides)
  run = runs.Run.open(workdir, config)

  # The run keeps these samples, and the metrics below use them.
  times = []
  begin = time.perf_counter()
  for _ in run.chunks(0, run.num):
    times.append(time.perf_counter() - begin)
    begin = time.perf_counter()

  # "fd/NET" -> "fd"; names with more parts are references and counts.
  values = metrics.METRICS["fd"](run) | metrics.METRICS["legible"](run)
  short = {name.partition("/")[0]: v for name, v in values.items() if name.count("/") == 1}

  return {
    # The first batch includes the compilation.
    "seconds": round(statistics.median(times[1:]), 3),
    **{name: round(float(v), 3) for name, v in short.items() if name in ("fd", "legible")},
  }


def main() -> None:
  """Measures all solvers with all numbers of steps."""
  runtime.keep_memory()
  for name, solver in SOLVERS.items():
    for steps in STEPS:
      row = measure(pathlib.Path(sys.argv[1]), {**solver, "steps": steps})
      print(json.dumps({"solver": name, "steps": steps, **row}), flush=True)


if __name__ == "__main__":
  main()
