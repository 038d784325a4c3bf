"""MNIST and Fashion-MNIST from all sources: files, a download, prepared data, bundled data."""

import functools
import hashlib
import http.server
import pathlib
import threading
import time

import numpy as np
import pytest

from genjax import core
from genjax.data import pipeline
from genjax.data.sources import idx, mnist, prepared
from genjax.data.sources import published as known_sets

TRAIN, TEST = 40, 12


@pytest.fixture
def published():
  """Tiny data in the format of the published files."""
  rng = np.random.default_rng(0)
  parts = {"train": TRAIN, "t10k": TEST}
  files = {}
  for part, n in parts.items():
    files[f"{part}-images-idx3-ubyte.gz"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    files[f"{part}-labels-idx1-ubyte.gz"] = np.arange(n, dtype=np.uint8) % 10
  return files


@pytest.fixture
def folder(published, tmp_path):
  for name, array in published.items():
    idx.write(tmp_path / name, array)
  return tmp_path


@pytest.fixture(params=[mnist.Mnist, mnist.FashionMnist])
def cls(request):
  """Each of the two data sets in turn."""
  return request.param


@pytest.fixture
def server(cls, folder, monkeypatch):
  """Serves the tiny files on this machine in the place of the mirror, with their checksums."""

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
      pass

  handler = functools.partial(Handler, directory=folder)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    data = {name: (folder / name).read_bytes() for name in cls.known.files}
    pins = {name: (len(d), hashlib.sha256(d).hexdigest()) for name, d in data.items()}
    url = f"http://127.0.0.1:{httpd.server_port}/"
    monkeypatch.setattr(cls, "known", cls.known._replace(url=url, files=pins, local=""))
    yield httpd
    httpd.shutdown()


@pytest.fixture
def home(tmp_path_factory, monkeypatch):
  """An empty folder for tensorflow_datasets."""
  path = tmp_path_factory.mktemp("tfds")
  monkeypatch.setenv("TFDS_DATA_DIR", str(path))
  return path


@pytest.fixture
def offline(cls, monkeypatch):
  """Replaces the mirror by one that cannot be reached."""
  known = cls.known._replace(url="https://mirror.invalid/mnist/", local="")
  monkeypatch.setattr(cls, "known", known)


def pairs(*splits):
  """Returns every (image, label) of some splits, as a sorted list of bytes."""
  return sorted(
    x.tobytes() + bytes([label])
    for split in splits
    for x, label in zip(split["x"][:], split["label"][:])
  )


def check_whole(data, published):
  """Asserts that the splits hold the published examples, and "test" the published test part."""
  counts = {name: len(split["x"]) for name, split in data.splits.items()}
  assert counts == {"train": TRAIN - TRAIN // 10, "valid": TRAIN // 10, "test": TEST}
  for names, part in ((("train", "valid"), "train"), (("test",), "t10k")):
    image, label = (published[f"{part}-{kind}-ubyte.gz"] for kind in known_sets.IDX)
    want = {"x": image[..., None], "label": label}
    assert pairs(*(data.splits[name] for name in names)) == pairs(want)
  assert data.splits["train"]["x"].dtype == np.uint8
  assert data.splits["train"]["label"].dtype == np.int32


@pytest.mark.parametrize("name", ["a.idx", "a.gz"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_idx_round_trip(tmp_path, name, shape):
  array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
  idx.write(tmp_path / name, array)
  np.testing.assert_array_equal(idx.read(tmp_path / name), array)


def test_idx_bytes_are_those_of_the_format(tmp_path):
  idx.write(tmp_path / "a", np.array([[1, 2, 3]], np.uint8))
  assert (tmp_path / "a").read_bytes() == bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3])


@pytest.mark.parametrize(
  "damage", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"", lambda d: b"text" + d]
)
@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_damaged_idx_is_an_error(tmp_path, name, damage):
  idx.write(tmp_path / name, np.zeros((2, 3), np.uint8))
  (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
  with pytest.raises(core.UserError, match=name):
    idx.read(tmp_path / name)


@pytest.mark.parametrize("spelling", ["{}.gz", "{}", "dotted"])
def test_a_folder_of_idx_files(published, tmp_path, spelling):
  for name, array in published.items():
    stem = name.removesuffix(".gz")
    new = stem.replace("-idx", ".idx") if spelling == "dotted" else spelling.format(stem)
    idx.write(tmp_path / new, array)
  data = mnist.Mnist(dir=str(tmp_path)).load()
  check_whole(data, published)
  assert str(tmp_path) in data.origin and "36 train" in data.origin


def test_files_that_do_not_belong_together(folder, published):
  idx.write(folder / "train-labels-idx1-ubyte.gz", published["t10k-labels-idx1-ubyte.gz"])
  with pytest.raises(core.UserError, match="train-labels"):
    mnist.Mnist(dir=str(folder)).load()


def test_download_is_prepared_once_and_found_again(cls, server, home, folder, published):
  source = cls(source="tfds")
  data = source.load()
  check_whole(data, published)
  assert data.hash == cls(dir=str(folder)).load().hash  # in whatever order it is stored
  server.shutdown()
  server.server_close()
  for again in (
    source,
    cls(),
    cls(dir=str(home)),
    cls(source="dir", dir=str(home)),
  ):
    assert again.load().hash == data.hash
  name = cls.known.names[0]
  assert (home / name).is_dir()
  generic = prepared.Prepared(dataset=name).load()
  assert generic.spec == data.spec
  assert pairs(generic.splits["train"], generic.splits["valid"]) == pairs(
    data.splits["train"], data.splits["valid"]
  )
  assert pairs(generic.splits["test"]) == pairs(data.splits["test"])
  for fields, hint in (
    ({"label": "labl"}, "label"),
    ({"dataset": "mnits"}, "mnits"),
    ({"holdout": 1.0}, "holdout"),
  ):
    with pytest.raises(core.UserError, match=hint):
      prepared.Prepared(**{"dataset": name, **fields}).load()
  read = pipeline.Pipeline(generic, source, batch=7)
  for k, batch in enumerate(read.iterate(2, 9)):
    for key, value in read.at(2 + k).items():
      np.testing.assert_array_equal(batch[key], value)


def test_a_wrong_checksum_deletes_the_file_and_is_an_error(cls, server, home, folder, published):
  name = "t10k-labels-idx1-ubyte.gz"
  right = (folder / name).read_bytes()
  wrong = right[:-5] + bytes([right[-5] ^ 1]) + right[-4:]
  (folder / name).write_bytes(wrong)
  for source in ("tfds", "auto"):
    with pytest.raises(core.UserError, match=name + ".*sha256"):
      cls(source=source).load()
    kept = [p.read_bytes() for p in pathlib.Path(home).rglob("*") if p.is_file()]
    assert wrong not in kept
  (folder / name).write_bytes(right)
  check_whole(cls(source="tfds").load(), published)


def test_a_server_without_the_files(cls, server, home, folder):
  (folder / "train-images-idx3-ubyte.gz").unlink()
  with pytest.raises(core.UserError, match="cannot download"):
    cls(source="tfds").load()
  if cls is mnist.Mnist:
    assert len(cls().load().splits["train"]["x"]) == 4000
  else:
    with pytest.raises(core.UserError, match="cannot download"):
      cls().load()


def test_tfds_offline_fails_at_once(cls, offline, home, folder, monkeypatch):
  """Though Debian's files would do."""
  monkeypatch.setattr(cls, "known", cls.known._replace(local=str(folder)))
  hint = {"mnist": "bundled", "fashion_mnist": "apt-get install"}[cls.known.name]
  start = time.monotonic()
  with pytest.raises(core.UserError, match=f"mirror.invalid cannot be reached.*{hint}"):
    cls(source="tfds").load()
  assert time.monotonic() - start < 5


def test_auto_takes_prepared_data_then_the_local_files_then_a_download(
  cls, server, home, folder, published, tmp_path_factory, monkeypatch
):
  local = tmp_path_factory.mktemp("debian")
  other = {name: array[::-1] for name, array in published.items()}
  other["train-labels-idx1-ubyte.gz"] = np.full(TRAIN, 3, np.uint8)
  for name, array in other.items():
    idx.write(local / name, array)
  monkeypatch.setattr(cls, "known", cls.known._replace(local=str(local)))
  data = cls().load()
  check_whole(data, other)
  assert str(local) in data.origin and not list(home.iterdir())
  assert str(home) in cls(source="tfds").load().origin
  check_whole(cls().load(), published)


@pytest.mark.parametrize("cls", [mnist.Mnist], indirect=True)
def test_auto_offline_falls_back_and_says_so(cls, offline, home):
  data = mnist.Mnist().load()
  assert data.hash == mnist.Mnist(source="bundled").load().hash
  assert "5,000 of 70,000" in data.origin and "mirror.invalid cannot be reached" in data.origin


def test_the_known_files_are_those_of_tensorflow_datasets(cls):
  """The pinned sizes and sha256 against an independent list."""
  tfds = pytest.importorskip("tensorflow_datasets")
  table = pathlib.Path(tfds.__file__).parent / "url_checksums" / f"{cls.known.name}.txt"
  known = dict(
    line.rsplit("\t", 3)[:1] + [line.split("\t")[1:3]] for line in table.read_text().splitlines()
  )
  assert cls.known.files.keys() == known_sets.MNIST.files.keys()
  for name, (size, sha256) in cls.known.files.items():
    assert known[cls.known.url + name] == [str(size), sha256]


@pytest.mark.parametrize("cls", [mnist.FashionMnist], indirect=True)
def test_fashion_mnist_missing(cls, offline, home, tmp_path, monkeypatch):
  monkeypatch.setattr(cls, "known", cls.known._replace(local=str(tmp_path)))
  with pytest.raises(core.UserError, match="apt-get install dataset-fashion-mnist"):
    cls().load()
  with pytest.raises(core.UserError, match=r"unknown data.source 'bundled'.*auto, dir, tfds"):
    cls(source="bundled").load()


DEBIAN = known_sets.FASHION.local


@pytest.mark.skipif(not mnist.find_idx(DEBIAN), reason="no Debian package of Fashion-MNIST")
def test_fashion_mnist(home):
  data = mnist.FashionMnist().load()
  assert DEBIAN in data.origin
  assert {k: len(v["x"]) for k, v in data.splits.items()} == {
    "train": 55_000, "valid": 5_000, "test": 10_000
  }  # fmt: skip
  np.testing.assert_array_equal(np.bincount(data.splits["test"]["label"]), 1000)
  both = np.concatenate([data.splits[s]["label"] for s in ("train", "valid")])
  np.testing.assert_array_equal(np.bincount(both), 6000)
