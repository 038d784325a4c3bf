"""What a data set is, and what all sources of data share.

A source is a frozen dataclass whose fields are the keys of config.data; `load()` returns a
`Dataset` of three splits. Training reads "train", model selection reads "valid", and only the final
metrics read "test". A split is a dict of columns:

    "x"      pictures, uint8 grey levels 0..levels-1 [N, H, W, C], or points, float32 [N, D]
    "label"  int32 [N], if there are classes
    NAME     any further field, described by spec.fields[NAME]

A column is any object with `len(column)` and `column[int array or slice] -> numpy array`. A numpy
array is a column; a folder of a million pictures is another one, which decodes on demand.

There are three ways to make pictures binary. They give three different data sets, so results must
say which was used:

    threshold   1 where the grey level is above half of the brightest level
    static      each pixel is 1 with probability k / (levels - 1), drawn once and then kept
    dynamic     training pictures are drawn anew each time they are seen; valid and test are those
                of `static`, so that both ways are measured on the same pictures
"""

import dataclasses
import hashlib
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from genjax import core
from genjax.data import transforms

# In this order: the position of a split separates its random draws from those of the others.
SPLITS = ("train", "valid", "test")
# "" keeps the grey levels.
BINARIZE = ("", "threshold", "static", "dynamic")
# Seed of every split and static draw. It is part of the data sets' definition: never change it.
SEED = 20240229
# So many rows are drawn at once, to bound the memory.
CHUNK = 4096


