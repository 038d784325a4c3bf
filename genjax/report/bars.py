"""Bar charts with error bars over random seeds, for the pages of experiments."""

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
  """Draws the mean of several seeds as a bar and their standard deviation as an error bar.

  path: the PNG file that is written.
  groups: {name: at each place, the values of all seeds}. There is no bar where there are no values.
  places: what stands under each place on the horizontal axis.
  labels: the labels of the horizontal and of the vertical axis.
  limits: the lowest and the highest value shown.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 3.5), layout="constrained")
  axis = figure.subplots()
  # The bars of one place stand side by side and fill 80 % of it.
  width = 0.8 / len(groups)

  for i, (name, values) in enumerate(groups.items()):
    offset = width * (i - (len(groups) - 1) / 2)
    have = [(j + offset, v) for j, v in enumerate(values) if len(v)]
    means = [np.mean(v) for _, v in have]
    spread = [np.std(v, ddof=1) for _, v in have]
    axis.bar([x for x, _ in have], means, 0.9 * width, yerr=spread, capsize=3, label=name)

  axis.set(xticks=range(len(places)), xticklabels=places, xlabel=labels[0], ylabel=labels[1])
  axis.set_ylim(*limits)
  axis.legend(fontsize=8, loc="upper left")
  figure.savefig(path, dpi=100)
