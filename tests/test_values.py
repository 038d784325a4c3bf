"""Texts of the command line become values of the declared types, and nothing else passes."""

from typing import Annotated, Any

import pytest

from genjax import core, values


@pytest.mark.parametrize(
  ("text", "hint", "value"),
  [
    ("1e4", int, 10_000),
    ("12_000", int, 12_000),
    ("9007199254740993", int, 9007199254740993),  # above what a float holds
    ("-3", int, -3),
    ("1e-3", float, 1e-3),
    ("1", float, 1.0),
    ("true", bool, True),
    ("False", bool, False),
    ("0", bool, False),
    ("w2, nearest", str, "w2, nearest"),
    ("w2, nearest", tuple[str, ...], ("w2", "nearest")),
    ("('w2', 'nearest')", tuple[str, ...], ("w2", "nearest")),
    ("w2", tuple[str, ...], ("w2",)),
    ("", tuple[str, ...], ()),
    ("()", tuple[int, ...], ()),
    ("64,64", tuple[int, ...], (64, 64)),
    ("[64, 64]", tuple[int, ...], (64, 64)),
    ("(64,)", tuple[int, ...], (64,)),
    ("true,false", tuple[bool, ...], (True, False)),
    ("0,1", tuple[float, float], (0.0, 1.0)),
    ("(1, 2), (3, 4)", tuple[tuple[int, int], ...], ((1, 2), (3, 4))),
    ("1e4", Annotated[int, core.Bounds(1)], 10_000),
    ("{'a': 1}", Any, {"a": 1}),
    ("a b", Any, "a b"),
  ],
)
def test_a_text_is_read_by_the_type_of_its_field(text, hint, value):
  read = values.parse(text, hint, "key")
  assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
  ("text", "hint", "message"),
  [
    ("many", int, "key='many', expected a whole number"),
    ("1.5", int, "expected a whole number"),
    ("inf", int, "expected a whole number"),
    ("nan", int, "expected a whole number"),
    ("", float, "expected a number"),
    ("maybe", bool, "expected true or false"),
    ("1,2,3", tuple[float, float], "expected 2 values"),
    ("8,x", tuple[int, ...], "key='x', expected a whole number"),
    ("64,,64", tuple[int, ...], "key='', expected a whole number"),
  ],
)
def test_what_is_no_value_is_refused(text, hint, message):
  with pytest.raises(core.UserError, match=message):
    values.parse(text, hint, "key")


def test_bounds_are_said_in_full():
  with pytest.raises(core.UserError, match=r"expected a number >= 0 and <= 4294967295$"):
    values.conform(2**32, core.Seed, "seed")
  with pytest.raises(core.UserError, match=r"expected a number > 0$"):
    values.conform(0.0, core.Positive, "lr")
  with pytest.raises(core.UserError, match=r"expected a number >= 0.5 and <= 1$"):
    values.conform(0, Annotated[int, core.Bounds(0.5, 1)], "x")
