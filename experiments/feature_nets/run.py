"""Trains the classifiers whose features the metrics use; see README.md here.

    python experiments/feature_nets/run.py --net=mnist

This command writes genjax/evaluation/weights/mnist.npz and the row of this net in results.json.
"""

import dataclasses
import functools
import json
import pathlib
import platform
import time
from typing import Any

import augment
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from genjax import core
from genjax.data.sources import base as sources
from genjax.data.sources import digits, mnist
from genjax.evaluation import features
from genjax.networks import classifier

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """How one net is made.

  source: where the data come from; only the training split is learnt from.
  epochs: passes over the training split.
  widths: channels of the convolutions.
  batch: images in a step, beside a quarter as many broken ones.
  rate: highest learning rate of AdamW, reached after a twentieth of the steps; then cosine to zero.
  motion: greatest (shift in pixels, turn in radians, log zoom) of an image.
  flip: whether to mirror half of the images.
  """

  source: sources.Source
  epochs: core.Size
  widths: tuple[int, ...] = (32, 64, 64, 64)
  batch: core.Size = 100
  rate: core.Positive = 2e-3
  motion: tuple[float, float, float] = (2.0, 0.2, 0.12)
  flip: bool = False


RECIPES = {
  "mnist": Recipe(source=mnist.Mnist(source="bundled"), epochs=60),
  "fashion_mnist": Recipe(
    source=mnist.FashionMnist(), epochs=5, motion=(1.5, 0.05, 0.08), flip=True
  ),
  "digits": Recipe(
    source=digits.Digits(), epochs=150, widths=(32, 64, 64), motion=(0.7, 0.15, 0.1)
  ),
}
NET = flags.DEFINE_enum("net", None, list(RECIPES), "which net to train", required=True)


def train(recipe: Recipe, data: sources.Dataset) -> Any:
  """Trains a net on the training split and returns its parameters."""
  split = data.splits["train"]
  spec = data.spec
  net = classifier.SmallCNN(classes=spec.classes, widths=recipe.widths)
  x = split["x"].astype(np.float32) / (spec.levels - 1)
  label = split["label"]

  per_epoch = len(x) // recipe.batch
  steps = recipe.epochs * per_epoch
  schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.rate, steps // 20, steps)
  optimizer = optax.adamw(schedule, weight_decay=0.02)
  params = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, *spec.shape)))["params"]
  state = optimizer.init(params)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, state, i, x, label):
    key = jax.random.fold_in(jax.random.key(1), i)
    x, target = augment.batch(key, x, label, spec.classes, recipe.flip, recipe.motion)

    def loss(params):
      # A target is a distribution over the classes, uniform for many broken images.
      return optax.softmax_cross_entropy(net.apply({"params": params}, x)[1], target).mean()

    value, grads = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value

  # Every epoch has a new order of the images; those that do not fill a batch are left out.
  for epoch in range(recipe.epochs):
    order = np.random.default_rng(epoch).permutation(len(x))
    for i, rows in enumerate(np.split(order[: per_epoch * recipe.batch], per_epoch)):
      params, state, value = step(params, state, epoch * per_epoch + i, x[rows], label[rows])
    print(f"epoch {epoch + 1}/{recipe.epochs}  loss {float(value):.4f}", flush=True)
  return params


def scaled(arrays: dict[str, np.ndarray], data: sources.Dataset) -> dict[str, np.ndarray]:
  """Returns a file's arrays with the scale by which features have a mean variance of one.

  The variance is that over the training split.
  """
  x, _ = features.unpack("raw", arrays)(data.splits["train"]["x"], data.spec.levels)
  return {**arrays, "scale": np.array(x.var(0).mean() ** 0.5, np.float32)}


def measure(net: features.FeatureNet, data: sources.Dataset) -> dict[str, float]:
  """Returns accuracies on valid and test, and shares of legible test and broken test images.

  An image is legible if one class has a probability above 0.9.
  """
  report = {}
  levels = data.spec.levels

  for name in ("valid", "test"):
    _, p = net(data.splits[name]["x"], levels)
    report[f"{name}_accuracy"] = float(np.mean(p.argmax(1) == data.splits[name]["label"]))
  report["test_legible"] = float(np.mean(p.max(1) > 0.9))  # p of the last split, test

  x = data.splits["test"]["x"]
  rng = np.random.default_rng(0)
  other = x[rng.permutation(len(x))]
  bright = rng.random(x.shape) * (levels - 1) < x
  shown = {
    "binarized": bright * (levels - 1),
    "noise": rng.integers(0, levels, x.shape),
    "pixels_independent": np.asarray(augment.mix(jax.random.key(2), x, len(x))),
    "overlaid": np.maximum(x, other),
    "halves": np.concatenate([x[:, : x.shape[1] // 2], other[:, x.shape[1] // 2 :]], axis=1),
  }

  for name, images in shown.items():
    _, p = net(images, levels)
    report[f"{name}_legible"] = float(np.mean(p.max(1) > 0.9))
  return report


def main(_: list[str]) -> None:
  """Trains and measures one net and writes its weights and its row of results.json."""
  recipe = RECIPES[NET.value]
  data = recipe.source.load()

  start = time.monotonic()
  arrays = scaled(features.pack(train(recipe, data), data.spec.shape, 1.0), data)
  seconds = time.monotonic() - start

  path = features.WEIGHTS / features.NETS[NET.value]
  np.savez_compressed(path, **arrays)

  # Measured as it is loaded, with weights rounded to float16.
  net = features.load(NET.value)
  row = {
    "hash": net.hash,
    "data": data.hash,
    "parameters": sum(a.size for a in jax.tree.leaves(net.params)),
    "bytes": path.stat().st_size,
    "seconds": round(seconds),
    "machine": f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}",
    **measure(net, data),
  }

  results = HERE / "results.json"
  table = json.loads(results.read_text()) if results.exists() else {}
  results.write_text(json.dumps({**table, NET.value: row}, indent=2, sort_keys=True) + "\n")
  print(json.dumps(row, indent=2))


if __name__ == "__main__":
  app.run(main)
