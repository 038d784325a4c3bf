"""What a data set is, and what every source of one shares.

A source is a frozen dataclass whose fields are the keys of config.data; `load()` gives a `Dataset`
of three splits. Training reads "train", selection "valid", and only final metrics "test". A split
is a dict of columns:

    "x"      pictures, uint8 grey levels 0..levels-1 [N, H, W, C], or points, float32 [N, D]
    "label"  int32 [N], where there are classes
    NAME     whatever else stands beside x, as a field of the spec describes it

A column is all that has `len(column)` and `column[int array or slice] -> numpy array`; a numpy
array is one, and a folder of a million pictures is another, which decodes on demand.

Binarized pictures are three different data sets, so they say which:

    threshold   1 above half of the brightest level
    static      one Bernoulli draw of the grey levels, for good
    dynamic     a fresh draw each time that training sees the picture; valid and test are the draw
                of `static`, so the two are measured on the same pictures
"""

import dataclasses
import hashlib
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from genjax import core
from genjax.data import transforms

SPLITS = ("train", "valid", "test")
BINARIZE = ("", "threshold", "static", "dynamic")
SEED = 20240229  # of every split and static draw: part of the data sets' definition
CHUNK = 4096  # rows drawn at once, to bound memory


class Column(Protocol):
  """One entry of every example of a split."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: Any) -> np.ndarray:
    """The rows of an int array or slice."""

  def fingerprint(self) -> bytes:
    """What names the content where it is too large to read; a numpy array needs none."""


Split = dict[str, Any]  # name -> Column or numpy array


class Dataset(NamedTuple):
  """Three splits and where they come from.

  name: of the data, such as "mnist" or "moons".
  spec: what models, writers and units are told.
  splits: "train", "valid" and "test", disjoint wherever examples are not drawn independently.
  origin: one line: which data, how many, from where, and what would give more.
  licence: of the data, in a few words.
  hash: split -> 12 hex digits of the sha256 of its content (file names and sizes for large sets).
  entropy: of the distribution that x is drawn from, in nats: the least mean negative log-likelihood
    that any model can reach. None where it is unknown.
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

  noise: standard deviation of Gaussian noise added to training batches, in units of the model's x.
  one_hot: batches carry "label" as float32 [B, classes] instead of int32 [B].
  """

  noise: core.NonNegative = 0.0
  one_hot: bool = False
  flip: ClassVar[bool] = False

  def load(self) -> Dataset:
    """Raises core.UserError if the data are not there, with the way to get them."""
    raise NotImplementedError

  def points(
    self, name: str, splits: dict[str, Split], classes: int, origin: str, licence: str
  ) -> Dataset:
    """The Dataset of float32 points [N, D]."""
    spec = self.labelled(core.DataSpec(shape=splits["train"]["x"].shape[1:], classes=classes))
    return Dataset(name, spec, splits, origin, licence, hashes(splits))

  def labelled(self, spec: core.DataSpec) -> core.DataSpec:
    """The spec, with labels as vectors if the configuration says so."""
    if not (self.one_hot and spec.classes):
      return spec
    vector = core.Field(shape=(spec.classes,), range=(0.0, 1.0), kind="points", about="label")
    return spec.beside(label=vector)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures(Source):
  """Fields that every source of pictures has.

  range: of x as models see it, (-1, 1) or (0, 1); binarized pictures are always 0 or 1.
  flip: mirrors training pictures left to right with probability 1/2.
  binarize: "" (grey levels), "threshold", "static" or "dynamic"; see the module docstring.
  leave_out: classes that only the test split has, to be noticed there.
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
    """The Dataset of pictures of grey levels, binarized if the configuration says so."""
    if self.binarize not in BINARIZE:
      raise core.unknown("data.binarize", self.binarize, BINARIZE[1:])
    if tuple(self.range) not in ((-1, 1), (0, 1)):
      raise core.UserError(f"data.range={self.range}: expected (-1, 1) or (0, 1)")
    if self.leave_out and not set(self.leave_out) < set(np.arange(classes).tolist()):
      raise core.UserError(f"data.leave_out={self.leave_out}: expected some of {classes} classes")
    if self.leave_out:
      splits = {s: splits[s] if s == "test" else without(splits[s], self.leave_out) for s in SPLITS}
      origin += f", without classes {', '.join(map(str, self.leave_out))}"
    kind, range = "image", tuple(map(float, self.range))
    if self.binarize:
      splits = {s: binarized(self.binarize, splits[s], levels, i) for i, s in enumerate(SPLITS)}
      kind, range, levels = "binary", (0.0, 1.0), 2
    spec = core.DataSpec(shape=tuple(shape), range=range, levels=levels, classes=classes, kind=kind)
    return Dataset(name, self.labelled(spec), splits, origin, licence, hashes(splits))


