"""What a picture of samples is made of, whatever the kind of x and of what it was drawn for."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from genjax import core


class Kind(Protocol):
  """What a kind of field knows: how a person gives one, and how one is drawn.

  word: what it is called on the command line, --WORD=VALUE. behind: how many real examples are
  drawn behind samples of this kind.
  """

  word: str
  behind: int

  def read(self, text: str, field: core.Field, flag: str) -> Any:
    """One value [*shape], or a core.Partial of such, of --flag=text. Raises UserError."""

  def cells(self, a: Any, field: core.Field, height: int, width: int) -> np.ndarray:
    """Values [N, *shape] in model units as uint8 [N, height, width, 3]."""

  def titles(self, a: Any, field: core.Field) -> list[str] | None:
    """Values [N, *shape] in a few words each; None for what cannot be said so."""


class Asked(NamedTuple):
  """One condition of N samples; value: in model units [N, *shape], or a core.Partial of such."""

  name: str
  field: core.Field
  kind: Kind
  value: Any


class Shown(NamedTuple):
  """Samples and what they were drawn for.

  x: [N, *event] in stored units. spec: of the data. reference: real x, stored, to draw behind.
  told: the conditions, without labels that are merely taken in turn. truth: as x, or None.
  """

  x: np.ndarray
  spec: core.DataSpec
  reference: np.ndarray
  told: tuple[Asked, ...] = ()
  truth: np.ndarray | None = None
