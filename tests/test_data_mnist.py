"""MNIST wherever it comes from: IDX files, a checked download, prepared data, or bundled."""

import functools
import hashlib
import http.server
import pathlib
import threading
import time

import numpy as np
import pytest

from genjax import core
from genjax.data import idx, mnist, pipeline, prepared

TRAIN, TEST = 40, 12


@pytest.fixture
def published():
  """Tiny parts in the form of the published ones."""
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


@pytest.fixture
def server(folder, monkeypatch):
  """Serves the tiny files on this machine in place of the mirror, with their checksums."""

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
      pass

  handler = functools.partial(Handler, directory=folder)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setattr(mnist, "URL", f"http://127.0.0.1:{httpd.server_port}/")
    data = {name: (folder / name).read_bytes() for name in mnist.FILES}
    pins = {name: (len(d), hashlib.sha256(d).hexdigest()) for name, d in data.items()}
    monkeypatch.setattr(mnist, "FILES", pins)
    yield httpd
    httpd.shutdown()


@pytest.fixture
def home(tmp_path_factory, monkeypatch):
  """An empty tensorflow_datasets folder."""
  path = tmp_path_factory.mktemp("tfds")
  monkeypatch.setenv("TFDS_DATA_DIR", str(path))
  return path


@pytest.fixture
def offline(monkeypatch):
  """A mirror whose name resolves to nothing."""
  monkeypatch.setattr(mnist, "URL", "https://mirror.invalid/mnist/")


def pairs(*splits):
  """Every (picture, label) of some splits, as a sorted list of bytes."""
  return sorted(
    x.tobytes() + bytes([label])
    for split in splits
    for x, label in zip(split["x"][:], split["label"][:])
  )


def check_whole(data, published):
  """The three splits hold exactly what was published, and test is the published test part."""
  counts = {name: len(split["x"]) for name, split in data.splits.items()}
  assert counts == {"train": TRAIN - TRAIN // 10, "valid": TRAIN // 10, "test": TEST}
  for names, part in ((("train", "valid"), "train"), (("test",), "t10k")):
    image, label = (published[f"{part}-{kind}-ubyte.gz"] for kind in mnist.IDX)
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


def test_download_is_prepared_once_and_found_again(server, home, folder, published):
  source = mnist.Mnist(source="tfds")
  data = source.load()
  check_whole(data, published)
  assert data.hash == mnist.Mnist(dir=str(folder)).load().hash  # in whatever order it is stored
  server.shutdown()
  server.server_close()
  for again in (
    source,
    mnist.Mnist(),
    mnist.Mnist(dir=str(home)),
    mnist.Mnist(source="dir", dir=str(home)),
  ):
    assert again.load().hash == data.hash
  generic = prepared.Prepared(dataset="genjax_mnist").load()
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
      prepared.Prepared(**{"dataset": "genjax_mnist", **fields}).load()
  read = pipeline.Pipeline(generic, source, batch=7)
  for k, batch in enumerate(read.iterate(2, 9)):
    for key, value in read.at(2 + k).items():
      np.testing.assert_array_equal(batch[key], value)


def test_a_wrong_checksum_deletes_the_file_and_is_an_error(server, home, folder, published):
  name = "t10k-labels-idx1-ubyte.gz"
  right = (folder / name).read_bytes()
  wrong = right[:-5] + bytes([right[-5] ^ 1]) + right[-4:]
  (folder / name).write_bytes(wrong)
  for source in ("tfds", "auto"):
    with pytest.raises(core.UserError, match=name + ".*sha256"):
      mnist.Mnist(source=source).load()
    kept = [p.read_bytes() for p in pathlib.Path(home).rglob("*") if p.is_file()]
    assert wrong not in kept
  (folder / name).write_bytes(right)
  check_whole(mnist.Mnist(source="tfds").load(), published)


def test_a_server_without_the_files(server, home, folder):
  (folder / "train-images-idx3-ubyte.gz").unlink()
  with pytest.raises(core.UserError, match="cannot download"):
    mnist.Mnist(source="tfds").load()
  assert len(mnist.Mnist().load().splits["train"]["x"]) == 4000


def test_tfds_offline_fails_at_once(offline, home):
  start = time.monotonic()
  with pytest.raises(core.UserError, match=r"mirror.invalid cannot be reached.*bundled"):
    mnist.Mnist(source="tfds").load()
  assert time.monotonic() - start < 5


def test_auto_offline_falls_back_and_says_so(offline, home):
  data = mnist.Mnist().load()
  assert data.hash == mnist.Mnist(source="bundled").load().hash
  assert "5,000 of 70,000" in data.origin and "mirror.invalid cannot be reached" in data.origin


def test_the_known_files_are_those_of_tensorflow_datasets():
  """The pinned sizes and sha256 against an independent list."""
  tfds = pytest.importorskip("tensorflow_datasets")
  table = pathlib.Path(tfds.__file__).parent / "url_checksums" / "mnist.txt"
  known = dict(
    line.rsplit("\t", 3)[:1] + [line.split("\t")[1:3]] for line in table.read_text().splitlines()
  )
  for name, (size, sha256) in mnist.FILES.items():
    assert known[mnist.URL + name] == [str(size), sha256]


def test_fashion_mnist_missing(monkeypatch, tmp_path):
  monkeypatch.setattr(mnist, "FASHION", str(tmp_path))
  with pytest.raises(core.UserError, match="apt-get install dataset-fashion-mnist"):
    mnist.FashionMnist().load()


@pytest.mark.skipif(not mnist.find_idx(mnist.FASHION), reason="no Debian package of Fashion-MNIST")
def test_fashion_mnist():
  data = mnist.FashionMnist().load()
  assert {k: len(v["x"]) for k, v in data.splits.items()} == {
    "train": 55_000, "valid": 5_000, "test": 10_000
  }  # fmt: skip
  np.testing.assert_array_equal(np.bincount(data.splits["test"]["label"]), 1000)
  both = np.concatenate([data.splits[s]["label"] for s in ("train", "valid")])
  np.testing.assert_array_equal(np.bincount(both), 6000)
