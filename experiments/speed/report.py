"""Writes results.json as the tables of README.md and as scaling.png; run.py calls it at its end.

    python experiments/speed/report.py

A slope in the figure is that of log y over log x between the last two values: 1 means proportional,
0 constant.
"""

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib

from genjax.report import markdown

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
# How the tables call the work of a contestant.
WORK = {
  "step": "training step, batch 64",
  "forward": "forward pass, batch 64",
  "sample": "64 samples, DDIM, 50 steps",
}
# How the figure labels what grows.
SCALES = {
  "batch": "training step, batch",
  "width": "training step, channels of the first level",
  "resolution": "training step, pixels of a side",
  "steps": "samples, DDIM steps",
}


def unet(rows: dict) -> list[str]:
  """Returns the table of one network in genjax and in PyTorch."""
  lines = ["| work | genjax | PyTorch | ratio | genjax in bfloat16 |", "|---|---|---|---|---|"]
  for name, label in WORK.items():
    row = rows[name]

    # The faster of PyTorch's two memory layouts counts.
    theirs = {k: v for k, v in row.items() if k not in ("genjax", "ratio")}
    best = min(theirs, key=theirs.get)
    half = rows["bfloat16"].get(name)
    lines.append(
      f"| {label} | {row['genjax']:.3g} s | {theirs[best]:.3g} s ({best}) | {row['ratio']:.2f} "
      f"| {f'{half:.3g} s' if half else ''} |"
    )

  peak = rows["peak_mb"]
  ratio = peak["genjax"] / peak["torch"]
  line = f"| most memory at once | {peak['genjax']:,} MB | {peak['torch']:,} MB | {ratio:.2f} | |"
  return [*lines, line]


def peers(rows: dict) -> list[str]:
  """Returns the table of the JAX peers."""
  lines = ["| peer | parameters | work | genjax | peer | ratio |", "|---|---|---|---|---|---|"]
  for peer, row in without_machine(rows):
    for name in ("step", "forward"):
      work = row[name]
      lines.append(
        f"| {peer} | {row['parameters']:,} | {WORK[name]} | {work['genjax']:.3g} s "
        f"| {work[peer]:.3g} s | {work['ratio']:.2f} |"
      )
  return lines


def loop(rows: dict) -> list[str]:
  """Returns two tables: the loop against the bare step, and the stalls of whole runs."""
  lines = [
    "| steps | bare step | in the loop | overhead | wait for data |",
    "|---|---|---|---|---|",
  ]
  for kind, row in without_machine(rows):
    if kind.startswith("loop"):
      lines.append(
        f"| {kind[6:]} | {row['bare_ms']:.3g} ms | {row['loop_ms']:.3g} ms "
        f"| {row['overhead']:.1%} | {row['data_wait']:.1%} |"
      )

  lines += ["", "| run | a save | a line of the log | a picture | all, of the time of training |"]
  lines += ["|---|---|---|---|---|"]
  for kind, row in without_machine(rows):
    if kind.startswith("stalls"):
      cells = (f"{row[f'{name}_ms']:.3g} ms" for name in ("save", "log", "picture"))
      lines.append(f"| {kind[8:]} | {' | '.join(cells)} | {row['stalled']:.2%} |")
  return lines


def quality(rows: dict) -> list[str]:
  """Returns the table of quality against solver and number of steps."""
  lines = ["| solver | steps | 64 samples | Fréchet distance | legible |", "|---|---|---|---|---|"]
  for row in rows["rows"]:
    lines.append(
      f"| {row['solver']} | {row['steps']} | {row['seconds']:.3g} s | {row['fd']:.2f} "
      f"| {row['legible']:.1%} |"
    )
  return lines


def start(rows: dict) -> list[str]:
  """Returns the table of seconds from the command to the first step."""
  return [
    "| from the command to the first step of `ddpm_mnist.py:smoke` | |",
    "|---|---|",
    f"| empty compilation cache | {rows['cold']} s |",
    f"| warm compilation cache | {rows['warm']} s |",
    f"| `import genjax.main` alone | {rows['import']} s |",
  ]


def without_machine(rows: dict) -> Iterator[tuple[str, Any]]:
  """Iterates over the measurements of a section, without its description of the machine."""
  return ((k, v) for k, v in rows.items() if k != "machine")


# Section of results.json: its table. A table has the same name in README.md.
TABLES = {f.__name__: f for f in (unet, peers, loop, quality, start)}


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
  """Returns the slope of log y over log x between the last two values."""
  return math.log(ys[-1] / ys[-2]) / math.log(xs[-1] / xs[-2])


def figure(scale: dict) -> None:
  """Writes scaling.png: seconds above, memory below, a column for each thing that grows."""
  sheet, axes = pyplot.subplots(2, 4, figsize=(12, 5), layout="constrained")
  for column, (axis, label) in zip(axes.T, SCALES.items()):
    xs = [int(x) for x in scale[axis]]
    for panel, key, unit in zip(column, ("seconds", "peak_mb"), ("seconds", "MB")):
      ys = [row[key] for row in scale[axis].values()]
      panel.plot(xs, ys, marker="o")
      panel.set_xscale("log")
      panel.set_ylim(bottom=0, top=1.1 * max(ys))
      panel.set_title(f"slope {slope(xs, ys):.2f}", fontsize=9)
      panel.set_xticks(xs, [str(x) for x in xs])
      panel.minorticks_off()
      panel.set_ylabel(unit)
    column[1].set_xlabel(label)
  sheet.savefig(HERE / "scaling.png", dpi=90)


def main() -> None:
  """Writes the tables and the figure of all sections that results.json has."""
  results = json.loads((HERE / "results.json").read_text())
  for name, table in TABLES.items():
    if name in results:
      markdown.insert(HERE / "README.md", "\n".join(table(results[name])), name)
  if "scale" in results:
    figure(results["scale"])


if __name__ == "__main__":
  main()
