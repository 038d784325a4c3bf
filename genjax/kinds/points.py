"""Points: read as numbers, drawn as scatter plots."""

import dataclasses
from typing import Any

import numpy as np

from genjax import core
from genjax.kinds import letters
from genjax.kinds.shown import Shown
from genjax.report import pictures

# At most this many panels for one condition; each shows the samples drawn for the same words.
PANELS = 8
# Height of the title above a panel, in pixels.
TITLE = 28


@dataclasses.dataclass(frozen=True)
class Points:
  """Real vectors [D].

  word: the flag that gives a point on the command line.
  behind: how many real points are drawn in grey behind the samples.
  """

  word: str = "point"
  behind: int = 1000

  def read(self, text: str, field: core.Field, flag: str) -> core.Partial:
    """Returns the numbers in `text`, separated by blanks, as a core.Partial [*shape], all known.

    Raises UserError unless they are finite and as many as field.shape needs.
    """
    size = int(np.prod(field.shape))
    try:
      values = np.array([float(word) for word in text.split()], np.float32)
    except ValueError:
      values = np.zeros(0)
    if len(values) != size or not np.isfinite(values).all():
      raise core.UserError(f"--{flag}={text!r}: expected {size} numbers separated by blanks")
    value = values.reshape(field.shape)
    return core.Partial(value, np.ones((*value.shape[:-1], 1), np.float32))

  def cells(self, a: Any, field: core.Field, height: int, width: int) -> np.ndarray:
    """Returns the titles of points [N, *shape] as pictures, uint8 [N, height, width, 3]."""
    return letters.cells(self.titles(a, field), height, width)

  def titles(self, a: Any, field: core.Field) -> list[str]:
    """Returns points [N, *shape], or a core.Partial of them, as N texts of rounded numbers."""
    value = a.value if isinstance(a, core.Partial) else a
    return [" ".join(f"{v:.2g}" for v in row) for row in np.reshape(value, (len(value), -1))]

  def picture(self, shown: Shown) -> np.ndarray:
    """Returns samples in scatter plots over real points, uint8 [height, width, 3].

    Samples drawn for words or labels have a panel for each of these. Samples drawn for other
    points stand beside a panel of those points.
    """
    limits = pictures.box(shown.reference)
    plot = lambda x: pictures.scatter(x, shown.reference, limits)

    panels = []  # (title, picture)
    for told in shown.told:
      if told.field.integer:
        titles = np.array(told.kind.titles(told.value, told.field))
        panels += [(t, plot(shown.x[titles == t])) for t in sorted(set(titles))[:PANELS]]
      elif told.field.shape == shown.spec.shape:
        value = told.value.value if isinstance(told.value, core.Partial) else told.value
        panels += [(told.name, plot(np.asarray(value))), ("sample", plot(shown.x))]
    if not panels:
      return plot(shown.x)

    # Titles above, panels side by side.
    heads = [letters.cells([t], TITLE, p.shape[1])[0] for t, p in panels]
    return np.concatenate([np.concatenate([h, p]) for h, (_, p) in zip(heads, panels)], axis=1)

  def legend(self, shown: Shown) -> list[str]:
    """Returns []: each panel has a title."""
    return []

  def pairs(self, x: np.ndarray, again: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """Returns a scatter plot of reconstructions `again` [N, D] over their examples x [N, D]."""
    return pictures.scatter(again, x, pictures.box(x))

  def strip(self, film: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """Returns a film [frames, N, D] as one image in which time runs to the right."""
    return pictures.scatter(film[pictures.spread(len(film), 6)], limits=pictures.box(film[-1]))
