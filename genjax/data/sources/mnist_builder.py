"""MNIST and Fashion-MNIST by a tensorflow_datasets builder that needs no TensorFlow.

The package's own `mnist` and `fashion_mnist` cannot be prepared without it: their generator hands
arrays to the Image feature, which tf.image encodes, and opens files by tf.io. This one yields PIL
pictures, reads IDX itself and stores array_record. Import this module late: it imports
tensorflow_datasets.
"""

import hashlib
import os
import sys
from collections.abc import Iterator

import PIL.Image
import tensorflow_datasets as tfds

from genjax import core
from genjax.data.sources import idx, published


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Downloads, checks and stores a published set; `prepare` runs it."""

  VERSION = tfds.core.Version("1.0.0")

  def __init__(self, known: published.Published, **kwargs):
    self.known, self.name = known, known.names[0]  # the name decides where it is stored
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    image, label = tfds.features.Image(shape=(28, 28, 1)), tfds.features.ClassLabel(num_classes=10)
    features = tfds.features.FeaturesDict({"image": image, "label": label})
    return tfds.core.DatasetInfo(builder=self, features=features, homepage=self.known.url)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
    # `download`, because `download_and_extract` unpacks with TensorFlow.
    paths = dl_manager.download({key: self.known.url + key for key in self.known.files})
    for key, path in paths.items():
      check(self.known, key, path)
    return {
      split: self._generate_examples(*(paths[f"{part}-{kind}-ubyte.gz"] for kind in published.IDX))
      for split, part in (("train", "train"), ("test", "t10k"))
    }

  def _generate_examples(self, images: os.PathLike, labels: os.PathLike) -> Iterator:
    for i, (image, label) in enumerate(zip(idx.read(images), idx.read(labels))):
      yield i, {"image": PIL.Image.fromarray(image), "label": int(label)}


def check(known: published.Published, key: str, path: os.PathLike) -> None:
  """Deletes a download that is not byte for byte the known file, and says so."""
  size, sha256 = known.files[key]
  with open(path, "rb") as file:
    data = file.read(size + 1)
  if len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
    os.remove(path)
    os.remove(f"{path}.INFO")  # its checksum would make the next download an error
    raise core.UserError(
      f"{known.url}{key} is not the known {known.what} file (wrong sha256); "
      "it was deleted, try again"
    )


def prepare(known: published.Published, data_dir: str) -> str:
  """Downloads a published set into `data_dir` -> the directory of the prepared data.

  Raises core.UserError for a file with a wrong checksum, OSError if the network fails.
  """
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  builder = IdxBuilder(known, data_dir=data_dir, file_format="array_record")
  try:
    builder.download_and_prepare()
  except tfds.download.DownloadError as error:  # the server refused
    raise OSError(str(error).splitlines()[0]) from error
  return str(builder.data_path)
