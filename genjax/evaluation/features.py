"""The spaces that samples are compared in: small classifiers that come with the package.

Distances between sets of images mean something only in the features of a named network. Those of
ImageNet see digits poorly and have to be downloaded, so each data set has its own net, trained by
experiments/feature_nets on the training split and on broken images which it must not recognise.

A file weights/NAME.npz holds the parameters in float16 under their paths ("conv_0/kernel"), the
shape of an image ("shape") and what features are divided by ("scale"): the root of their mean
variance on the training data, so that distances are of order one. The first 8 hex digits of the
sha256 of what it holds belong to the name of every metric: numbers of different nets cannot be
mistaken for each other.
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
NETS = {"mnist": "mnist.npz", "fashion_mnist": "fashion_mnist.npz", "digits": "digits.npz"}
CHUNK = 250  # images at once: one compiled program whatever their number


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureNet:
  """A classifier with its weights.

  name: of the data set it was trained on.
  hash: 8 hex digits of the sha256 of its weights.
  shape: (H, W, C) of the images it takes.
  scale: what the module's features are divided by.
  """

  name: str
  hash: str
  shape: tuple[int, ...]
  scale: float
  module: classifier.SmallCNN
  params: Any

  @property
  def id(self) -> str:
    """What metrics call it, such as "mnist-1a2b3c4d"."""
    return f"{self.name}-{self.hash}"

  def __call__(self, images: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels [N, H, W, C] in 0..levels-1 -> (features [N, D], probabilities [N, classes]).

    Raises core.UserError if the images are of another shape.
    """
    if images.shape[1:] != self.shape:
      raise core.UserError(
        f"feature net {self.id} takes images {self.shape}, got {images.shape[1:]}"
      )
    features, probabilities = [], []
    for start in range(0, len(images), CHUNK):
      x = images[start : start + CHUNK]
      padded = np.zeros((CHUNK, *self.shape), np.float32)
      padded[: len(x)] = x.astype(np.float32) / (levels - 1)
      f, p = apply(self.module, self.params, padded)
      features.append(np.asarray(f, np.float64)[: len(x)] / self.scale)
      probabilities.append(np.asarray(p, np.float64)[: len(x)])
    return np.concatenate(features), np.concatenate(probabilities)


@functools.partial(jax.jit, static_argnums=0)
def apply(module: classifier.SmallCNN, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Images [B, H, W, C] in [0, 1] -> (features [B, D], probabilities [B, classes])."""
  features, logits = module.apply({"params": params}, x)
  return features, jax.nn.softmax(logits)


@functools.cache
def load(name: str) -> FeatureNet:
  """The net of data set `name`. Raises core.UserError if the package ships none."""
  if name not in NETS:
    raise core.unknown("feature net for data", name, NETS)
  with np.load(WEIGHTS / NETS[name]) as file:
    return unpack(name, dict(file))


def unpack(name: str, arrays: dict[str, np.ndarray]) -> FeatureNet:
  """The net whose file holds `arrays`; its sizes are read off the weights."""
  weights = {key: jnp.asarray(a, jnp.float32) for key, a in arrays.items() if "/" in key}
  params = traverse_util.unflatten_dict(weights, sep="/")
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
  """What a file of weights holds: inverts `unpack` up to the rounding to float16."""
  flat = traverse_util.flatten_dict(params, sep="/")
  weights = {key: np.asarray(a, np.float16) for key, a in flat.items()}
  return {"shape": np.array(shape, np.int32), "scale": np.array(scale, np.float32), **weights}


def digest(arrays: dict[str, np.ndarray]) -> str:
  """The first 8 hex digits of the sha256 of named arrays, in the order of their names."""
  sha = hashlib.sha256()
  for key in sorted(arrays):
    a = arrays[key]
    sha.update(f"{key} {a.dtype.str} {a.shape}\n".encode() + np.ascontiguousarray(a).tobytes())
  return sha.hexdigest()[:8]
