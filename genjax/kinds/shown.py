"""What a picture of samples is made of: samples, their conditions, and the truth."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from genjax import core


class Kind(Protocol):
  """How a person gives a value of a field of this kind, and how its values are drawn.

  The kinds that x can have also draw samples: they have the methods `picture`, `legend`, `pairs`
  and `strip`, see image.py.

  word: what a value is called on the command line, --WORD=VALUE.
  behind: how many real examples are drawn behind samples of this kind.
  """

  word: str
  behind: int

  def read(self, text: str, field: core.Field, flag: str) -> Any:
    """Returns the value [*shape] that --flag=text gives, or a core.Partial of it.

    Raises UserError if the text cannot be read.
    """

  def cells(self, a: Any, field: core.Field, height: int, width: int) -> np.ndarray:
    """Returns values [N, *shape] in model units as pictures, uint8 [N, height, width, 3]."""

  def titles(self, a: Any, field: core.Field) -> list[str] | None:
    """Returns values [N, *shape] in a few words each, or None if words cannot say them."""


class Asked(NamedTuple):
  """One condition of N samples.

  name: the field's name.
  field: its description.
  kind: how it is drawn.
  value: [N, *shape] in model units, or a core.Partial of it.
  """

  name: str
  field: core.Field
  kind: Kind
  value: Any


class Shown(NamedTuple):
  """N samples and what they were drawn for.

  x: [N, *event] in stored units, such as uint8 grey levels.
  spec: the data that x is like.
  reference: real x in stored units, to be drawn behind the samples.
  told: the conditions; () if the only one is a label without names, which are taken in turn and
    need not be read beside each sample.
  truth: the x that belong to the conditions, as `x`; None if there are none.
  """

  x: np.ndarray
  spec: core.DataSpec
  reference: np.ndarray
  told: tuple[Asked, ...] = ()
  truth: np.ndarray | None = None