@dataclasses.dataclass(frozen=True)
class Binarized:
  """A column of pictures with levels 0 and 1; a draw depends on the row's position alone."""

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
    return fingerprint(self.column) + self.how.encode()


def binarized(how: str, split: Split, levels: int, stream: int) -> Split:
  """The split with binary "x"; dynamic training pictures keep their grey levels in "intensity".

  A batch's x is then drawn anew from "intensity", as a share of the brightest level.
  """
  column = Binarized(split["x"], levels, how, stream)
  x = column
  if isinstance(split["x"], np.ndarray):  # draw it once: it stays in memory
    x = np.concatenate([column[i : i + CHUNK] for i in range(0, len(column), CHUNK)])
  new = {**split, "x": x}
  if how == "dynamic" and stream == SPLITS.index("train"):
    new["intensity"] = Intensity(split["x"], levels)
  return new


@dataclasses.dataclass(frozen=True)
class Intensity:
  """A column of pictures as float32 shares of the brightest level, in [0, 1]."""

  column: Any
  levels: int

  def __len__(self) -> int:
    return len(self.column)

  def __getitem__(self, index: Any) -> np.ndarray:
    return transforms.scale(self.column[index], self.levels, (0.0, 1.0))

  def fingerprint(self) -> bytes:
    return fingerprint(self.column)


@dataclasses.dataclass(frozen=True)
class Rows:
  """Some rows of a column, in the order of `index`."""

  column: Any
  index: np.ndarray

  def __len__(self) -> int:
    return len(self.index)

  def __getitem__(self, index: Any) -> np.ndarray:
    return self.column[self.index[rows(index, len(self))]]

  def fingerprint(self) -> bytes:
    return fingerprint(self.column) + self.index.tobytes()


def without(split: Split, classes: tuple[int, ...]) -> Split:
  """The split less the examples of these classes."""
  index = np.flatnonzero(~np.isin(split["label"][:], classes))
  part = lambda c: c[index] if isinstance(c, np.ndarray) else Rows(c, index)
  return {name: part(column) for name, column in split.items()}


def rows(index: Any, n: int) -> np.ndarray:
  """A slice or integer array as an array of positions counted from the first."""
  if isinstance(index, slice):
    return np.arange(n)[index]
  index = np.asarray(index, np.int64)
  return np.where(index < 0, index + n, index)


def fingerprint(column: Any) -> bytes:
  """What `hashes` hashes of a column: all of an array, the column's own word otherwise."""
  if isinstance(column, np.ndarray):
    return f"{column.dtype.str}{column.shape}".encode() + np.ascontiguousarray(column).tobytes()
  return column.fingerprint()


def hashes(splits: dict[str, Split]) -> dict[str, str]:
  """split -> the first 12 hex digits of the sha256 of its columns, in the order of their names."""
  digests = {}
  for name, split in splits.items():
    sha = hashlib.sha256()
    for key in sorted(split):
      sha.update(key.encode() + b"\0" + fingerprint(split[key]))
    digests[name] = sha.hexdigest()[:12]
  return digests


def draws(n: int) -> tuple[int, int, int]:
  """The sizes of the three splits of a distribution that can be drawn from at will."""
  return n, max(1, n // 5), max(1, n // 5)


def take(split: Split, index: np.ndarray) -> Split:
  """The rows `index` of arrays in memory."""
  return {name: column[index] for name, column in split.items()}


def generator(*numbers: int) -> np.random.Generator:
  """A generator that is the same on every machine; the numbers tell uses apart."""
  return np.random.Generator(np.random.PCG64(np.random.SeedSequence(SEED, spawn_key=numbers)))


def by_class(split: Split, valid: int, test: int) -> dict[str, Split]:
  """Three splits of labelled arrays with `valid` and `test` examples of each class, the rest train.

  Each is in random order, so that the first n rows are a fair sample.
  """
  rng = generator()
  parts = {name: [] for name in SPLITS}
  for label in np.unique(split["label"]):
    own = rng.permutation(np.flatnonzero(split["label"] == label))
    cuts = np.split(own, [test, test + valid])
    for name, index in zip(("test", "valid", "train"), cuts):
      parts[name].append(index)
  return {name: take(split, rng.permutation(np.concatenate(parts[name]))) for name in SPLITS}


def hold_out(split: Split, valid: int) -> tuple[Split, Split]:
  """(train, valid) by one fixed permutation of arrays in memory."""
  order = generator().permutation(len(split["x"]))
  return take(split, order[valid:]), take(split, order[:valid])
