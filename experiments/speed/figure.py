"""results.json as scaling.png: time and peak memory against what grows, each with its slope.

    python experiments/speed/figure.py

The slope is that of log y over log x between the last two values: 1 is proportional, 0 constant.
"""

import json
import math
import pathlib

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
LABELS = {
  "batch": "training step, batch",
  "width": "training step, channels of the first level",
  "resolution": "training step, pixels of a side",
  "steps": "samples, DDIM steps",
}


def slope(xs, ys) -> float:
  return math.log(ys[-1] / ys[-2]) / math.log(xs[-1] / xs[-2])


def main() -> None:
  scale = json.loads((HERE / "results.json").read_text())["scale"]
  figure, axes = pyplot.subplots(2, 4, figsize=(12, 5), layout="constrained")
  for column, (axis, label) in zip(axes.T, LABELS.items()):
    xs = [int(x) for x in scale[axis]]
    for panel, key, unit in zip(column, ("seconds", "peak_mb"), ("seconds", "MB")):
      ys = [row[key] for row in scale[axis].values()]
      panel.loglog(xs, ys, marker="o")
      panel.set_title(f"slope {slope(xs, ys):.2f}", fontsize=9)
      panel.set_xticks(xs, [str(x) for x in xs])
      panel.minorticks_off()
      panel.set_ylabel(unit)
    column[1].set_xlabel(label)
  figure.savefig(HERE / "scaling.png", dpi=90)


if __name__ == "__main__":
  main()
