"""Groups of bars with their deviations over seeds, for the pages of experiments."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np


def draw(
  path: pathlib.Path,
  groups: Mapping[str, Sequence[Sequence[float]]],
  places: Sequence[str],
  labels: tuple[str, str],
  limits: tuple[float, float],
) -> None:
  """Writes a PNG. groups: name -> the values of each seed, at each place (none: no bar).

  labels, limits: of the axes, and of the values shown.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 3.5), layout="constrained")
  axis, width = figure.subplots(), 0.8 / len(groups)
  for i, (name, values) in enumerate(groups.items()):
    have = [(j + width * (i - (len(groups) - 1) / 2), v) for j, v in enumerate(values) if len(v)]
    means, spread = ([f(v) for _, v in have] for f in (np.mean, lambda v: np.std(v, ddof=1)))
    axis.bar([x for x, _ in have], means, 0.9 * width, yerr=spread, capsize=3, label=name)
  axis.set(xticks=range(len(places)), xticklabels=places, xlabel=labels[0], ylabel=labels[1])
  axis.set_ylim(*limits)
  axis.legend(fontsize=8, loc="upper left")
  figure.savefig(path, dpi=100)
