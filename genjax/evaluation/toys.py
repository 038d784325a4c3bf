"""Metrics of points, in the units of the data.

modes    Of a mixture of separate Gaussians (PacGAN, Lin et al., 2018,
         https://arxiv.org/abs/1712.04086): a sample is of high quality within three standard
         deviations of the nearest mode, and a mode is covered if it has such a sample. The
         divergence is KL(modes of the good samples || modes of the data). Modes and their common
         standard deviation are those of the labelled training points.
w2       Exact Wasserstein-2 distance, and its sliced form, to as many held-out points.
"""

from typing import Any

import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.evaluation import distances, reference

MIXTURES = ("8gaussians", "ring8", "grid25")
LIMIT = 2_000  # points of an exact transport: about two seconds


def check_modes(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the data have modes to count."""
  if data.name not in MIXTURES:
    raise core.unknown("data for metric 'modes'", data.name, MIXTURES)


def check_w2(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the data are points."""
  if data.spec.kind != "points":
    raise core.UserError(f"metric 'w2' measures points, not {data.spec.kind}; expected fd or kid")


def modes(run: Any) -> reference.Metrics:
  """modes/covered (a number), modes/good (a share), modes/divergence (nats, if any is good)."""
  check_modes(run.model, run.data)
  train = run.data.splits["train"]
  centers, std = mixture(train["x"][:], train["label"][:])
  weights = np.bincount(train["label"][:])
  sets = reference.sets(run)
  value, real = (quality(s["x"], centers, std, weights) for s in (sets.samples, sets.held))
  return reference.rows({f"modes/{k}": (value[k], real[k]) for k in value}, sets.n)


def mixture(x: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, float]:
  """Means [K, D] of the components of points x [N, D] and their common standard deviation."""
  centers = np.stack([x[label == k].mean(0) for k in range(label.max() + 1)])
  return centers, float((x - centers[label]).std())


def quality(x: np.ndarray, centers: np.ndarray, std: float, weights: np.ndarray) -> dict:
  """What `modes` reports of points [N, D]; there is no divergence without a good point."""
  d = distances.squared(x.astype(np.float64), centers)
  good = d.min(1) < (3 * std) ** 2
  counts = np.bincount(d.argmin(1)[good], minlength=len(centers))
  values = {"covered": (counts > 0).sum(), "good": good.mean()}
  if good.any():
    values["divergence"] = distances.divergence(counts, weights)
  return values


def w2(run: Any) -> reference.Metrics:
  """w2/exact (of at most 2,000 points) and w2/sliced."""
  check_w2(run.model, run.data)
  sets = reference.sets(run)
  x, train, held = (np.float64(s["x"]) for s in (sets.samples, sets.train, sets.held))
  n = min(sets.n, LIMIT)
  exact = [distances.wasserstein(a[:n], held[:n]) for a in (x, train)]
  sliced = [distances.sliced(a, held) for a in (x, train)]
  return reference.rows({"w2/exact": exact}, n) | reference.rows({"w2/sliced": sliced}, sets.n)
