"""MNIST and Fashion-MNIST, prepared by a tensorflow_datasets builder that needs no TensorFlow.

The builders `mnist` and `fashion_mnist` of tensorflow_datasets itself need TensorFlow: they hand
arrays to the Image feature, which encodes them with tf.image, and open files with tf.io. The
builder here reads IDX files itself, hands over PIL pictures and stores array_record.

Import this module late, because it imports tensorflow_datasets.
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
  """Downloads, checks and stores a published set; `prepare` runs it.

  known: the published set.
  """

  VERSION = tfds.core.Version("1.0.0")

  def __init__(self, known: published.Published, **kwargs):
    self.known = known
    # The name decides in which folder the data are stored.
    self.name = known.names[0]
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    image = tfds.features.Image(shape=(28, 28, 1))
    label = tfds.features.ClassLabel(num_classes=10)
    features = tfds.features.FeaturesDict({"image": image, "label": label})
    return tfds.core.DatasetInfo(builder=self, features=features, homepage=self.known.url)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
    # `download`, because `download_and_extract` unpacks with TensorFlow.
    paths = dl_manager.download({key: self.known.url + key for key in self.known.files})
    for key, path in paths.items():
      check(self.known, key, path)

    generators = {}
    for split, part in (("train", "train"), ("test", "t10k")):
      images, labels = (paths[f"{part}-{kind}-ubyte.gz"] for kind in published.IDX)
      generators[split] = self._generate_examples(images, labels)
    return generators

  def _generate_examples(self, images: os.PathLike, labels: os.PathLike) -> Iterator:
    for i, (image, label) in enumerate(zip(idx.read(images), idx.read(labels))):
      # A PIL picture is encoded without TensorFlow, an array is not.
      yield i, {"image": PIL.Image.fromarray(image), "label": int(label)}


def check(known: published.Published, key: str, path: os.PathLike) -> None:
  """Checks size and sha256 of a downloaded file.

  A file that is not the published one is deleted, and core.UserError is raised.

  key: the name of the file in `known.files`.
  path: where it was downloaded to.
  """
  size, sha256 = known.files[key]
  with open(path, "rb") as file:
    data = file.read(size + 1)

  if len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
    os.remove(path)
    # The checksum stored in there would make the next download an error.
    os.remove(f"{path}.INFO")
    raise core.UserError(
      f"{known.url}{key} is not the known {known.what} file (wrong sha256); "
      "it was deleted, try again"
    )


def prepare(known: published.Published, data_dir: str) -> str:
  """Downloads a published set into `data_dir` and returns the directory of the prepared data.

  Raises core.UserError for a file with a wrong checksum, OSError if the network fails.
  """
  # A progress bar would fill a log file.
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()

  builder = IdxBuilder(known, data_dir=data_dir, file_format="array_record")
  try:
    builder.download_and_prepare()
  except tfds.download.DownloadError as error:
    # The server answered, but refused.
    raise OSError(str(error).splitlines()[0]) from error
  return str(builder.data_path)
