"""Any folder of pictures. They stay on disk and are decoded when a batch asks for them."""

import dataclasses
import hashlib
import logging
import multiprocessing.pool
import os
import pathlib
from typing import Any

import numpy as np

from genjax import core
from genjax.data.sources import base as sources

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
CHECKS = ("decode", "header")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder(sources.Pictures):
  """The pictures below a folder; the first sub-folder's name is the class, if all have one.

  dir: the folder; hidden files and files that are not called pictures are passed over.
  size: height and width; the middle square of a picture is resized to it.
  channels: 1 grey, 3 colour.
  holdout: share of the pictures in "valid", and as many in "test"; at least one. Their names
    decide which, by their hashes, so that a picture keeps its split while others come or go.
  max_bad: share of files that may be damaged; they are named in the log and left out.
  check: "decode" reads every picture once at the start; "header", for large folders, only its
    first bytes, and a picture that proves damaged later stops the run.
  """

  dir: str
  size: core.Size = 64
  channels: core.Size = 3
  holdout: core.Fraction = 0.05
  max_bad: core.Fraction = 0.01
  check: str = "decode"

  def load(self) -> sources.Dataset:
    if self.channels not in (1, 3):
      raise core.UserError(f"data.channels={self.channels}: expected 1 (grey) or 3 (colour)")
    if self.check not in CHECKS:
      raise core.unknown("data.check", self.check, CHECKS)
    root = pathlib.Path(self.dir).expanduser()
    if not self.dir or not root.is_dir():
      raise core.UserError(f"data.dir={self.dir!r} is not a folder; expected one with pictures")
    files, bad = self._sound(root, find(root))
    labels, names = classes(files)
    splits = {}
    for split, index in split_by_name(files, self.holdout).items():
      own = tuple(files[i] for i in index)
      splits[split] = {"x": Files(root, own, self.size, self.channels)}
      if names:
        splits[split]["label"] = labels[index]
    counts = ", ".join(f"{len(split['x']):,} {key}" for key, split in splits.items())
    origin = f"image_folder: {counts} pictures of {len(names)} classes, from {root}"
    if bad:
      named = ", ".join(map(repr, bad[:3])) + ", ..." * (len(bad) > 3)
      origin += f"; {len(bad)} damaged left out ({named})"
    shape = (self.size, self.size, self.channels)
    data = self.pictures("image_folder", splits, shape, len(names), origin, "that of the pictures")
    label = data.spec.fields.get("label")
    if not names or not label.integer:
      return data
    named = dataclasses.replace(label, names=tuple(names))
    return data._replace(spec=data.spec.beside(label=named))

  def _sound(self, root: pathlib.Path, files: list[str]) -> tuple[list[str], list[str]]:
    """(good files, bad files); raises core.UserError above the limit or if too few are left."""

    def fault(name: str) -> str:
      from genjax.data import pictures

      try:
        if self.check == "decode":
          pictures.decode(root / name, self.channels, self.size)
        else:
          pictures.peek(root / name).close()
      except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
      return ""

    with multiprocessing.pool.ThreadPool() as pool:  # decoders release the interpreter's lock
      faults = dict(zip(files, pool.imap(fault, files, chunksize=32)))
    bad = [name for name in files if faults[name]]
    for name in bad:
      logging.warning("damaged picture left out of %s: %r: %s", root, name, faults[name])
    if len(bad) > self.max_bad * len(files):
      raise core.UserError(
        f"{len(bad)} of {len(files)} pictures in {root} are damaged, more than data.max_bad="
        f"{self.max_bad:g} of them; the first is {bad[0]!r} ({faults[bad[0]]})"
      )
    good = [name for name in files if not faults[name]]
    if len(good) < len(sources.SPLITS):
      raise core.UserError(f"{root} holds {len(good)} pictures; expected at least 3, one a split")
    return good, bad


@dataclasses.dataclass(frozen=True)
class Files:
  """Picture files as a column, uint8 [N, size, size, channels]."""

  root: pathlib.Path
  names: tuple[str, ...]
  size: int
  channels: int

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, index: Any) -> np.ndarray:
    picked = [self.names[i] for i in sources.rows(index, len(self))]
    shape = (len(picked), self.size, self.size, self.channels)
    return np.stack([self._read(name) for name in picked]) if picked else np.zeros(shape, np.uint8)

  def _read(self, name: str) -> np.ndarray:
    from genjax.data import pictures

    try:
      return pictures.decode(self.root / name, self.channels, self.size)
    except (OSError, ValueError) as error:
      raise core.UserError(
        f"{name!r} in {self.root} cannot be decoded ({error}); remove it, or find all such files "
        "at the start with `--config.data.check=decode`"
      ) from error

  def fingerprint(self) -> bytes:
    """Names and sizes in bytes of all files, with what is made of them."""
    lines = (f"{name}\0{os.path.getsize(self.root / name)}\n" for name in self.names)
    return f"{self.size} {self.channels}\n".encode() + b"".join(map(os.fsencode, lines))


def find(root: pathlib.Path) -> list[str]:
  """The names, relative to root and sorted, of all files below it that are called pictures."""
  found = []
  for folder, below, names in os.walk(root):
    below[:] = [name for name in below if not name.startswith(".")]
    for name in names:
      if name.lower().endswith(SUFFIXES) and not name.startswith("."):
        found.append(pathlib.Path(folder, name).relative_to(root).as_posix())
  return sorted(found)


def classes(files: list[str]) -> tuple[np.ndarray, list[str]]:
  """(int32 label of each file, names of the classes); no names unless all lie in two or more."""
  owners = [name.split("/")[0] if "/" in name else "" for name in files]
  names = sorted(set(owners))
  if "" in names or len(names) < 2:
    return np.zeros(len(files), np.int32), []
  number = {name: i for i, name in enumerate(names)}
  return np.array([number[owner] for owner in owners], np.int32), names


def split_by_name(files: list[str], holdout: float) -> dict[str, np.ndarray]:
  """Positions of each split: the files in the order of their names' hashes, cut in three."""
  rank = sorted(range(len(files)), key=lambda i: hashlib.sha256(os.fsencode(files[i])).digest())
  held = min(max(1, round(holdout * len(files))), (len(files) - 1) // 2)
  test, valid, train = np.split(np.array(rank), [held, 2 * held])
  return {"train": train, "valid": valid, "test": test}
