"""What lies in a folder of pictures: its files, their classes, and the splits it may come in.

    DIR/1.png, DIR/2.jpg                          no classes
    DIR/cats/1.png, DIR/dogs/1.png                classes "cats" (0) and "dogs" (1)
    DIR/train/cats/1.png, DIR/test/dogs/1.png     the same classes, and splits of the folder's own

Whatever is passed over is counted, so that it can be said.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Files with other endings are not called pictures.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# Names of folders that are splits and no classes.
SPLIT_FOLDERS = {
  "train": "train",
  "training": "train",
  "val": "valid",
  "valid": "valid",
  "validation": "valid",
  "test": "test",
  "testing": "test",
}


class Tree(NamedTuple):
  """The files of a folder.

  files: paths of the pictures relative to the folder, in natural order.
  passed_over: {why: paths} of everything else.
  """

  files: list[str]
  passed_over: dict[str, list[str]]


class Layout(NamedTuple):
  """How the files of a folder are to be understood.

  owners: the class of each file, [] if there are no classes.
  classes: the names of the classes in natural order; a label is the position in it.
  splits: the split of each file, [] if the folder has no splits of its own.
  note: what a reader may not expect of it, "" if nothing.
  """

  owners: list[str]
  classes: list[str]
  splits: list[str]
  note: str


def find(root: pathlib.Path) -> Tree:
  """Returns all files below a folder that are called pictures.

  Links to folders elsewhere are followed. Links to a folder below `root` are passed over, since its
  files are found by their own paths.
  """
  files: list[str] = []
  passed_over: dict[str, list[str]] = {}
  top = os.path.realpath(root)
  entered = {top}
  skip = lambda why, path: passed_over.setdefault(why, []).append(path)
  unreadable = lambda error: skip(
    "folders that may not be read", os.path.relpath(error.filename, root)
  )

  for folder, below, names in os.walk(root, followlinks=True, onerror=unreadable):
    within = lambda name, folder=folder: pathlib.Path(folder, name).relative_to(root).as_posix()

    # In place: os.walk descends into what stays. A link upwards would never end.
    kept = []
    for name in sorted(below):
      path = os.path.join(folder, name)
      real = os.path.realpath(path)
      inside = os.path.islink(path) and os.path.commonpath((real, top)) == top
      if name.startswith("."):
        skip("hidden", within(name))
      elif inside or real in entered:
        skip("links to a folder that is read already", within(name))
      else:
        entered.add(real)
        kept.append(name)
    below[:] = kept

    for name in names:
      if name.startswith("."):
        skip("hidden", within(name))
      elif not name.lower().endswith(SUFFIXES):
        skip("not called pictures", within(name))
      elif not os.path.exists(os.path.join(folder, name)):
        skip("broken links", within(name))
      else:
        files.append(within(name))
  return Tree(sorted(files, key=natural), passed_over)


def natural(name: str) -> list[tuple[bool, int, str]]:
  """Returns the key of natural order: "2" comes before "10"."""
  parts = re.split(r"(\d+)", name)
  return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def layout(files: Sequence[str]) -> Layout:
  """Returns the classes and splits of files, by their folders.

  A class is the first folder of a path, after the split if the folder has splits. There are no
  classes if a picture lies in no folder, or if there is only one folder.
  """
  splits: list[str] = []
  rest = list(files)
  top = {name.split("/")[0] if "/" in name else "" for name in files}
  named = {SPLIT_FOLDERS.get(name.lower()) for name in top}
  if "train" in named and None not in named:
    splits = [SPLIT_FOLDERS[name.split("/")[0].lower()] for name in files]
    rest = [name.partition("/")[2] for name in files]

  owners = [name.split("/")[0] if "/" in name else "" for name in rest]
  classes = sorted(set(owners) - {""}, key=natural)
  stray = owners.count("")
  if stray or len(classes) < 2:
    mixed = f"no classes, since {stray} pictures lie beside the folders"
    return Layout([], [], splits, mixed if stray and classes else "")
  return Layout(owners, classes, splits, "")


def split(files: Sequence[str], own: Sequence[str], holdout: float) -> dict[str, np.ndarray]:
  """Returns {split: positions in `files`}.

  own: the split of each file where the folder has splits, else empty. What it lacks of "valid" and
    "test" is cut from "train".
  holdout: the share of the files that is cut off for each; at least one file if there are three,
    and never so many that "train" is empty.

  The hash of a file's name decides what is cut off, so that almost all pictures keep their split
  when others are added or removed.
  """
  digest = lambda i: hashlib.sha256(os.fsencode(files[i])).digest()
  whole = {name: [i for i, s in enumerate(own) if s == name] for name in ("valid", "test")}
  there = {name: sorted(index, key=digest) for name, index in whole.items() if index}
  rank = sorted((i for i in range(len(files)) if not own or own[i] == "train"), key=digest)

  # In this order, which published splits depend on: test first, then valid.
  held = max(1, round(holdout * len(rank)))
  held = min(held, (len(rank) - 1) // 2)
  for name in ("test", "valid"):
    if name not in there:
      there[name], rank = rank[:held], rank[held:]
  there["train"] = rank
  return {name: np.array(there[name], np.int64) for name in ("train", "valid", "test")}


def summary(passed_over: dict[str, list[str]]) -> str:
  """Returns what was passed over in one line: "3 not called pictures ('a.txt', ...)"."""
  lines = []
  for why, paths in passed_over.items():
    named = ", ".join(map(repr, paths[:3])) + ", ..." * (len(paths) > 3)
    lines.append(f"{len(paths)} {why} ({named})")
  return ", ".join(lines)
