"""Kinds of fields: how a person gives their values, and how they are drawn in figures."""

import numpy as np
import pytest
from PIL import Image

from genjax import core
from genjax.kinds import letters, shown, table

FIELDS = {
  "image": core.Field(shape=(3, 4, 1), range=(-1.0, 1.0), kind="image"),
  "binary": core.Field(shape=(3, 4, 1), range=(0.0, 1.0), levels=2, kind="binary"),
  "points": core.Field(shape=(2,)),
  "label": core.Field(shape=(), dtype="int32", levels=10, kind="label"),
  "text": core.Field(shape=(3,), dtype="int32", levels=2, kind="text", names=("upper", "left")),
  "tokens": core.Field(shape=(2,), dtype="int32", levels=4, kind="tokens"),
}


def save(path, pixels, mode="L"):
  Image.fromarray(np.asarray(pixels, np.uint8), mode).save(path)
  return str(path)


def test_every_kind_is_here():
  assert set(FIELDS) == set(table.KINDS)


def test_a_picture_is_read_in_the_units_of_its_field(tmp_path):
  grey = np.linspace(0, 255, 12).reshape(3, 4)
  value, there = table.KINDS["image"].read(save(tmp_path / "a.png", grey), FIELDS["image"], "a")
  np.testing.assert_allclose(value[..., 0], grey.astype(int) / 127.5 - 1, atol=1e-6)
  assert there.shape == (3, 4, 1) and there.all()
  bits, _ = table.KINDS["binary"].read(str(tmp_path / "a.png"), FIELDS["binary"], "a")
  np.testing.assert_array_equal(bits[..., 0], grey.astype(int) > 127.5)


def test_what_is_transparent_is_missing(tmp_path):
  pixels = np.stack([np.full((3, 4), 200), np.full((3, 4), 255)], axis=-1)
  pixels[0, :, 1] = 0
  path = save(tmp_path / "hole.png", pixels, "LA")
  value, there = table.KINDS["image"].read(path, FIELDS["image"], "a")
  np.testing.assert_array_equal(there[..., 0], [[0] * 4, [1] * 4, [1] * 4])
  assert not value[0].any() and np.allclose(value[1:], 200 / 127.5 - 1)


def test_words_are_read_by_name_and_filled_up():
  read = lambda kind, text: table.KINDS[kind].read(text, FIELDS[kind], kind).tolist()
  assert read("text", "left upper") == [1, 0, 2] and read("text", "") == [2, 2, 2]
  assert read("label", "7") == 7 and read("tokens", "3 0") == [3, 0]
  value, there = table.KINDS["points"].read("1.5 -2", FIELDS["points"], "y")
  assert value.tolist() == [1.5, -2] and there.tolist() == [1]


@pytest.mark.parametrize(
  ("kind", "text", "message"),
  [
    ("image", "nowhere.png", "there is no such file"),
    ("image", "BROKEN", "cannot be read as a picture"),
    ("image", "LARGE", "5x2 pixels, expected 4x3"),
    ("label", "10", "expected 0 to 9"),
    ("label", "-1", "--it='-1': expected 0 to 9"),
    ("label", "9" * 5000, "expected 0 to 9"),
    ("label", "", "expected at most 1"),
    ("text", "lefft", "did you mean 'left'"),
    ("text", "left left left left", "at most 3 of upper, left"),
    ("tokens", "4", "expected 0 to 3"),
    ("points", "1", "expected 2 numbers"),
    ("points", "1 nan", "expected 2 numbers"),
    ("points", "a b", "expected 2 numbers"),
  ],
)
def test_nonsense_is_one_line(kind, text, message, tmp_path):
  (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
  save(tmp_path / "large.png", np.zeros((2, 5)))
  text = {"BROKEN": f"{tmp_path}/broken.png", "LARGE": f"{tmp_path}/large.png"}.get(text, text)
  with pytest.raises(core.UserError, match=message) as error:
    table.KINDS[kind].read(text, FIELDS[kind], "it")
  assert "\n" not in str(error.value) and len(str(error.value)) < 200


def values(kind, n=2):
  field = FIELDS[kind]
  if field.integer:
    return np.zeros((n, *field.shape), np.int32)
  return np.zeros((n, *field.shape), np.float32)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_kind_draws_cells(kind):
  cells = table.KINDS[kind].cells(values(kind), FIELDS[kind], 20, 30)
  assert cells.shape == (2, 20, 30, 3) and cells.dtype == np.uint8
  np.testing.assert_array_equal(cells[0], cells[1])


def test_what_is_missing_is_drawn_apart():
  value = np.ones((1, 3, 4, 1), np.float32)
  there = value.copy()
  there[:, 0] = 0
  cells = table.KINDS["image"].cells(core.Partial(value * there, there), FIELDS["image"], 3, 4)
  assert (cells[0, 1:] == 255).all() and len(np.unique(cells[0, 0], axis=0)) == 1
  assert not (cells[0, 0] == cells[0, 0, 0, 0]).all()  # a colour, which no grey is


def test_titles_say_names_and_leave_out_none():
  assert table.KINDS["text"].titles(np.array([[1, 0, 2], [2, 2, 2]]), FIELDS["text"]) == [
    "left upper", "none"
  ]  # fmt: skip
  one, other = letters.cells(["left", "upper"], 24, 60)
  assert (one != other).any() and (one == 255).mean() > 0.5


SPEC = core.DataSpec(shape=(3, 4, 1), range=(-1.0, 1.0), levels=256, kind="image")


def test_samples_stand_between_condition_and_truth():
  x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
  kind = table.KINDS["image"]
  told = shown.Asked("image", FIELDS["image"], kind, np.full((2, 3, 4, 1), -1, np.float32))
  what = shown.Shown(x, SPEC, x, (told,), 255 - x)
  assert kind.legend(what) == ["image", "sample", "truth"]
  picture = kind.picture(what)
  assert picture.shape == (3, 6 * 5 - 1, 3)
  np.testing.assert_array_equal(picture[:, :4], 0)
  np.testing.assert_array_equal(picture[:, 5:9, 0], x[0, ..., 0])
  np.testing.assert_array_equal(picture[:, 10:14, 0], 255 - x[0, ..., 0])
  alone = kind.picture(what._replace(told=(), truth=None))
  assert alone.shape == (3, 9, 1) and kind.legend(what._replace(told=())) == []


def test_points_have_a_panel_for_each_word():
  spec, x = core.DataSpec(shape=(2,)), np.random.default_rng(0).normal(size=(6, 2))
  words = np.array([[0, 1, 2]] * 3 + [[1, 2, 2]] * 3)
  told = shown.Asked("text", FIELDS["text"], table.KINDS["text"], words)
  draw = table.KINDS["points"].picture
  plain, two = draw(shown.Shown(x, spec, x)), draw(shown.Shown(x, spec, x, (told,)))
  assert two.shape[1] == 2 * plain.shape[1] and two.shape[0] > plain.shape[0]
