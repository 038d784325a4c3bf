"""Data sets that tensorflow_datasets has prepared, read without TensorFlow.

This works for data stored as array_record (`file_format="array_record"`), which the package reads
through `data_source`; its `tfds.load` and `as_dataset` need TensorFlow. Records stay on disk, and
pictures are decoded when a batch needs them.
"""

import dataclasses
import io
import os
import pathlib
import re
from typing import Any

import numpy as np

from genjax import core
from genjax.data.sources import base as sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared(sources.Pictures):
  """Pictures of a data set that tensorflow_datasets has prepared.

  dataset: its name, such as "cifar10", or "name/config".
  dir: the folder of tensorflow_datasets; if empty, $TFDS_DATA_DIR or ~/tensorflow_datasets.
  image: name of the feature that becomes "x".
  label: name of the feature that becomes "label", "" for none.
  size: height and width that the middle square is resized to; 0 keeps the stored size.
  holdout: share of "train" (at least one picture) taken for "valid" where the data have no split
    "validation", and again for "test" where they have no "test".
  """

  dataset: str
  dir: str = ""
  image: str = "image"
  label: str = "label"
  size: core.Count = 0
  holdout: core.Fraction = 0.05
  # Where the pictures lie is no part of what a run is: their hash is.
  view = ("dir",)

  def load(self) -> sources.Dataset:
    """Opens the stored splits; raises core.UserError unless they hold pictures of one shape."""
    home = os.path.expanduser(self.dir) or default_home()
    # Without a name, `home` itself would be searched.
    folder = self.dataset and find(os.path.join(home, self.dataset))
    if not folder:
      raise core.UserError(
        f"{self.dataset!r} is not prepared as array_record in {home}; expected data.dataset and "
        "data.dir of a set stored with file_format='array_record'"
      )

    builder = open_builder(folder)
    shape, count = self._shape(builder.info.features, folder)
    splits = self._splits(builder, shape)

    counts = ", ".join(f"{len(split['x']):,} {key}" for key, split in splits.items())
    origin = f"tfds: {self.dataset} ({counts}), from {folder}"
    licence = builder.info.redistribution_info.license or "unstated"
    return self.pictures(self.dataset, splits, shape, count, origin, licence)

  def _shape(self, features: Any, folder: str) -> tuple[tuple[int, ...], int]:
    """Returns (shape of a picture, number of classes).

    Raises core.UserError if the features are not there, or are not pictures and class labels.
    """
    for key in filter(None, (self.image, self.label)):
      if key not in features:
        raise core.unknown("feature", key, features)

    height, width, channels = features[self.image].shape
    if self.size:
      height = width = self.size
    # tensorflow_datasets writes None for a side that differs between pictures.
    if (
      None in (height, width) or channels not in (1, 3) or features[self.image].np_dtype != np.uint8
    ):
      raise core.UserError(
        f"{self.image} in {folder} has shape {features[self.image].shape} and type "
        f"{np.dtype(features[self.image].np_dtype)}; expected uint8 pictures of 1 or 3 channels, "
        "all of one size (or set data.size to resize them)"
      )

    count = getattr(features[self.label], "num_classes", None) if self.label else 0
    if count is None:
      raise core.UserError(
        f"{self.label} in {folder} is not a class label; name another feature, or none with "
        "`--config.data.label=''`"
      )
    return (height, width, channels), count

  def _splits(self, builder: Any, shape: tuple[int, ...]) -> dict[str, sources.Split]:
    """Returns the three splits as columns; what is not stored is held out from "train"."""
    stored = builder.info.splits
    if "train" not in stored:
      raise core.UserError(f"{self.dataset} has no split 'train', only {', '.join(stored)}")

    # {our split: (stored split, numbers of its records)}; `order` is what is left of "train".
    order = sources.generator().permutation(stored["train"].num_examples)
    places = {}
    # Numbers of pictures are shares of the whole "train", whatever has been taken from it before.
    for split, key in (("valid", "validation"), ("test", "test")):
      if key in stored:
        places[split] = key, np.arange(stored[key].num_examples)
      else:
        held = max(1, round(self.holdout * stored["train"].num_examples))
        places[split] = "train", order[:held]
        order = order[held:]
    places["train"] = "train", order

    if not len(order):
      raise core.UserError(f"data.holdout={self.holdout:g} leaves no pictures to train on")
    return {
      split: columns(builder, *places[split], shape, self.image, self.label, self.size)
      for split in sources.SPLITS
    }


