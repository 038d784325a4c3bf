"""All 70,000 MNIST digits as a tensorflow_datasets builder that needs no TensorFlow.

The package's own `mnist` cannot be prepared without it: its generator hands arrays to the Image
feature, which tf.image encodes, and opens files by tf.io. This one yields PIL pictures, reads IDX
itself and stores array_record. Import this module late: it imports tensorflow_datasets.
"""

import hashlib
import os
import sys
from collections.abc import Iterator

import PIL.Image
import tensorflow_datasets as tfds

from genjax import core
from genjax.data import idx, mnist


class GenjaxMnist(tfds.core.GeneratorBasedBuilder):
  """Downloads, checks and stores MNIST; `prepare` runs it."""

  name = "genjax_mnist"
  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    image, label = tfds.features.Image(shape=(28, 28, 1)), tfds.features.ClassLabel(num_classes=10)
    features = tfds.features.FeaturesDict({"image": image, "label": label})
    return tfds.core.DatasetInfo(builder=self, features=features, homepage=mnist.URL)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
    # `download`, because `download_and_extract` unpacks with TensorFlow.
    paths = dl_manager.download({key: mnist.URL + key for key in mnist.FILES})
    for key, path in paths.items():
      check(key, path)
    return {
      split: self._generate_examples(*(paths[f"{part}-{kind}-ubyte.gz"] for kind in mnist.IDX))
      for split, part in (("train", "train"), ("test", "t10k"))
    }

  def _generate_examples(self, images: os.PathLike, labels: os.PathLike) -> Iterator:
    for i, (image, label) in enumerate(zip(idx.read(images), idx.read(labels))):
      yield i, {"image": PIL.Image.fromarray(image), "label": int(label)}


def check(key: str, path: os.PathLike) -> None:
  """Deletes a download that is not byte for byte the known file, and says so."""
  size, sha256 = mnist.FILES[key]
  with open(path, "rb") as file:
    data = file.read(size + 1)
  if len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
    os.remove(path)
    os.remove(f"{path}.INFO")  # its checksum would make the next download an error
    raise core.UserError(
      f"{mnist.URL}{key} is not the known MNIST file (wrong sha256); it was deleted, try again"
    )


def prepare(data_dir: str) -> str:
  """Downloads MNIST into `data_dir` -> the directory of the prepared data.

  Raises core.UserError for a file with a wrong checksum, OSError if the network fails.
  """
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  builder = GenjaxMnist(data_dir=data_dir, file_format="array_record")
  try:
    builder.download_and_prepare()
  except tfds.download.DownloadError as error:  # the server refused
    raise OSError(str(error).splitlines()[0]) from error
  return str(builder.data_path)
