"""Which solver, on which grid, for how many evaluations? Fréchet distances of one trained model.

    python experiments/nfe_quality/run.py                       # trains configs/ddpm_mnist.py
    python experiments/nfe_quality/run.py --workdir=runs/NAME    # another run, of images

"Evaluations" are those of the network. Writes results.json, quality.png and the table in README.md.
What is in results.json already is not measured again.
"""

import argparse
import json
import pathlib

import matplotlib

from genjax.launch import trained
from genjax.report import markdown
from genjax.runs import open as runs

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
EVALUATIONS = (5, 10, 20)
# label: (sampler, evaluations of one step, evaluations beyond those of the steps)
SOLVERS = {
  "ddim": ({"name": "ddim", "eta": 0.0}, 1, 0),
  "euler": ({"name": "euler"}, 1, 0),
  "heun": ({"name": "heun"}, 2, 0),
  "dpm++2s": ({"name": "dpm++2s"}, 2, 0),
  "dpm++ 2": ({"name": "dpm++", "order": 2}, 1, 0),
  "dpm++ 3": ({"name": "dpm++", "order": 3}, 1, 0),
  "unipc 2": ({"name": "unipc", "order": 2}, 1, 0),
  "unipc 3": ({"name": "unipc", "order": 3}, 1, 0),
  "lms 4": ({"name": "lms"}, 1, 0),
  "deis 3": ({"name": "deis"}, 1, 0),
  "pndm": ({"name": "pndm"}, 1, 9),
  "ancestral": ({"name": "ancestral"}, 1, 0),
  "ddim, eta 1": ({"name": "ddim", "eta": 1.0}, 1, 0),
  "dpm++ 2, SDE": ({"name": "dpm++", "order": 2, "eta": 1.0}, 1, 0),
  "euler_maruyama": ({"name": "euler_maruyama"}, 1, 0),
  "predictor_corrector": ({"name": "predictor_corrector"}, 2, -1),
}
# These are measured on every grid, all others on "uniform" only.
EVERYWHERE = ("ddim", "heun", "dpm++ 2", "unipc 2")
GRIDS = ("uniform", "quadratic", "log_snr", "karras")
# The earlier default sampler: (solver, grid, evaluations).
BASELINE = ("ddim, eta 1", "uniform", 50)


def rows() -> list[tuple[str, str, int, dict]]:
  """Returns all that is measured: (solver, grid, evaluations, overrides of the sampler)."""
  todo = []
  for label, (sampler, each, more) in SOLVERS.items():
    for grid in GRIDS if label in EVERYWHERE else GRIDS[:1]:
      budgets = EVALUATIONS + (BASELINE[2:] if (label, grid) == BASELINE[:2] else ())
      for budget in budgets:
        # As many steps as the budget of evaluations allows; some solvers do not use all of it.
        steps = (budget - more) // each
        if steps > 0:
          spec = {**sampler, "steps": steps, "grid.name": grid}
          todo.append((label, grid, each * steps + more, spec))
  return todo


def measure(workdir: pathlib.Path, sampler: dict) -> dict:
  """Samples with one sampler: Fréchet distance to the test split, and share of legible samples.

  "real" is the Fréchet distance of training images in the place of the samples.
  """
  from genjax import config as config_lib
  from genjax.evaluation import metrics

  overrides = [f"model.sampler.{key}={value}" for key, value in sampler.items()]
  run = runs.Run.open(workdir, config_lib.from_run(workdir, overrides)[0])
  values = metrics.METRICS["fd"](run) | metrics.METRICS["legible"](run)

  # "fd/NET" -> "fd"; names with more parts are references and counts.
  short = {name.partition("/")[0]: v for name, v in values.items() if name.count("/") == 1}
  real = next(v for name, v in values.items() if name.startswith("fd/") and name.endswith("/real"))

  return {
    "fd": round(short["fd"], 3),
    "legible": round(short["legible"], 3),
    "real": round(real, 3),
  }


def draw(results: list[dict]) -> None:
  """Writes quality.png: all solvers on the even grid (left), four solvers on every grid (right)."""
  figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.8), sharey=True)
  for axis, title in zip(axes, ("every solver, grid uniform", "every grid")):
    left = axis is axes[0]
    chosen = [r for r in results if (r["grid"] == "uniform" if left else r["solver"] in EVERYWHERE)]
    for label, grid in dict.fromkeys((r["solver"], r["grid"]) for r in chosen):
      line = [r for r in chosen if (r["solver"], r["grid"]) == (label, grid)]
      axis.plot(
        [r["evaluations"] for r in line], [r["fd"] for r in line], marker="o", markersize=3,
        linestyle="-" if left else dict(zip(GRIDS, ("-", "--", ":", "-.")))[grid],
        color=pyplot.get_cmap("tab20")(list(SOLVERS).index(label)),
        label=label if left else f"{label}, {grid}",
      )  # fmt: skip

    axis.axhline(results[0]["real"], color="gray", linewidth=0.8)
    axis.set(title=title, xlabel="evaluations of the network", xscale="log", yscale="log")
    axis.set_ylim(0.7, 12)  # samples above this distance are no digits
    axis.set_xticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    axis.minorticks_off()
    axis.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axis.legend(fontsize=7, ncol=2)

  axes[0].set_ylabel("Fréchet distance (gray: real digits)")
  figure.tight_layout()
  figure.savefig(HERE / "quality.png", dpi=100)


def table(results: list[dict]) -> str:
  """Returns the Markdown table; a cell is the distance and the share of legible samples."""
  budgets = (*EVALUATIONS, BASELINE[2])

  # A solver that does not use its whole budget stands in the column of the budget.
  column = lambda r: next(b for b in budgets if b >= r["evaluations"])
  lines = [["solver", "grid", *map(str, budgets)]]
  for label, grid in dict.fromkeys((r["solver"], r["grid"]) for r in results):
    cells = {column(r): f"{r['fd']:.2f} ({r['legible']:.0%})" for r in results
             if (r["solver"], r["grid"]) == (label, grid)}  # fmt: skip
    lines.append([label, grid, *(cells.get(b, "") for b in budgets)])
  return markdown.table(lines)


def main() -> None:
  """Measures what is not in results.json yet and writes results, figure and table."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path, default=ROOT / "runs" / "ddpm_mnist")
  workdir = parser.parse_args().workdir
  trained.trained("ddpm_mnist", workdir)

  file = HERE / "results.json"
  known = json.loads(file.read_text()) if file.is_file() else []
  have = {(r["solver"], r["grid"], r["evaluations"]): r for r in known}
  results = []
  for label, grid, evaluations, sampler in rows():
    key = label, grid, evaluations
    if key not in have:
      where = dict(zip(("solver", "grid", "evaluations"), key))
      have[key] = {**where, **measure(workdir, sampler)}
      file.write_text(json.dumps(list(have.values()), indent=1) + "\n")
    results.append(have[key])
    print(json.dumps(have[key]), flush=True)

  draw(results)
  markdown.insert(HERE / "README.md", table(results))


if __name__ == "__main__":
  main()