@dataclasses.dataclass(frozen=True)
class Records:
  """One feature of some stored records, as a column.

  The column holds pictures, uint8 [N, H, W, C], or labels, int32 [N].

  records: the stored split, with pictures still encoded, so that labels are cheap to read.
  places: int [N], the numbers of the records.
  key: name of the feature.
  shape: (H, W, C) of a picture, () for labels.
  size: height and width that pictures are resized to, 0 for none.
  name: identifies the stored files, for the fingerprint.
  """

  records: Any
  places: np.ndarray
  key: str
  shape: tuple[int, ...]
  size: int
  name: str

  def __len__(self) -> int:
    return len(self.places)

  def __getitem__(self, index: Any) -> np.ndarray:
    places = self.places[sources.rows(index, len(self))].tolist()
    rows = [record[self.key] for record in self.records.__getitems__(places)]
    return decode(rows, self.shape, self.size) if self.shape else np.array(rows, np.int32)

  def fingerprint(self) -> bytes:
    """Returns names and sizes of the stored files, the feature, and the numbers of the records."""
    return f"{self.name} {self.key} {self.shape}".encode() + self.places.tobytes()


def decode(rows: list[bytes], shape: tuple[int, ...], size: int = 0) -> np.ndarray:
  """Decodes N encoded pictures, uint8 [N, *shape].

  size: height and width that they are resized to, 0 for none.
  """
  # Imported here, because only encoded pictures need Pillow.
  from genjax.data import pictures

  x = np.empty((len(rows), *shape), np.uint8)
  for i, row in enumerate(rows):
    x[i] = pictures.decode(io.BytesIO(row), shape[-1], size)
  return x


def encoded(builder: Any, split: str, image: str) -> Any:
  """Returns the records of a stored split as a sequence, with the feature `image` still encoded."""
  import tensorflow_datasets as tfds

  return builder.as_data_source(split=split, decoders={image: tfds.decode.SkipDecoding()})


def columns(
  builder: Any,
  split: str,
  places: np.ndarray,
  shape: tuple[int, ...],
  image: str = "image",
  label: str = "label",
  size: int = 0,
) -> sources.Split:
  """Returns some records of a stored split as columns "x" and, if there are labels, "label".

  split: name of the stored split.
  places: int [N], the numbers of the records.
  shape: (H, W, C) of a picture.
  image, label: names of the features; "" for no label.
  size: height and width that pictures are resized to, 0 for none.
  """
  records = encoded(builder, split, image)
  # The content is too large to hash at every start; the sizes of its files stand for it.
  files = sorted(pathlib.Path(builder.data_path).glob(f"*-{split}.array_record*"))
  name = " ".join(f"{file.name} {file.stat().st_size}" for file in files)

  found = {"x": Records(records, places, image, shape, size, name)}
  if label:
    found["label"] = Records(records, places, label, (), 0, name)
  return found


def whole(folder: str, split: str, shape: tuple[int, ...]) -> sources.Split:
  """Reads a whole stored split into memory: "x", uint8 [N, *shape], and "label", int32 [N].

  Raises core.UserError if the stored pictures have another shape.
  """
  builder = open_builder(folder)
  stored = builder.info.features["image"].shape
  if stored != shape:
    raise core.UserError(f"{folder} holds pictures of shape {stored}; expected {shape}")

  records = encoded(builder, split, "image")
  records = records.__getitems__(list(range(len(records))))
  x = decode([record["image"] for record in records], shape)
  return {"x": x, "label": np.array([record["label"] for record in records], np.int32)}


def open_builder(folder: str) -> Any:
  """Returns a read-only builder of a prepared directory."""
  import tensorflow_datasets as tfds

  return tfds.builder_from_directory(folder)


def default_home() -> str:
  """Returns the folder where tensorflow_datasets keeps its data."""
  return os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets")


def find(folder: str) -> str:
  """Returns the newest version stored as array_record in a data set's folder, "" if none.

  folder: the data set's folder, or directly the directory of one version.
  """
  root = pathlib.Path(folder)
  ready = [root, *root.glob("*.*.*")] if root.is_dir() else []
  ready = [path for path in ready if is_prepared(path)]
  # By numbers, so that 10.0.0 is newer than 9.0.0.
  version = lambda path: [int(number) for number in re.findall(r"\d+", path.name)]
  return str(max(ready, key=version)) if ready else ""


def is_prepared(path: pathlib.Path) -> bool:
  """Returns whether a directory holds one version of a data set, stored as array_record."""
  return (path / "dataset_info.json").is_file() and any(path.glob("*.array_record*"))
