"""Labels, words and other integers: given by name or number, drawn in letters."""

import dataclasses

import numpy as np

from genjax import core
from genjax.kinds import letters

DIGITS = 10  # of a number that may be said


@dataclasses.dataclass(frozen=True)
class Integers:
  """Integers [*shape], separated by blanks; too few are filled up with "none"."""

  word: str
  behind: int = 0

  def read(self, text: str, field: core.Field, flag: str) -> np.ndarray:
    size = int(np.prod(field.shape))
    words = text.split()
    if len(words) > size or (not field.shape and len(words) != 1):
      raise core.UserError(f"--{flag}={text!r}: expected at most {size} of {_choices(field)}")
    values = [self._value(word, field, flag) for word in words]
    values += [field.levels] * (size - len(values))
    return np.array(values, np.int32).reshape(field.shape)

  def _value(self, word, field, flag):
    if word in field.names:
      return field.names.index(word)
    if field.names and not word.isdigit():
      raise core.unknown(flag, word, field.names)
    number = word.isascii() and word.isdigit() and len(word) < DIGITS
    if not (number and int(word) < field.levels):
      raise core.UserError(f"--{flag}={word[:DIGITS]!r}: expected {_choices(field)}")
    return int(word)

  def cells(self, a: np.ndarray, field: core.Field, height: int, width: int) -> np.ndarray:
    return letters.cells(self.titles(a, field), height, width)

  def titles(self, a: np.ndarray, field: core.Field) -> list[str]:
    name = lambda i: "" if i >= field.levels else field.names[i] if field.names else str(i)
    rows = np.asarray(a).reshape(len(a), -1)
    return [" ".join(filter(None, map(name, row.tolist()))) or "none" for row in rows]


def _choices(field):
  return ", ".join(field.names) if field.names else f"0 to {field.levels - 1}"
