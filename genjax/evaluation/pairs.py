"""Samples against what they were asked for.

psnr    Peak signal-to-noise ratio in dB to the truth, the held-out x whose conditions the samples
        were drawn for: the mean over pictures of 10 log10(range^2 / mean square error). Beside it
        what needs no model: "psnr/bicubic" and "psnr/nearest" are the picture that was given,
        resized; "psnr/mean" the mean training example.
heard   Of each field of integers, how often the nearest training example (Euclidean) of a sample
        has the very values that were asked for, "heard/NAME"; "/real" is that of held-out examples.
"""

from typing import Any

import jax
import numpy as np

from genjax import core
from genjax.data import transforms
from genjax.data.sources import base as sources
from genjax.evaluation import distances, reference

LEAST = 1e-10  # mean square error of a perfect copy, as a share of the range: 100 dB
CHUNK = 500  # examples at once
SEARCHED = 20_000  # training examples among which the nearest is looked for


def check_psnr(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless samples have a truth in a known range."""
  told = [name for name in getattr(model, "conditions", ()) if name != "label"]
  if not told or not all(data.spec.fields[name].paired for name in told):
    raise core.UserError("metric 'psnr': samples of this model have no truth to compare with")
  if not data.spec.range:
    raise core.UserError("metric 'psnr' needs data in a range")


def psnr(run: Any) -> reference.Metrics:
  """Of run.num samples, or as many as the split holds."""
  check_psnr(run.model, run.data)
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  truth = run.batch(run.split, n)
  x = _model_units(run.samples(n)["x"], run.spec)
  values = {"psnr": decibels(x, truth["x"], run.spec)}
  if _smaller(run.spec.fields.get("image"), run):
    for how in ("bicubic", "nearest"):
      again = resized(core.partial(truth["image"]).value, truth["x"].shape, how)
      values[f"psnr/{how}"] = decibels(again, truth["x"], run.spec)
  mean = np.broadcast_to(_mean(run.data.splits["train"]["x"], run.spec), truth["x"].shape)
  values["psnr/mean"] = decibels(mean, truth["x"], run.spec)
  error = values["psnr"].std(ddof=1) / n**0.5
  return {k: float(v.mean()) for k, v in values.items()} | {"psnr/se": float(error), "psnr/n": n}


def _smaller(image, run):
  """Whether the model is told x itself at a lower resolution."""
  told = image is not None and "image" in run.model.conditions and image.range == run.spec.range
  return told and image.shape[-1] == run.spec.shape[-1] and image.shape[0] < run.spec.shape[0]


def _mean(column, spec):
  """Of training examples, in chunks that fit in memory."""
  n, total = min(len(column), SEARCHED), 0.0
  for first in range(0, n, CHUNK):
    chunk = _model_units(column[first : min(first + CHUNK, n)], spec)
    total = total + chunk.sum(0, dtype=np.float64)
  return (total / n).astype(np.float32)


def decibels(x: np.ndarray, truth: np.ndarray, spec: core.DataSpec) -> np.ndarray:
  """The ratio of each of N pictures in model units, [N]."""
  low, high = spec.range
  mse = np.mean(((x - truth).reshape(len(x), -1) / (high - low)) ** 2, axis=1)
  return -10 * np.log10(np.maximum(mse, LEAST))


def resized(x: np.ndarray, shape: tuple[int, ...], how: str) -> np.ndarray:
  """Pictures [N, h, w, C] at the size of `shape`; how: "bicubic" or "nearest"."""
  method = {"bicubic": "cubic", "nearest": "nearest"}[how]
  return np.asarray(jax.image.resize(x, shape, method))


def _model_units(x, spec):
  """Stored examples as float32 in the data's range."""
  return transforms.scale(x, spec.levels, spec.range) if spec.levels else np.float32(x)


def check_heard(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the model is told integers."""
  if not _integers(model, data.spec):
    raise core.UserError("metric 'heard': this model is told no labels or words")


def heard(run: Any) -> reference.Metrics:
  """Of run.num samples, or as many as the smallest split holds."""
  check_heard(run.model, run.data)
  sets = reference.sets(run)
  train = reference.some(run.data.splits["train"], SEARCHED)
  flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)
  values = {}
  for name in _integers(run.model, run.spec):
    shares = []
    for part in (sets.samples, sets.held):
      nearest = _nearest(flat(part["x"]), flat(train["x"]))
      same = train[name][nearest] == part[name]
      shares.append(np.mean(np.all(same.reshape(len(same), -1), axis=1)))
    values[f"heard/{name}"] = tuple(shares)
  return reference.rows(values, sets.n)


def _nearest(x, train):
  """The row of train nearest to each of x, in chunks that fit in memory."""
  parts = np.split(x, range(CHUNK, len(x), CHUNK))
  return np.concatenate([distances.squared(part, train).argmin(1) for part in parts])


def _integers(model, spec):
  names = getattr(model, "conditions", ())
  return [name for name in names if spec.fields[name].integer]
