"""Points: numbers on the command line, scatter plots on the page."""

import dataclasses

import numpy as np

from genjax import core
from genjax.kinds import letters
from genjax.kinds.shown import Shown
from genjax.report import pictures

PANELS = 8  # of samples that were drawn for different words
TITLE = 28  # pixels above a panel


@dataclasses.dataclass(frozen=True)
class Points:
  """Real vectors [D]."""

  word: str = "point"
  behind: int = 1000

  def read(self, text: str, field: core.Field, flag: str) -> core.Partial:
    size = int(np.prod(field.shape))
    try:
      values = np.array([float(word) for word in text.split()], np.float32)
    except ValueError:
      values = np.zeros(0)
    if len(values) != size or not np.isfinite(values).all():
      raise core.UserError(f"--{flag}={text!r}: expected {size} numbers separated by blanks")
    return core.partial(values.reshape(field.shape))

  def cells(self, a, field: core.Field, height: int, width: int) -> np.ndarray:
    return letters.cells(self.titles(a, field), height, width)

  def titles(self, a, field: core.Field) -> list[str]:
    value = a.value if isinstance(a, core.Partial) else a
    return [" ".join(f"{v:.2g}" for v in row) for row in np.reshape(value, (len(value), -1))]

  def picture(self, shown: Shown) -> np.ndarray:
    """A scatter plot over real points; a panel for each word, or one for the points given."""
    limits = pictures.box(shown.reference)
    plot = lambda x: pictures.scatter(x, shown.reference, limits)
    panels = []
    for told in shown.told:
      if told.field.integer:
        titles = np.array(told.kind.titles(told.value, told.field))
        panels += [(t, plot(shown.x[titles == t])) for t in sorted(set(titles))[:PANELS]]
      elif told.field.shape == shown.spec.shape:
        value = told.value.value if isinstance(told.value, core.Partial) else told.value
        panels += [(told.name, plot(np.asarray(value))), ("sample", plot(shown.x))]
    if not panels:
      return plot(shown.x)
    heads = [letters.cells([t], TITLE, p.shape[1])[0] for t, p in panels]
    return np.concatenate([np.concatenate([h, p]) for h, (_, p) in zip(heads, panels)], axis=1)

  def legend(self, shown: Shown) -> list[str]:
    """Nothing: each panel has a title."""
    return []

  def pairs(self, x: np.ndarray, again: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """Reconstructions [N, D] over what they are of."""
    return pictures.scatter(again, x, pictures.box(x))

  def strip(self, film: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """A film [frames, N, D] as one image, time running to the right."""
    return pictures.scatter(film[pictures.spread(len(film), 6)], limits=pictures.box(film[-1]))
