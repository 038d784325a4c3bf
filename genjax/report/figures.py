"""Curves as inline SVG that takes the colours and the font of the page around it.

Only numbers are drawn here. Names stand in the caption, as HTML.

A curve is drawn twice: as it was logged (light) and smoothed (dark). Where all N values are
positive and span more than a factor of four, the axis is logarithmic and so is the smoothing,

    smooth(y)_i = exp( sum_j w_ij log y_j ),    w_ij ~ exp(-(i - j)^2 / 2 s^2),    s = N / 100,

the geometric mean of the neighbours. Elsewhere both are linear: the same without exp and log.
"""

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# How many points of a curve are drawn; more would fall on the same pixels.
POINTS = 700
# matplotlib writes these colours into its file; the colours of the page then replace them.
COLOURS = {
  "#010101": "var(--muted)",
  "#020202": "var(--rule)",
  "#030303": "var(--accent)",
}
MUTED, RULE, ACCENT = COLOURS


def smooth(values: np.ndarray, width: float) -> np.ndarray:
  """Returns Gaussian-weighted running means, [N] -> [N].

  width: the standard deviation of the weights, in items. Near the ends the mean is over the items
    that exist.
  """
  values = np.asarray(values, np.float64)
  reach = min(int(3 * width), len(values) - 1)
  if reach < 1:
    return values

  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
  same = slice(reach, reach + len(values))  # of a full convolution, the items themselves
  total = np.convolve(values, kernel)[same]
  return total / np.convolve(np.ones(len(values)), kernel)[same]


def curve(points: Sequence[tuple[int, float]], label: str) -> str:
  """Returns the SVG of a metric over the steps.

  points: pairs (step, finite value), in the order of the steps.
  label: what a screen reader says; it is not drawn.
  """
  steps, values = np.array(points, np.float64).T
  log = _logarithmic(values)
  inner = np.log(values) if log else values
  dark = smooth(inner, len(values) / 100)

  # The indices of the points that are drawn.
  drawn = min(len(values), POINTS)
  keep = np.unique(np.linspace(0, len(values) - 1, drawn).astype(int))
  dark = (np.exp(dark) if log else dark)[keep]

  figure, axes = _axes(values, log)
  few = len(values) < 25  # few enough to mark each value
  axes.plot(
    steps[keep],
    values[keep],
    color=ACCENT,
    alpha=0.3,
    lw=0.8,
    marker="o" * few,
    ms=2.5,
  )
  axes.plot(steps[keep], dark, color=ACCENT, lw=1.6, solid_capstyle="round")

  # On a linear axis, a spike must not flatten the rest.
  if not log:
    low, high = np.percentile(values, (0.5, 99.5))
    low = min(low, dark.min())
    high = max(high, dark.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)

  axes.xaxis.set_major_formatter(lambda v, _: _short(v))
  axes.locator_params(axis="x", nbins=5)
  return _svg(figure, label)


def spectrum(points: Sequence[tuple[float, float]], label: str) -> str:
  """Returns the SVG of a metric over a number such as the noise level.

  points: pairs (number, finite value), in any order.
  label: what a screen reader says; it is not drawn.
  """
  numbers, values = np.array(sorted(points), np.float64).T
  figure, axes = _axes(values, _logarithmic(values))
  axes.plot(numbers, values, color=ACCENT, lw=1.6, marker="o", ms=3.5)
  axes.locator_params(axis="x", nbins=6)
  axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
  return _svg(figure, label)


def _logarithmic(values: np.ndarray) -> bool:
  """Returns whether these values belong on a logarithmic axis."""
  return bool(values.min() > 0 and values.max() > 4 * values.min())


def _short(value: float) -> str:
  """Returns a number in short: 2000 -> "2k"."""
  for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
    if abs(value) >= size:
      return f"{value / size:g}{letter}"
  return f"{value:g}"


def _axes(values: np.ndarray, log: bool) -> tuple[Any, Any]:
  """Returns an empty matplotlib (figure, axes) whose vertical axis suits the values."""
  from matplotlib import ticker
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4.2, 2.3), layout="constrained")
  axes = figure.add_subplot()
  axes.patch.set_visible(False)
  figure.patch.set_visible(False)
  axes.spines[["top", "right", "left"]].set_visible(False)
  axes.spines["bottom"].set_color(RULE)
  axes.tick_params(colors=MUTED, labelsize=9, length=0)
  axes.grid(axis="y", color=RULE, lw=0.6)
  axes.margins(x=0.01)

  if log:
    axes.set_yscale("log")
    # The fewer decades the values span, the more ticks in each.
    decades = np.log10(values.max() / values.min())
    subs = (1, 2, 5) if decades < 1.7 else (1, 3) if decades < 3 else (1,)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=7))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
  else:
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:.6g}")
  return figure, axes


def _svg(figure: Any, label: str) -> str:
  """Returns a figure as one <svg> element that can stand inside the page.

  Removed from matplotlib's file are its head, metadata, styles, comments and the names of groups;
  fonts and colours are left to the page.
  """
  import matplotlib

  out = io.StringIO()
  # The label makes the remaining ids of this figure different from those of the other figures.
  settings = {"svg.fonttype": "none", "svg.hashsalt": label, "path.simplify": True}
  nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
  with matplotlib.rc_context(settings):
    figure.savefig(out, format="svg", metadata=nothing)

  svg = out.getvalue()
  svg = svg[svg.index(">", svg.index("<svg")) + 1 :]
  svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
  # Names of groups are the same in every figure, and an id must be unique in the page.
  svg = re.sub(r'<g id="[^"]*"', "<g", svg)
  svg = re.sub(r" font-family: [^;\"]*;", "", svg)
  for stand_in, colour in COLOURS.items():
    svg = svg.replace(stand_in, colour)
  svg = re.sub(r"\s*\n\s*", "\n", svg)

  # The closing tag is still there; only the opening one is new.
  width, height = figure.get_size_inches() * 72
  title = html.escape(label)
  size = f"0 0 {width:g} {height:g}"
  return f'<svg role="img" aria-label="{title}" viewBox="{size}">{svg}'.strip()
