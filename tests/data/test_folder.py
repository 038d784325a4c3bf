"""A folder of images as a data set, whatever lies in the folder."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from genjax import core
from genjax.data import pictures, pipeline, transforms
from genjax.data.sources import folder

RED = (200, 30, 60)


def png(array, **options):
  out = io.BytesIO()
  PIL.Image.fromarray(array).save(out, "PNG", **options)
  return out.getvalue()


def giant():
  """Returns a PNG of a hundred bytes whose header claims 50,000 x 50,000 pixels."""
  chunk = lambda kind, data: (
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
  )
  head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", head)
    + chunk(b"IDAT", zlib.compress(b""))
    + chunk(b"IEND", b"")
  )


@pytest.fixture
def noise():
  return np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)


BAD = {
  "empty.png": lambda noise: b"",
  "truncated.png": lambda noise: png(noise)[:-600],
  "text.png": lambda noise: b"not a picture at all\n" * 9,
  "giant.png": lambda noise: giant(),
  "script.png": lambda noise: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
}


@pytest.fixture
def tree(tmp_path, noise):
  """Makes a folder of 100 images in two classes; the first pixel of an image is its number."""
  for i in range(100):
    path = tmp_path / ("cats", "dogs")[i % 2] / f"{i:03}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png(np.full((16, 16, 3), i, np.uint8)))
  (tmp_path / "notes.txt").write_text("not a picture, and not called one")
  (tmp_path / ".hidden.png").write_bytes(b"")
  return tmp_path


def numbers(split):
  return [int(x[0, 0, 0]) for x in split["x"][:]]


def test_every_picture_is_in_one_split_with_its_class(tree):
  data = folder.ImageFolder(dir=str(tree), size=8, holdout=0.1).load()
  assert {k: len(v["x"]) for k, v in data.splits.items()} == {"train": 80, "valid": 10, "test": 10}
  assert sorted(n for split in data.splits.values() for n in numbers(split)) == list(range(100))
  for split in data.splits.values():
    np.testing.assert_array_equal(np.array(numbers(split)) % 2, split["label"])
  assert data.spec.shape == (8, 8, 3) and data.spec.classes == 2


def test_a_picture_keeps_its_split_when_others_come(tree, noise):
  before = folder.ImageFolder(dir=str(tree), size=8, holdout=0.1).load()
  (tree / "cats" / "new.png").write_bytes(png(np.full((9, 9, 3), 255, np.uint8)))
  after = folder.ImageFolder(dir=str(tree), size=8, holdout=0.1).load()
  assert before.hash != after.hash
  assert len(set(numbers(before.splits["test"])) - set(numbers(after.splits["test"]))) <= 1


def test_pictures_are_read_at_random(tree):
  data = folder.ImageFolder(dir=str(tree), size=8).load()
  column = data.splits["train"]["x"]
  order = np.array([5, 0, 33, 5])
  np.testing.assert_array_equal(column[order], column[:][order])
  assert column[np.arange(0)].shape == (0, 8, 8, 3)
  source = folder.ImageFolder(dir=str(tree), size=8)
  read = pipeline.Pipeline(data, source, batch=32)
  for k, batch in enumerate(read.iterate(0, 5)):
    np.testing.assert_array_equal(batch["x"], read.at(k)["x"])
    level = transforms.quantize(batch["x"], 256, (-1, 1))[:, 0, 0, 0]
    np.testing.assert_array_equal(level % 2, batch["label"])


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_picture_is_named_and_left_out(tree, noise, name, caplog):
  clean = folder.ImageFolder(dir=str(tree), size=8).load()
  (tree / "cats" / name).write_bytes(BAD[name](noise))
  data = folder.ImageFolder(dir=str(tree), size=8).load()
  assert data.hash == clean.hash
  assert name in data.origin and "1 damaged" in data.origin
  assert name in caplog.text


def test_too_many_damaged_pictures_are_an_error(tree, noise):
  for name, content in BAD.items():
    (tree / "cats" / name).write_bytes(content(noise))
  with pytest.raises(core.UserError, match=r"5 of 105 .*max_bad.*cats/empty.png"):
    folder.ImageFolder(dir=str(tree), size=8).load()
  assert "5 damaged" in folder.ImageFolder(dir=str(tree), size=8, max_bad=0.05).load().origin


def test_damage_behind_a_good_header_stops_the_run(tree, noise):
  (tree / "cats" / "truncated.png").write_bytes(BAD["truncated.png"](noise))
  source = folder.ImageFolder(dir=str(tree), size=8, check="header", holdout=0.01)
  data = source.load()
  with pytest.raises(core.UserError, match=r"truncated.png.*check=decode"):
    for split in data.splits.values():
      split["x"][:]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
  "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "animated", "jpeg"]
)
def test_every_mode_is_converted(tmp_path, mode, channels):
  grey = PIL.Image.new("RGB", (12, 10), RED).convert("L").getpixel((0, 0))
  image = PIL.Image.new("RGB", (12, 10), RED)
  path, want = tmp_path / "a.png", RED if channels == 3 else (grey,)
  if mode == "jpeg":
    image.save(tmp_path / "a.jpg", quality=95)
    path = tmp_path / "a.jpg"
  elif mode == "CMYK":
    image.convert("CMYK").save(tmp_path / "a.tif")
    path = tmp_path / "a.tif"
  elif mode == "animated":
    image.save(tmp_path / "a.gif", save_all=True, append_images=[PIL.Image.new("RGB", (12, 10))])
    path = tmp_path / "a.gif"
  elif mode == "I;16":
    PIL.Image.fromarray(np.full((10, 12), 150 * 256 + 99, np.uint16)).save(path)
    want = (150,) * channels
  else:
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(path)
    if mode in ("1", "L", "LA"):
      value = 0 if mode == "1" else grey
      want = (value,) * channels
  x = pictures.decode(path, channels)
  assert x.shape == (10, 12, channels) and x.dtype == np.uint8
  if mode == "1":
    assert set(np.unique(x)) <= {0, 255}
  else:
    assert np.abs(x.astype(int) - want).max() <= 2


def test_transparent_is_white_and_sideways_is_upright(tmp_path):
  image = PIL.Image.new("RGBA", (4, 4), (*RED, 0))
  image.save(tmp_path / "clear.png")
  assert pictures.decode(tmp_path / "clear.png", 3).min() == 255
  picture = PIL.Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # turn by 90 degrees
  picture.save(tmp_path / "turned.png", exif=exif)
  x = pictures.decode(tmp_path / "turned.png", 1)[..., 0]
  np.testing.assert_array_equal(x, np.rot90(np.asarray(picture), -1))


def test_the_middle_square_is_kept(tmp_path):
  x = np.zeros((10, 30), np.uint8)
  x[:, 10:20] = 255
  (tmp_path / "a.png").write_bytes(png(x))
  np.testing.assert_array_equal(pictures.decode(tmp_path / "a.png", 1, 10)[..., 0], x[:, 10:20])


def test_odd_names(tmp_path, noise):
  for name in ("a b.png", "ünï.PNG", "new\nline.png", "-rf.png"):
    (tmp_path / name).write_bytes(png(noise))
  with open(bytes(tmp_path) + b"/\xff.png", "wb") as file:
    file.write(b"")
  data = folder.ImageFolder(dir=str(tmp_path), size=4, max_bad=0.5).load()
  assert sum(len(split["x"]) for split in data.splits.values()) == 4
  assert "label" not in data.splits["train"] and data.spec.classes == 0
  assert "\n" not in data.origin and data.origin.encode()


@pytest.mark.parametrize("how", ["static", "dynamic", "threshold"])
def test_binarized_folders_are_drawn_by_row(tree, how):
  source = folder.ImageFolder(dir=str(tree), size=8, channels=1, binarize=how)
  data = source.load()
  column = data.splits["test"]["x"]
  np.testing.assert_array_equal(
    column[:], np.concatenate([column[np.array([i])] for i in range(len(column))])
  )
  x = pipeline.Pipeline(data, source, batch=20).at(3)["x"]
  assert set(np.unique(x)) <= {0.0, 1.0}


@pytest.mark.parametrize(
  "fields, hint",
  [
    ({"dir": "/nowhere"}, "/nowhere"),
    ({"channels": 2}, "channels"),
    ({"check": "headers"}, "header"),
  ],
)
def test_mistakes(tmp_path, fields, hint):
  with pytest.raises(core.UserError, match=hint):
    folder.ImageFolder(**{"dir": str(tmp_path), **fields}).load()


def test_an_empty_folder(tmp_path):
  with pytest.raises(core.UserError, match="0 pictures"):
    folder.ImageFolder(dir=str(tmp_path)).load()


def filled(place, noise):
  """Writes three pictures into a folder."""
  place.mkdir(parents=True)
  for i in range(3):
    (place / f"{i}.png").write_bytes(png(np.roll(noise, i, 0)))


def test_classes_are_in_natural_order_and_have_their_names(tmp_path, noise):
  for i in range(12):
    filled(tmp_path / str(i), noise)
  data = folder.ImageFolder(dir=str(tmp_path), size=4).load()
  assert data.spec.fields["label"].names == tuple(str(i) for i in range(12))
  for split in data.splits.values():
    owner = [int(name.split("/")[0]) for name in split["x"].names]
    np.testing.assert_array_equal(split["label"], owner)


def test_a_linked_class_is_a_class_and_a_loop_ends(tmp_path, noise):
  filled(tmp_path / "all" / "cats", noise)
  filled(tmp_path / "elsewhere", noise)
  (tmp_path / "all" / "dogs").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "all" / "cats" / "up").symlink_to(tmp_path / "all")
  (tmp_path / "all" / "cats" / "lost.png").symlink_to(tmp_path / "nowhere.png")
  data = folder.ImageFolder(dir=str(tmp_path / "all"), size=4).load()
  assert data.spec.fields["label"].names == ("cats", "dogs")
  assert sum(len(split["x"]) for split in data.splits.values()) == 6
  assert "1 links to a folder that is read already ('cats/up')" in data.origin
  assert "1 broken links ('cats/lost.png')" in data.origin


def test_what_is_passed_over_is_counted_and_said(tree):
  (tree / "cats" / "readme.md").write_text("")
  data = folder.ImageFolder(dir=str(tree), size=4).load()
  assert "2 not called pictures ('notes.txt', 'cats/readme.md')" in data.origin
  assert "1 hidden ('.hidden.png')" in data.origin and data.origin.endswith("left out")


def test_a_stray_picture_means_no_classes_and_is_said(tree, noise):
  (tree / "stray.png").write_bytes(png(noise))
  data = folder.ImageFolder(dir=str(tree), size=4).load()
  assert data.spec.classes == 0
  assert "no classes, since 1 pictures lie beside the folders" in data.origin


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "test"), ("train",)])
def test_split_folders_are_no_classes(tmp_path, noise, names):
  for name in names:
    for kind in ("cats", "dogs"):
      filled(tmp_path / name / kind, noise)
  data = folder.ImageFolder(dir=str(tmp_path), size=4, holdout=0.2).load()
  assert data.spec.fields["label"].names == ("cats", "dogs")
  counts = {split: len(columns["x"]) for split, columns in data.splits.items()}
  assert sum(counts.values()) == 6 * len(names) and min(counts.values()) > 0
  for split, folders in {"test": ("test",), "valid": ("val",)}.items():
    if set(folders) & set(names):
      assert counts[split] == 6
      assert {name.split("/")[0] for name in data.splits[split]["x"].names} <= set(folders)


@pytest.mark.parametrize("check", ["decode", "header"])
def test_contents_are_what_the_data_are(tree, tmp_path_factory, noise, check):
  """Another place is the same data; the same name with another picture is not."""
  load = lambda place: folder.ImageFolder(dir=str(place), size=8, check=check).load().hash
  before = load(tree)
  assert load(f"{tree}/") == before
  moved = tmp_path_factory.mktemp("moved") / "here"
  tree.rename(moved)
  assert load(moved) == before

  # Two pictures of equally many bytes change their names.
  first, second = moved / "cats" / "002.png", moved / "cats" / "004.png"
  for level, path in enumerate((first, second)):
    PIL.Image.new("RGB", (16, 16), (level,) * 3).save(path, "BMP")
  before, contents = load(moved), first.read_bytes()
  assert first.stat().st_size == second.stat().st_size
  first.write_bytes(second.read_bytes())
  second.write_bytes(contents)
  assert load(moved) != before


@pytest.mark.parametrize(
  ("shape", "size", "channels"),
  [((70, 90, 3), 64, 3), ((40, 33), 32, 1), ((9, 30), 8, 1), ((5, 5, 3), 8, 3)],
)
def test_size_and_channels_are_found_by_looking(tmp_path, shape, size, channels):
  rng = np.random.default_rng(0)
  for i in range(4):
    (tmp_path / f"{i}.png").write_bytes(png(rng.integers(0, 256, shape, dtype=np.uint8)))
  data = folder.ImageFolder(dir=str(tmp_path), size=0, channels=0).load()
  assert data.spec.shape == (size, size, channels)
  data = folder.ImageFolder(dir=str(tmp_path), size=12, channels=3).load()
  assert data.spec.shape == (12, 12, 3)


def test_a_link_beside_its_folder_hides_nothing(tmp_path, noise):
  filled(tmp_path / "zcats", noise)
  filled(tmp_path / "dogs" / "deep", noise)
  (tmp_path / "alias").symlink_to(tmp_path / "zcats")
  (tmp_path / "zcats" / "other").symlink_to(tmp_path / "dogs" / "deep")
  data = folder.ImageFolder(dir=str(tmp_path), size=4).load()
  assert data.spec.fields["label"].names == ("dogs", "zcats")
  assert "2 links to a folder that is read already" in data.origin


def test_a_folder_that_may_not_be_read_is_said(tree, monkeypatch):
  scan = folder.tree.os.scandir

  def refuse(path):
    if str(path).endswith("dogs"):
      raise PermissionError(13, "Permission denied", path)
    return scan(path)

  monkeypatch.setattr(folder.tree.os, "scandir", refuse)
  data = folder.ImageFolder(dir=str(tree), size=4).load()
  assert "1 folders that may not be read ('dogs')" in data.origin


def test_digits_of_other_scripts_are_names(tmp_path, noise):
  for name in ("1²", "②", "10", "9"):
    filled(tmp_path / name, noise)
  names = folder.ImageFolder(dir=str(tmp_path), size=4).load().spec.fields["label"].names
  assert set(names) == {"1²", "②", "10", "9"} and names.index("9") < names.index("10")


def test_a_split_that_would_be_empty_is_refused(tmp_path, noise):
  filled(tmp_path / "test", noise)
  (tmp_path / "train").mkdir()
  for i in range(2):
    (tmp_path / "train" / f"{i}.png").write_bytes(png(noise))
  with pytest.raises(core.UserError, match="the valid split would be empty"):
    folder.ImageFolder(dir=str(tmp_path), size=4).load()