class Column(Protocol):
  """One field of all N examples of a split."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: Any) -> np.ndarray:
    """Returns the rows that an int array or a slice selects, [n, *shape]."""

  def fingerprint(self) -> bytes:
    """Returns bytes that identify the content without reading it; numpy arrays need no such method.

    See the function `fingerprint`.
    """


Split = dict[str, Any]  # name -> Column or numpy array


class Dataset(NamedTuple):
  """Three splits and where they come from.

  name: such as "mnist" or "moons".
  spec: describes x and the fields beside it; this is all that models know of the data.
  splits: {"train", "valid", "test": Split}; disjoint unless examples are independent draws.
  origin: one line: which data, how many examples, from where, and how to get more.
  licence: the licence of the data, in a few words.
  hash: {split: 12 hex digits of the sha256 of its content}. Of data that are too large to be read
    at the start, what is hashed says their source.
  entropy: of the distribution that x is drawn from, in nats; None if unknown. It is the least mean
    negative log-likelihood that any model can reach.
  """

  name: str
  spec: core.DataSpec
  splits: dict[str, Split]
  origin: str
  licence: str
  hash: dict[str, str]
  entropy: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
  """Fields that every source has.

  noise: standard deviation of the Gaussian noise added to training batches, in the units of the
    model's x; 0 adds none.
  one_hot: batches carry "label" as float32 [B, classes] instead of int32 [B].
  """

  noise: core.NonNegative = 0.0
  one_hot: bool = False
  # Only pictures can be mirrored, but the pipeline asks every source.
  flip: ClassVar[bool] = False

  def load(self) -> Dataset:
    """Reads or draws the data; raises core.UserError, with a remedy, if they are not there."""
    raise NotImplementedError

  def points(
    self, name: str, splits: dict[str, Split], classes: int, origin: str, licence: str
  ) -> Dataset:
    """Returns the Dataset whose "x" is float32 points [N, D]."""
    shape = splits["train"]["x"].shape[1:]
    spec = self.labelled(core.DataSpec(shape=shape, classes=classes))
    return Dataset(name, spec, splits, origin, licence, hashes(splits))

  def labelled(self, spec: core.DataSpec) -> core.DataSpec:
    """Returns the spec, with "label" as a vector [classes] if `one_hot` is set."""
    if not (self.one_hot and spec.classes):
      return spec

    vector = core.Field(shape=(spec.classes,), range=(0.0, 1.0), kind="points", about="label")
    return spec.beside(label=vector)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures(Source):
  """Fields that every source of pictures has.

  range: of x as models see it, (-1, 1) or (0, 1); binarized pictures are always 0 or 1.
  flip: mirrors training pictures left to right with probability 1/2.
  binarize: "" (keep the grey levels), "threshold", "static" or "dynamic"; see the module docstring.
  leave_out: classes removed from "train" and "valid" but not from "test", to measure whether a
    model notices what it was not trained on.
  """

  range: tuple[float, float] = (-1.0, 1.0)
  flip: bool = False
  binarize: str = ""
  leave_out: tuple[core.Count, ...] = ()

  def pictures(
    self,
    name: str,
    splits: dict[str, Split],
    shape: tuple[int, ...],
    classes: int,
    origin: str,
    licence: str,
    levels: int = 256,
  ) -> Dataset:
    """Returns the Dataset whose "x" is pictures, binarized if the configuration says so.

    splits: with "x" as uint8 grey levels 0..levels-1, [N, *shape].
    shape: (H, W, C) of a picture.
    classes: number of labels, 0 for none.
    """
    self._validate(classes)
    if self.leave_out:
      kept = {split: without(splits[split], self.leave_out) for split in ("train", "valid")}
      splits = {**kept, "test": splits["test"]}
      origin += f", without classes {', '.join(map(str, self.leave_out))}"

    kind = "image"
    range = tuple(map(float, self.range))
    if self.binarize:
      splits = {s: binarized(self.binarize, splits[s], levels, i) for i, s in enumerate(SPLITS)}
      kind = "binary"
      range = (0.0, 1.0)
      levels = 2

    spec = core.DataSpec(shape=tuple(shape), range=range, levels=levels, classes=classes, kind=kind)
    return Dataset(name, self.labelled(spec), splits, origin, licence, hashes(splits))

  def _validate(self, classes: int) -> None:
    """Raises core.UserError for values of the fields that mean nothing."""
    if self.binarize not in BINARIZE:
      raise core.unknown("data.binarize", self.binarize, BINARIZE[1:])
    if tuple(self.range) not in ((-1, 1), (0, 1)):
      raise core.UserError(f"data.range={self.range}: expected (-1, 1) or (0, 1)")
    # A proper subset: something must be left to train on.
    if self.leave_out and not set(self.leave_out) < set(np.arange(classes).tolist()):
      raise core.UserError(
        f"data.leave_out={self.leave_out}: expected numbers of some of {classes} classes, "
        "counted from 0, not of all"
      )


@dataclasses.dataclass(frozen=True)
class Binarized:
  """A column of pictures with levels 0 and 1, uint8 of the shape of `column`.

  A pixel depends on the grey level and on the row's position alone, never on the order of reading.

  column: pictures, uint8 grey levels 0..levels-1.
  how: an entry of BINARIZE; "static" and "dynamic" give the same draw here.
  stream: number of the split, which separates the draws of the splits.
  """

  column: Any
  levels: int
  how: str
  stream: int

  def __len__(self) -> int:
    return len(self.column)

  def __getitem__(self, index: Any) -> np.ndarray:
    index = rows(index, len(self))
    x = self.column[index]
    if self.how == "threshold":
      return transforms.threshold(x, self.levels)

    u = transforms.uniforms(SEED, self.stream, index, x.shape[1:])
    return transforms.bernoulli(x, self.levels, u)

  def fingerprint(self) -> bytes:
    """Returns the fingerprint of the grey levels, with the way they are binarized."""
    return fingerprint(self.column) + self.how.encode()


def binarized(how: str, split: Split, levels: int, stream: int) -> Split:
  """Returns the split with binary "x".

  Dynamic training pictures also keep their grey levels, as the column "intensity" of shares of the
  brightest level; the pipeline then draws every batch's x anew from it.

  how: an entry of BINARIZE, not "".
  stream: position of the split in SPLITS.
  """
  column = Binarized(split["x"], levels, how, stream)
  x = column
  if isinstance(split["x"], np.ndarray):
    # The grey levels are in memory, so the draw can be too: it is made only once.
    x = np.concatenate([column[i : i + CHUNK] for i in range(0, len(column), CHUNK)])

  new = {**split, "x": x}
  if how == "dynamic" and stream == SPLITS.index("train"):
    new["intensity"] = Intensity(split["x"], levels)
  return new


@dataclasses.dataclass(frozen=True)
class Intensity:
  """A column of pictures as shares of the brightest level, float32 in [0, 1].

  column: pictures, uint8 grey levels 0..levels-1.
  """

  column: Any
  levels: int

  def __len__(self) -> int:
    return len(self.column)

  def __getitem__(self, index: Any) -> np.ndarray:
    return transforms.scale(self.column[index], self.levels, (0.0, 1.0))

  def fingerprint(self) -> bytes:
    """Returns the fingerprint of the grey levels."""
    return fingerprint(self.column)


@dataclasses.dataclass(frozen=True)
class Rows:
  """A column of some rows of another column.

  column: the other column.
  index: int [N], the rows, in their new order.
  """

  column: Any
  index: np.ndarray

  def __len__(self) -> int:
    return len(self.index)

  def __getitem__(self, index: Any) -> np.ndarray:
    return self.column[self.index[rows(index, len(self))]]

  def fingerprint(self) -> bytes:
    """Returns the fingerprint of the whole column, with the numbers of the rows."""
    return fingerprint(self.column) + self.index.tobytes()


def without(split: Split, classes: tuple[int, ...]) -> Split:
  """Returns the split without the examples of these classes."""
  index = np.flatnonzero(~np.isin(split["label"][:], classes))
  # Columns on disk stay there, and are read through `Rows`.
  part = lambda c: c[index] if isinstance(c, np.ndarray) else Rows(c, index)
  return {name: part(column) for name, column in split.items()}


def rows(index: Any, n: int) -> np.ndarray:
  """Returns the rows, int64 counted from the first, that `index` selects among n.

  index: a slice or an integer array; negative numbers count from the end.
  """
  if isinstance(index, slice):
    return np.arange(n)[index]
  index = np.asarray(index, np.int64)
  return np.where(index < 0, index + n, index)


def fingerprint(column: Any) -> bytes:
  """Returns what `hashes` hashes: the bytes of an array, or the fingerprint of another column."""
  if isinstance(column, np.ndarray):
    # Arrays of the same bytes may differ in type or shape.
    head = f"{column.dtype.str}{column.shape}".encode()
    return head + np.ascontiguousarray(column).tobytes()
  return column.fingerprint()


def hashes(splits: dict[str, Split]) -> dict[str, str]:
  """Returns {split: first 12 hex digits of the sha256 of its columns, sorted by name}."""
  digests = {}
  for name, split in splits.items():
    sha = hashlib.sha256()
    for key in sorted(split):
      sha.update(key.encode() + b"\0" + fingerprint(split[key]))
    digests[name] = sha.hexdigest()[:12]
  return digests


def draws(n: int) -> tuple[int, int, int]:
  """Returns the sizes of train, valid and test, for data that can be drawn without limit."""
  return n, max(1, n // 5), max(1, n // 5)


def take(split: Split, index: np.ndarray) -> Split:
  """Returns the rows `index` of a split whose columns are arrays in memory."""
  return {name: column[index] for name, column in split.items()}


def generator(*numbers: int) -> np.random.Generator:
  """Returns a generator, seeded by SEED, that draws the same on every machine.

  numbers: different ones give independent generators, one for each use.
  """
  sequence = np.random.SeedSequence(SEED, spawn_key=numbers)
  # PCG64 by name: numpy's default generator may change.
  return np.random.Generator(np.random.PCG64(sequence))


def by_class(split: Split, valid: int, test: int) -> dict[str, Split]:
  """Cuts labelled arrays in three, with the same number of examples of each class held out.

  Every split is in random order, so that its first n rows are a fair sample.

  valid, test: examples of each class in "valid" and in "test"; the rest is "train".
  """
  rng = generator()
  parts = {name: [] for name in SPLITS}
  for label in np.unique(split["label"]):
    own = rng.permutation(np.flatnonzero(split["label"] == label))
    cuts = np.split(own, [test, test + valid])
    for name, index in zip(("test", "valid", "train"), cuts):
      parts[name].append(index)

  # Each part is sorted by class so far.
  return {name: take(split, rng.permutation(np.concatenate(parts[name]))) for name in SPLITS}


def hold_out(split: Split, valid: int) -> tuple[Split, Split]:
  """Cuts arrays in memory into (train, valid) by one fixed permutation.

  valid: number of examples held out.
  """
  order = generator().permutation(len(split["x"]))
  return take(split, order[valid:]), take(split, order[:valid])
