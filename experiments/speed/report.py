"""results.json as the table of README.md and as scaling.png; run.py calls it.

    python experiments/speed/report.py

The slope in the figure is that of log y over log x between the last two values: 1 is proportional,
0 constant.
"""

import json
import math
import pathlib
import re

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
WORK = {
  "step": "training step, batch 64",
  "forward": "forward pass, batch 64",
  "sample": "64 samples, DDIM, 50 steps",
}
SCALES = {
  "batch": "training step, batch",
  "width": "training step, channels of the first level",
  "resolution": "training step, pixels of a side",
  "steps": "samples, DDIM steps",
}


def table(results: dict) -> str:
  lines = ["| work | genjax | peer | ratio |", "|---|---|---|---|"]
  for name, label in WORK.items():
    row = results["unet"][name]
    peer, seconds = min(
      ((k, v) for k, v in row.items() if k not in ("genjax", "ratio")), key=lambda item: item[1]
    )
    lines.append(f"| {label} | {row['genjax']:.3g} s | {seconds:.3g} s ({peer}) | {row['ratio']} |")
  peak = results["unet"]["peak_mb"]
  lines.append(
    f"| most memory at once | {peak['genjax']:,} MB | {peak['torch']:,} MB (torch) "
    f"| {peak['genjax'] / peak['torch']:.2f} |"
  )
  if "start" in results:
    start = results["start"]
    lines.append(f"| first step of `ddpm_mnist.py:smoke`, empty cache | {start['cold']} s | | |")
    lines.append(f"| the same, warm compilation cache | {start['warm']} s | | |")
    lines.append(f"| `import genjax.main` | {start['import']} s | | |")
  return "\n".join(lines)


def slope(xs, ys) -> float:
  return math.log(ys[-1] / ys[-2]) / math.log(xs[-1] / xs[-2])


def figure(scale: dict) -> None:
  sheet, axes = pyplot.subplots(2, 4, figsize=(12, 5), layout="constrained")
  for column, (axis, label) in zip(axes.T, SCALES.items()):
    xs = [int(x) for x in scale[axis]]
    for panel, key, unit in zip(column, ("seconds", "peak_mb"), ("seconds", "MB")):
      ys = [row[key] for row in scale[axis].values()]
      panel.loglog(xs, ys, marker="o")
      panel.set_title(f"slope {slope(xs, ys):.2f}", fontsize=9)
      panel.set_xticks(xs, [str(x) for x in xs])
      panel.minorticks_off()
      panel.set_ylabel(unit)
    column[1].set_xlabel(label)
  sheet.savefig(HERE / "scaling.png", dpi=90)


def main() -> None:
  results = json.loads((HERE / "results.json").read_text())
  readme = HERE / "README.md"
  between = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.DOTALL)
  readme.write_text(between.sub(lambda m: f"{m[1]}{table(results)}\n{m[2]}", readme.read_text()))
  if "scale" in results:
    figure(results["scale"])


if __name__ == "__main__":
  main()
