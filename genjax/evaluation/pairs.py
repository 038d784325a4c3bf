"""Metrics of conditional samples: does a sample fit the condition that it was drawn for?

psnr    Peak signal-to-noise ratio in decibels to the truth, which is the held-out x whose
        conditions the samples were drawn for: the mean over pictures of
        10 log10(range^2 / mean square error). Beside it stand values that need no model:
        "psnr/bicubic" and "psnr/nearest" are those of a given small picture, resized;
        "psnr/mean" is that of the mean training example.
heard   For each condition of integers (labels, words), how often the training example that is
        nearest to a sample (in Euclidean distance) has exactly the values that were asked for:
        "heard/NAME". "/real" is that of held-out examples with their own values.
"""

from typing import Any

import jax
import numpy as np

from genjax import core
from genjax.data import transforms
from genjax.data.sources import base as sources
from genjax.evaluation import distances, reference

# Least mean square error, as a share of the squared range: a perfect copy has 100 dB.
LEAST = 1e-10
# Examples handled at once.
CHUNK = 500
# Training examples, at most, that are averaged or among which the nearest is searched.
SEARCHED = 20_000


def check_psnr(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless samples have a truth, in a known range, to compare with."""
  # A label alone does not say which picture is meant.
  told = [name for name in getattr(model, "conditions", ()) if name != "label"]
  if not told or not all(data.spec.fields[name].paired for name in told):
    raise core.UserError("metric 'psnr': samples of this model have no truth to compare with")
  if not data.spec.range:
    raise core.UserError("metric 'psnr': needs data whose values lie in a range, such as pictures")


def psnr(run: Any) -> reference.Metrics:
  """Computes psnr of run.num samples, or as many as run.split holds, with its references.

  Raises core.UserError if the samples have no truth.
  """
  check_psnr(run.model, run.data)
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  truth = run.batch(run.split, n)
  x = _model_units(run.samples(n)["x"], run.spec)
  values = {"psnr": decibels(x, truth["x"], run.spec)}

  if _smaller(run.spec.fields.get("image"), run):
    for how in ("bicubic", "nearest"):
      again = resized(core.partial(truth["image"]).value, truth["x"].shape, how)
      values[f"psnr/{how}"] = decibels(again, truth["x"], run.spec)

  mean = _mean(run.data.splits["train"]["x"], run.spec)
  mean = np.broadcast_to(mean, truth["x"].shape)
  values["psnr/mean"] = decibels(mean, truth["x"], run.spec)

  error = values["psnr"].std(ddof=1) / n**0.5
  means = {k: float(v.mean()) for k, v in values.items()}
  return means | {"psnr/se": float(error), "psnr/n": n}


def _smaller(image: core.Field | None, run: Any) -> bool:
  """Returns whether the model is told x itself at a lower resolution, in the field `image`."""
  told = image is not None and "image" in run.model.conditions and image.range == run.spec.range
  return told and image.shape[-1] == run.spec.shape[-1] and image.shape[0] < run.spec.shape[0]


def _mean(column: Any, spec: core.DataSpec) -> np.ndarray:
  """Computes the mean training example in model units, float32 [*shape]."""
  n = min(len(column), SEARCHED)
  total = 0.0
  # In chunks, since the examples may be too many for the memory.
  for first in range(0, n, CHUNK):
    chunk = _model_units(column[first : min(first + CHUNK, n)], spec)
    total = total + chunk.sum(0, dtype=np.float64)
  return (total / n).astype(np.float32)


def decibels(x: np.ndarray, truth: np.ndarray, spec: core.DataSpec) -> np.ndarray:
  """Computes the peak signal-to-noise ratio of each of N pictures in decibels, [N].

  x, truth: [N, *shape], in model units.
  """
  low, high = spec.range
  mse = np.mean(((x - truth).reshape(len(x), -1) / (high - low)) ** 2, axis=1)
  return -10 * np.log10(np.maximum(mse, LEAST))


def resized(x: np.ndarray, shape: tuple[int, ...], how: str) -> np.ndarray:
  """Resizes pictures [N, h, w, C] to `shape`, [N, H, W, C].

  how: "bicubic" or "nearest".
  """
  method = {"bicubic": "cubic", "nearest": "nearest"}[how]
  return np.asarray(jax.image.resize(x, shape, method))


def _model_units(x: np.ndarray, spec: core.DataSpec) -> np.ndarray:
  """Turns stored examples into float32 in the range that models see."""
  return transforms.scale(x, spec.levels, spec.range) if spec.levels else np.float32(x)


def check_heard(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless the model is told a field of integers."""
  if not _integers(model, data.spec):
    raise core.UserError("metric 'heard': this model is told no labels or words")


def heard(run: Any) -> reference.Metrics:
  """Computes heard/NAME of run.num samples, or as many as the smallest split holds.

  The "/real" values are those of held-out examples. Raises core.UserError if the model is told no
  integers.
  """
  check_heard(run.model, run.data)
  sets = reference.sets(run)
  train = reference.some(run.data.splits["train"], SEARCHED)
  flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)

  values = {}
  for name in _integers(run.model, run.spec):
    shares = []
    for part in (sets.samples, sets.held):
      nearest = _nearest(flat(part["x"]), flat(train["x"]))
      same = train[name][nearest] == part[name]  # [N, *shape]
      # All integers of a field must agree, such as both words of a text.
      shares.append(np.mean(np.all(same.reshape(len(same), -1), axis=1)))
    values[f"heard/{name}"] = tuple(shares)
  return reference.rows(values, sets.n)


def _nearest(x: np.ndarray, train: np.ndarray) -> np.ndarray:
  """Returns the row of train [M, D] that is nearest to each x [N, D], int [N]."""
  # In chunks, since the matrix of all distances may not fit in memory.
  parts = np.split(x, range(CHUNK, len(x), CHUNK))
  return np.concatenate([distances.squared(part, train).argmin(1) for part in parts])


def _integers(model: Any, spec: core.DataSpec) -> list[str]:
  """Returns the names of the integer fields that the model is told."""
  names = getattr(model, "conditions", ())
  return [name for name in names if spec.fields[name].integer]
