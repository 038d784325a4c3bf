"""Feature nets: small classifiers that come with the package, to compare samples by their features.

Distances between sets of images mean something only in the features of a named network. Networks
trained on ImageNet see digits poorly and have to be downloaded, so each data set has its own net
here. experiments/feature_nets trains it on the training split, and on broken images that it must
not recognise.

A file weights/NAME.npz holds

    "conv_0/kernel", ...    the parameters in float16, named by their paths
    "shape"                 the shape of an image
    "scale"                 what features are divided by: the root of their mean variance on the
                            training data, so that distances are of order one

The first 8 hex digits of the sha256 of this content are part of the name of every metric, so that
numbers from different nets cannot be mistaken for each other.
"""

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from genjax import core
from genjax.networks import classifier

WEIGHTS = pathlib.Path(__file__).parent / "weights"
# {name of a data set: file}
NETS = {"mnist": "mnist.npz", "fashion_mnist": "fashion_mnist.npz", "digits": "digits.npz"}
# Images in one call: a fixed number, so that one compiled program serves any number of images.
CHUNK = 250


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureNet:
  """A classifier with its weights.

  name: of the data set that it was trained on.
  hash: 8 hex digits of the sha256 of its file's content.
  shape: (H, W, C) of the images that it takes.
  scale: what the features of the module are divided by.
  module: the network.
  params: the parameters of the network.
  """

  name: str
  hash: str
  shape: tuple[int, ...]
  scale: float
  module: classifier.SmallCNN
  params: Any

  @property
  def id(self) -> str:
    """The name that metrics use, such as "mnist-1a2b3c4d"."""
    return f"{self.name}-{self.hash}"

  def __call__(self, images: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (features [N, D], probabilities of the classes [N, classes]), float64.

    Raises core.UserError if the images have another shape than the net takes.

    images: [N, H, W, C], grey levels 0..levels-1.
    """
    if images.shape[1:] != self.shape:
      raise core.UserError(
        f"feature net {self.id} takes images {self.shape}, got {images.shape[1:]}"
      )

    features = []
    probabilities = []
    for start in range(0, len(images), CHUNK):
      x = images[start : start + CHUNK]
      # The last chunk is filled up with black images, and cut again below.
      padded = np.zeros((CHUNK, *self.shape), np.float32)
      padded[: len(x)] = x.astype(np.float32) / (levels - 1)
      f, p = apply(self.module, self.params, padded)
      features.append(np.asarray(f, np.float64)[: len(x)] / self.scale)
      probabilities.append(np.asarray(p, np.float64)[: len(x)])
    return np.concatenate(features), np.concatenate(probabilities)


@functools.partial(jax.jit, static_argnums=0)
def apply(module: classifier.SmallCNN, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns (features [B, D], probabilities [B, classes]) of images x [B, H, W, C] in [0, 1]."""
  features, logits = module.apply({"params": params}, x)
  return features, jax.nn.softmax(logits)


@functools.cache
def load(name: str) -> FeatureNet:
  """Loads the net of the data set `name`; raises core.UserError if the package ships none."""
  if name not in NETS:
    raise core.unknown("feature net for data", name, NETS)
  with np.load(WEIGHTS / NETS[name]) as file:
    return unpack(name, dict(file))


def unpack(name: str, arrays: dict[str, np.ndarray]) -> FeatureNet:
  """Builds the net whose file holds `arrays`; the sizes of its layers are those of the weights."""
  # Only the paths of parameters have a slash.
  weights = {key: jnp.asarray(a, jnp.float32) for key, a in arrays.items() if "/" in key}
  params = traverse_util.unflatten_dict(weights, sep="/")

  # The file holds no sizes: every layer's is the length of its bias.
  depth = sum(key.startswith("conv_") for key in params)
  module = classifier.SmallCNN(
    classes=params["logits"]["bias"].size,
    widths=tuple(params[f"conv_{i}"]["bias"].size for i in range(depth)),
    features=params["features"]["bias"].size,
  )
  return FeatureNet(
    name=name,
    hash=digest(arrays),
    shape=tuple(map(int, arrays["shape"])),
    scale=float(arrays["scale"]),
    module=module,
    params=params,
  )


def pack(params: Any, shape: tuple[int, ...], scale: float) -> dict[str, np.ndarray]:
  """Returns the arrays for a net's file: the inverse of `unpack`, up to rounding to float16."""
  flat = traverse_util.flatten_dict(params, sep="/")
  weights = {key: np.asarray(a, np.float16) for key, a in flat.items()}
  return {"shape": np.array(shape, np.int32), "scale": np.array(scale, np.float32), **weights}


def digest(arrays: dict[str, np.ndarray]) -> str:
  """Returns the first 8 hex digits of the sha256 of named arrays, sorted by name."""
  sha = hashlib.sha256()
  for key in sorted(arrays):
    a = arrays[key]
    # The same bytes could be arrays of another type or shape.
    head = f"{key} {a.dtype.str} {a.shape}\n"
    sha.update(head.encode() + np.ascontiguousarray(a).tobytes())
  return sha.hexdigest()[:8]
