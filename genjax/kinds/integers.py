"""Labels, words and other integers: given by name or by number, drawn as words."""

import dataclasses

import numpy as np

from genjax import core
from genjax.kinds import letters

# A number given on the command line has fewer digits than this.
DIGITS = 10


@dataclasses.dataclass(frozen=True)
class Integers:
  """Integers [*shape] in 0 ... field.levels - 1; the value field.levels means "none".

  word: the flag that gives them on the command line, such as "label".
  behind: 0, since nothing is drawn behind words.
  """

  word: str
  behind: int = 0

  def read(self, text: str, field: core.Field, flag: str) -> np.ndarray:
    """Returns the integers in `text`, separated by blanks, as int32 [*shape].

    Each may be a name in field.names or a number. If there are too few, the rest is "none".

    Raises UserError for an unknown name, a number out of range, or too many of them; a single
    integer, such as a label, may not be left out.
    """
    size = int(np.prod(field.shape))
    words = text.split()
    if len(words) > size or (not field.shape and len(words) != 1):
      raise core.UserError(f"--{flag}={text!r}: expected at most {size} of {_choices(field)}")

    values = [self._value(word, field, flag) for word in words]
    values += [field.levels] * (size - len(values))
    return np.array(values, np.int32).reshape(field.shape)

  def _value(self, word: str, field: core.Field, flag: str) -> int:
    """Returns the integer that a word names or spells; raises UserError if it is neither."""
    if word in field.names:
      return field.names.index(word)
    if field.names and not word.isdigit():
      raise core.unknown(flag, word, field.names)

    # int() fails for some characters that isdigit() accepts, and for thousands of digits.
    number = word.isascii() and word.isdigit() and len(word) < DIGITS
    if not (number and int(word) < field.levels):
      raise core.UserError(f"--{flag}={word[:DIGITS]!r}: expected {_choices(field)}")
    return int(word)

  def cells(self, a: np.ndarray, field: core.Field, height: int, width: int) -> np.ndarray:
    """Returns the titles of integers [N, *shape] as pictures, uint8 [N, height, width, 3]."""
    return letters.cells(self.titles(a, field), height, width)

  def titles(self, a: np.ndarray, field: core.Field) -> list[str]:
    """Returns integers [N, *shape] as N texts of names or numbers; "none" if nothing is left."""
    name = lambda i: "" if i >= field.levels else field.names[i] if field.names else str(i)
    rows = np.asarray(a).reshape(len(a), -1)
    return [" ".join(filter(None, map(name, row.tolist()))) or "none" for row in rows]


def _choices(field: core.Field) -> str:
  """Returns what an integer of a field may be, for an error message."""
  return ", ".join(field.names) if field.names else f"0 to {field.levels - 1}"
