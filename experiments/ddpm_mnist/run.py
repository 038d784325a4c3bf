"""Trains configs/ddpm_mnist.py with several seeds and gathers the results.

    python experiments/ddpm_mnist/run.py --seeds=0,1,2

Each run is an ordinary one in runs/experiments/ddpm_mnist/seed=N; a finished run is read, not made
again. Writes results.json, and samples.png from the first seed, beside this file.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = ROOT / "runs" / "experiments" / "ddpm_mnist"


def result(seed: int) -> dict:
  """Returns the record of one run, which is trained first if it is not there."""
  workdir = RUNS / f"seed={seed}"
  subprocess.run(
    [sys.executable, "-m", "genjax.main", "--config=configs/ddpm_mnist.py",
     f"--config.seed={seed}", f"--workdir={workdir}"],
    cwd=ROOT, check=True,
  )  # fmt: skip

  run, evaluation = (json.loads((workdir / f"{n}.json").read_text()) for n in ("run", "eval"))

  return {
    "seed": seed,
    "training_seconds": run["seconds"],
    "steps_per_second": round(run["steps_per_second"], 3),
    "machine": run["machine"],
    "versions": run["versions"],
    "data": run["data"]["origin"],
    "data_hash": run["data"]["hash"],
    "parameters": run["parameters"],
    "metrics": {k: round(v, 4) for k, v in evaluation["metrics"].items() if v is not None},
  }


def main() -> None:
  """Makes or reads the runs and writes results.json and samples.png."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--seeds", default="0", help="comma-separated")
  seeds = [int(s) for s in parser.parse_args().seeds.split(",")]
  results = [result(seed) for seed in seeds]
  (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")

  # The grid of samples that every finished run has.
  grid = RUNS / f"seed={seeds[0]}" / "generated" / "seed0_num64" / "grid.png"
  shutil.copy(grid, HERE / "samples.png")


if __name__ == "__main__":
  main()
