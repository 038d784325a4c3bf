"""Any folder of pictures. The pictures stay on disk and are decoded when a batch needs them.

How files and sub-folders are understood is told in tree.py.
"""

import dataclasses
import hashlib
import io
import logging
import multiprocessing.pool
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.data.sources import tree

# How thoroughly the files are checked at the start, see ImageFolder.check.
CHECKS = ("decode", "header")
# Bytes of a file that "header" looks at.
HEAD = 2**16
# Files that are looked at to find size and channels.
LOOKED_AT = 64
# The sizes that are found by looking.
SIZES = (8, 16, 32, 64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder(sources.Pictures):
  """The pictures below a folder.

  dir: the folder.
  size: height and width in pixels; the middle square of a picture is resized to it. 0 takes the
    largest of 8, 16, 32 and 64 that most pictures fill.
  channels: 1 for grey, 3 for colour; 0 takes 1 if all of the first pictures are grey.
  holdout: share of the pictures in "valid", and again in "test"; at least one picture each. A
    folder with splits of its own keeps them.
  max_bad: share of files that may be damaged; these are named in the log and left out.
  check: "decode" decodes every picture once at the start; "header", for large folders, reads
    only the first bytes, and a picture that turns out to be damaged later stops the run.
  """

  dir: str
  size: core.Count = 64
  channels: core.Count = 3
  holdout: core.Fraction = 0.05
  max_bad: core.Fraction = 0.01
  check: str = "decode"
  # Where pictures lie is no part of what a run is: their contents are.
  view = ("dir",)

  def load(self) -> sources.Dataset:
    """Finds and checks the files; their pictures are decoded later, batch by batch."""
    root = self._root()
    found = tree.find(root)
    size, channels = self._shape(root, found.files)
    sound = self._sound(root, found.files, size, channels)
    layout = tree.layout(sound.files)

    index = tree.split(sound.files, layout.splits, self.holdout)
    for split, rows in index.items():
      if not len(rows):
        raise core.UserError(
          f"{root}: the {split} split would be empty; expected at least 3 pictures to cut it from"
        )

    # Labels are in memory; "x" knows only the names of its files.
    number = {name: i for i, name in enumerate(layout.classes)}
    splits = {}
    for split, rows in index.items():
      own = tuple(sound.files[i] for i in rows)
      digests = tuple(sound.digests[name] for name in own)
      splits[split] = {"x": Files(root, own, size, channels, digests)}
      if number:
        labels = [number[layout.owners[i]] for i in rows]
        splits[split]["label"] = np.array(labels, np.int32)

    counts = ", ".join(f"{len(split['x']):,} {key}" for key, split in splits.items())
    origin = f"image_folder: {counts} pictures of {len(number)} classes, from {root}"
    passed_over = {**found.passed_over, **({"damaged": sound.bad} if sound.bad else {})}
    for note in (layout.note, tree.summary(passed_over)):
      origin += f"; {note}" if note else ""
    origin += " left out" if passed_over else ""

    shape = (size, size, channels)
    data = self.pictures("image_folder", splits, shape, len(number), origin, "that of the pictures")
    return _with_names(data, layout.classes)

  def _root(self) -> pathlib.Path:
    """Returns the folder; raises core.UserError for a configuration that cannot be loaded."""
    if self.channels not in (0, 1, 3):
      raise core.UserError(
        f"data.channels={self.channels}: expected 1 (grey), 3 (colour) or 0 (found by looking)"
      )
    if self.check not in CHECKS:
      raise core.unknown("data.check", self.check, CHECKS)
    root = pathlib.Path(os.path.expanduser(self.dir))
    if not self.dir or not root.is_dir():
      raise core.UserError(f"data.dir={self.dir!r} is not a folder; expected a folder of pictures")
    return root

  def _shape(self, root: pathlib.Path, files: list[str]) -> tuple[int, int]:
    """Returns (size, channels), found by looking at some of the files where they are 0."""
    if self.size and self.channels:
      return self.size, self.channels
    from genjax.data import pictures

    sides, grey = [], True
    for name in files[:: max(1, len(files) // LOOKED_AT)]:
      try:
        x = pictures.decode(root / name, 3)
      except (OSError, ValueError):
        continue  # `_sound` says what is wrong with it
      sides.append(min(x.shape[:2]))
      grey = grey and bool((x == x[..., :1]).all())

    fits = [size for size in SIZES if size <= np.median(sides or [SIZES[0]])]
    found = max(fits, default=SIZES[0])
    return self.size or found, self.channels or (1 if grey else 3)

  def _sound(self, root: pathlib.Path, files: list[str], size: int, channels: int) -> "_Sound":
    """Reads all files once; raises core.UserError if too many are damaged, or too few are left."""

    def look(name: str) -> tuple[str, bytes]:
      """Returns (what is wrong with a file, or "", and a digest of its content)."""
      from genjax.data import pictures

      digest = b""
      try:
        if self.check == "decode":
          content = (root / name).read_bytes()
          digest = hashlib.sha256(content).digest()
          pictures.decode(io.BytesIO(content), channels, size)
        else:
          digest = _head(root / name)
          pictures.peek(root / name).close()
      except (OSError, ValueError) as error:
        return str(error) or type(error).__name__, digest
      return "", digest

    # Threads are enough: the decoders release the interpreter's lock.
    with multiprocessing.pool.ThreadPool() as pool:
      looks = dict(zip(files, pool.imap(look, files, chunksize=32)))

    bad = [name for name in files if looks[name][0]]
    for name in bad:
      logging.warning("damaged picture left out of %s: %r: %s", root, name, looks[name][0])
    if len(bad) > self.max_bad * len(files):
      raise core.UserError(
        f"{len(bad)} of {len(files)} pictures in {root} are damaged, more than data.max_bad="
        f"{self.max_bad:g} of them; the first is {bad[0]!r} ({looks[bad[0]][0]})"
      )

    good = [name for name in files if not looks[name][0]]
    if len(good) < len(sources.SPLITS):
      raise core.UserError(
        f"{root} holds {len(good)} pictures; expected at least 3, one for each split"
      )
    return _Sound(good, {name: looks[name][1] for name in good}, bad)


class _Sound(NamedTuple):
  """files: those that are good. digests: {file: digest of its content}. bad: those that are not."""

  files: list[str]
  digests: dict[str, bytes]
  bad: list[str]


def _head(file: pathlib.Path) -> bytes:
  """Returns a digest of the size of a file and of its first bytes: all that "header" reads."""
  with file.open("rb") as opened:
    start = opened.read(HEAD)
  return hashlib.sha256(f"{file.stat().st_size}\n".encode() + start).digest()


def _with_names(data: sources.Dataset, names: Sequence[str]) -> sources.Dataset:
  """Adds the names of the classes to the field "label", if it holds integers."""
  label = data.spec.fields.get("label")
  if not names or not label.integer:
    return data

  # `Pictures.pictures` knows only how many classes there are.
  named = dataclasses.replace(label, names=tuple(names))
  return data._replace(spec=data.spec.beside(label=named))


@dataclasses.dataclass(frozen=True)
class Files:
  """Picture files as a column, uint8 [N, size, size, channels], decoded on demand.

  root: the folder.
  names: paths of the N files, relative to root.
  size: height and width that pictures are resized to.
  channels: 1 for grey, 3 for colour.
  digests: of the contents of the N files.
  """

  root: pathlib.Path
  names: tuple[str, ...]
  size: int
  channels: int
  digests: tuple[bytes, ...]

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, index: Any) -> np.ndarray:
    picked = [self.names[i] for i in sources.rows(index, len(self))]
    if picked:
      return np.stack([self._read(name) for name in picked])
    return np.zeros((0, self.size, self.size, self.channels), np.uint8)

  def _read(self, name: str) -> np.ndarray:
    """Decodes one file, uint8 [size, size, channels]; raises core.UserError if it is damaged."""
    from genjax.data import pictures

    try:
      return pictures.decode(self.root / name, self.channels, self.size)
    except (OSError, ValueError) as error:
      raise core.UserError(
        f"{name!r} in {self.root} cannot be decoded ({error}); put the file back as it was, or "
        "start anew with `--config.data.check=decode`, which finds all such files at the start"
      ) from error

  def fingerprint(self) -> bytes:
    """Returns the shape that pictures are decoded to, and the digests of their contents.

    Names are left out: the same pictures in another order of names are another order of rows, which
    the digests show too.
    """
    return f"{self.size} {self.channels}\n".encode() + b"".join(self.digests)
