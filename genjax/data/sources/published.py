"""MNIST and Fashion-MNIST as they were published: four IDX files each, with the same names."""

from typing import NamedTuple

# The two kinds of file, as in train-images-idx3-ubyte.gz.
IDX = ("images-idx3", "labels-idx1")


class Published(NamedTuple):
  """Where a published set of pictures can be found, and which files it has.

  name: the name in genjax.
  what: the name that its authors gave it.
  url: of the folder that holds the files, with a slash at the end.
  files: {name of a file: (size in bytes, sha256)}.
  names: folders in which tensorflow_datasets may have stored it: those of genjax's builder and of
    its own.
  local: the folder where a Debian package puts the files, "" if there is no package.
  otherwise: what a person can do if the download fails.
  licence: the licence of the data, in a few words.
  """

  name: str
  what: str
  url: str
  files: dict[str, tuple[int, str]]
  names: tuple[str, str]
  local: str
  otherwise: str
  licence: str


MNIST = Published(
  name="mnist",
  what="MNIST",
  # The mirror that tensorflow_datasets uses too.
  url="https://storage.googleapis.com/cvdf-datasets/mnist/",
  files={
    "train-images-idx3-ubyte.gz": (
      9_912_422,
      "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte.gz": (
      28_881,
      "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte.gz": (
      1_648_877,
      "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte.gz": (
      4_542,
      "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
  },
  names=("genjax_mnist", "mnist"),
  local="",
  otherwise="`--config.data.source=bundled` needs no network",
  licence="CC BY-SA 3.0",
)
FASHION = Published(
  name="fashion_mnist",
  what="Fashion-MNIST",
  url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
  files={
    "train-images-idx3-ubyte.gz": (
      26_421_880,
      "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte.gz": (
      29_515,
      "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    "t10k-images-idx3-ubyte.gz": (
      4_422_102,
      "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    "t10k-labels-idx1-ubyte.gz": (
      5_148,
      "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
  },
  names=("genjax_fashion_mnist", "fashion_mnist"),
  local="/usr/share/datasets/fashion-mnist",
  otherwise="with data.source=auto, `apt-get install dataset-fashion-mnist` will do, or the folder "
  "of its four IDX files, `--config.data.dir=DIR`",
  licence="MIT",
)
