"""Conditions for samples that are given on the command line."""

import numpy as np
import pytest
from PIL import Image

from genjax import core, main
from genjax.modes import said

SPEC = core.DataSpec(shape=(2, 2, 1), range=(-1.0, 1.0), classes=10, kind="image").beside(
  known=core.Field(shape=(2, 2, 1), range=(-1.0, 1.0), kind="image"),
  edges=core.Field(shape=(2, 2, 1), range=(0.0, 1.0), kind="image"),
  text=core.Field(shape=(2,), dtype="int32", levels=2, kind="text", names=("upper", "left")),
)


def read(words, names, spec):
  return said.read(said.Words(words, ("seed", "workdir")), names, spec)


@pytest.fixture
def files(tmp_path):
  Image.fromarray(np.full((2, 2), 255, np.uint8)).save(tmp_path / "a.png")
  Image.fromarray(np.array([[255, 0], [0, 0]], np.uint8)).save(tmp_path / "m.png")
  return tmp_path


def test_values_are_taken_in_the_order_they_are_said():
  wanted = read([("label", "3,1"), ("label", "7")], ("label",), SPEC)
  np.testing.assert_array_equal(wanted["label"], [3, 1, 7])
  wanted = read([("text", "upper left, left")], ("text",), SPEC)
  np.testing.assert_array_equal(wanted["text"], [[0, 1], [1, 2]])
  assert read([], ("label",), SPEC) == {}


def test_a_mask_is_white_where_the_picture_is_to_be_made(files):
  words = [("image", f"{files}/a.png"), ("mask", f"{files}/m.png")]
  value, there = read(words, ("known",), SPEC)["known"]
  np.testing.assert_array_equal(there[0, ..., 0], [[0, 1], [1, 1]])
  np.testing.assert_array_equal(value, there)
  by_name = read([("edges", f"{files}/a.png")], ("known", "edges"), SPEC)
  assert list(by_name) == ["edges"] and by_name["edges"].there.all()


def test_the_digest_is_of_what_is_asked_for():
  one, two = (read([("label", text)], ("label",), SPEC) for text in ("3", "4"))
  assert said.digest(one) != said.digest(two) and len(said.digest(one)) == 6
  assert said.digest({}) == ""


@pytest.mark.parametrize(
  ("words", "names", "message"),
  [
    ([("lable", "7")], ("label",), "unknown flag '--lable'; did you mean '--label'"),
    ([("label", "7")], (), "no place for it; it is told nothing"),
    ([("text", "upper")], ("label",), "no place for it; it is told --label"),
    ([("image", "A")], ("known", "edges"), "may be one of known, edges; use its name"),
    ([("mask", "A")], ("known",), "goes with one picture"),
    ([("sed", "3")], ("label",), "unknown flag '--sed'; did you mean '--seed'"),
    ([("image", "A")], ("known",), "--image: nothing is missing from it; give --mask=FILE"),
    ([("known", "nowhere.png")], ("known",), "--known=nowhere.png: there is no such file"),
    ([("image", "A"), ("mask", "nowhere.png")], ("known",), "--mask=nowhere.png: there is no"),
  ],
)
def test_what_has_no_place_is_one_line(words, names, message, files):
  words = [(flag, text.replace("A", f"{files}/a.png")) for flag, text in words]
  with pytest.raises(core.UserError, match=message):
    read(words, names, SPEC)


def test_only_sampling_is_told_anything():
  split = lambda *arguments: main.split(list(arguments))
  told = split("--mode=sample", "--label=7", "--num=3", "--config.model.clip=false")
  assert told == (["--mode=sample", "--num=3"], ["model.clip=false"], [("label", "7")])
  assert split("--mode=train", "--label=7") == (["--mode=train", "--label=7"], [], [])
  assert split("--mode=sample", "stray")[0] == ["--mode=sample", "stray"]
  assert split("--mode", "sample", "--text=a b")[2] == [("text", "a b")]
