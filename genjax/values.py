"""Values of configuration fields: read from text, and held to their declared types.

A field's annotation is its type: `int`, `bool`, `float`, `str`, a tuple of these, or `Any`. Bounds
stand in the annotation too, `Annotated[int, core.Bounds(1)]`. Every mistake is a `core.UserError`
that names the dotted key, the value and what was expected.
"""

import ast
import math
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

from genjax import core

TRUE = ("true", "t", "yes", "1")
FALSE = ("false", "f", "no", "0")


def parse(text: str, hint: Any, key: str) -> Any:
  """Returns the value that a text of the command line stands for, by the field's type.

  Numbers may be written in any usual way ("1e4" is an integer too), truth as true or false in any
  case, and tuples with or without brackets: "64,64", "(64, 64)" or "w2, nearest".
  """
  base = _base(hint)
  if base is bool:
    return _truth(text, key)
  if base in (int, float):
    return _number(text, base, key)
  if base is str:
    return text
  if get_origin(base) is tuple:
    return _tuple(text, get_args(base), key)
  return _literal(text)


def _base(hint: Any) -> Any:
  """The type without its bounds."""
  return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _truth(text: str, key: str) -> bool:
  word = text.strip().lower()
  if word not in (*TRUE, *FALSE):
    raise core.UserError(f"{key}={text!r}, expected true or false")
  return word in TRUE


def _number(text: str, base: type, key: str) -> int | float:
  expected = "a whole number" if base is int else "a number"
  try:
    if base is int and text.strip().lstrip("+-").replace("_", "").isdigit():
      return int(text)  # exact, however large
    value = float(text)
  except ValueError:
    raise core.UserError(f"{key}={text!r}, expected {expected}") from None

  if base is float:
    return value
  if not value.is_integer():  # infinities and NaN are none either
    raise core.UserError(f"{key}={text!r}, expected {expected}")
  return int(value)


def _tuple(text: str, hints: Sequence[Any], key: str) -> tuple:
  parts = _parts(_without_brackets(text.strip()))
  if hints and hints[-1] is Ellipsis:
    hints = (hints[0],) * len(parts)
  if len(hints) != len(parts):
    raise core.UserError(f"{key}={text!r}, expected {len(hints)} values")
  return tuple(parse(part, hint, key) for part, hint in zip(parts, hints))


def _without_brackets(text: str) -> str:
  """The text without one pair of brackets that holds all of it."""
  if text[:1] + text[-1:] not in ("()", "[]"):
    return text
  depth = 0
  for letter in text[:-1]:
    depth += (letter in "([") - (letter in ")]")
    if not depth:
      return text  # the first bracket closes before the end: "(1, 2), (3, 4)"
  return text[1:-1]


def _parts(text: str) -> list[str]:
  """The parts between commas that no bracket encloses, without blanks and quotation marks."""
  parts, depth = [""], 0
  for letter in text:
    depth += (letter in "([") - (letter in ")]")
    if letter == "," and not depth:
      parts.append("")
    else:
      parts[-1] += letter
  stripped = [part.strip().strip("'\"") for part in parts]
  # A comma at the end, or nothing at all, makes no value.
  return stripped if stripped[-1] else stripped[:-1]


def _literal(text: str) -> Any:
  """The Python literal, or else the text itself."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def conform(value: Any, hint: Any, key: str) -> Any:
  """Returns the value as its declared type.

  An int may stand for a float, and a single value for a tuple of one. Raises UserError for another
  type, or for a number out of its bounds.
  """
  if get_origin(hint) is Annotated:
    base, bounds = get_args(hint)[:2]
    return _bounded(conform(value, base, key), bounds, key)
  if hint is Any:
    return value
  if get_origin(hint) is tuple:
    return _conform_tuple(value, get_args(hint), key)
  if isinstance(hint, types.UnionType) or get_origin(hint) is typing.Union:
    raise TypeError(f"{key}: a configuration field has one type, not {hint}")

  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if type(value) is not hint or (hint is float and not math.isfinite(value)):
    raise core.UserError(f"{key}={value!r}, expected {hint.__name__}")
  return value


def _conform_tuple(value: Any, hints: Sequence[Any], key: str) -> tuple:
  if isinstance(value, str):
    value = (value,) if value else ()
  if not isinstance(value, (tuple, list)):
    value = (value,)
  if hints and hints[-1] is Ellipsis:
    hints = (hints[0],) * len(value)
  if len(hints) != len(value):
    raise core.UserError(f"{key}={tuple(value)!r}, expected {len(hints)} values")
  return tuple(conform(v, hint, key) for v, hint in zip(value, hints))


def _bounded(value: Any, bounds: core.Bounds, key: str) -> Any:
  above = value > bounds.low if bounds.open else value >= bounds.low
  if above and value <= bounds.high:
    return value
  sign = ">" if bounds.open else ">="
  most = "" if bounds.high == math.inf else f" and <= {_plain(bounds.high)}"
  raise core.UserError(f"{key}={value!r}, expected a number {sign} {_plain(bounds.low)}{most}")


def _plain(number: float) -> str:
  """All digits of a whole number: 4294967295, not 4.29e+09."""
  return str(int(number)) if float(number).is_integer() else str(number)
