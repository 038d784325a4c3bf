"""Metrics of points in the plane, in the units of the data.

modes    For mixtures of separate Gaussians (PacGAN, Lin et al., 2018,
         https://arxiv.org/abs/1712.04086). A sample is good if it lies within three standard
         deviations of the nearest mode, and a mode is covered if it has a good sample. The
         divergence is KL(modes of the good samples || modes of the data). The modes and their
         common standard deviation are computed from the labelled training points.
w2       Exact Wasserstein-2 distance, and sliced Wasserstein-2 distance, to as many held-out
         points.
"""

from typing import Any

import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.evaluation import distances, reference

# The data sets that are mixtures of separate Gaussians.
MIXTURES = ("8gaussians", "ring8", "grid25")
# Points of an exact transport at most, which takes about two seconds.
LIMIT = 2_000


def check_modes(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless the data have modes to count."""
  if data.name not in MIXTURES:
    raise core.unknown("data for metric 'modes'", data.name, MIXTURES)


def check_w2(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless the data are points."""
  if data.spec.kind != "points":
    raise core.UserError(
      f"metric 'w2' measures points, not {data.spec.kind}; for pictures use fd or kid"
    )


def modes(run: Any) -> reference.Metrics:
  """Computes modes/covered (a number), modes/good (a share) and modes/divergence (nats).

  There is no divergence if no sample is good. The "/real" values are those of held-out points.
  """
  check_modes(run.model, run.data)
  train = run.data.splits["train"]
  centers, std = mixture(train["x"][:], train["label"][:])
  weights = np.bincount(train["label"][:])

  sets = reference.sets(run)
  value, real = (quality(s["x"], centers, std, weights) for s in (sets.samples, sets.held))
  return reference.rows({f"modes/{k}": (value[k], real[k]) for k in value}, sets.n)


def mixture(x: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, float]:
  """Returns the means [K, D] of K components and their common standard deviation.

  x: points [N, D].
  label: the component of each point, 0..K-1, [N].
  """
  centers = np.stack([x[label == k].mean(0) for k in range(label.max() + 1)])
  return centers, float((x - centers[label]).std())


def quality(x: np.ndarray, centers: np.ndarray, std: float, weights: np.ndarray) -> dict:
  """Computes "covered", "good" and, if any point is good, "divergence" of points x [N, D].

  centers: the modes [K, D].
  std: the standard deviation of each mode.
  weights: how often each mode occurs in the data, [K].
  """
  d = distances.squared(x.astype(np.float64), centers)  # [N, K]
  good = d.min(1) < (3 * std) ** 2
  counts = np.bincount(d.argmin(1)[good], minlength=len(centers))
  values = {"covered": (counts > 0).sum(), "good": good.mean()}
  if good.any():
    values["divergence"] = distances.divergence(counts, weights)
  return values


def w2(run: Any) -> reference.Metrics:
  """Computes w2/exact, of at most LIMIT points, and w2/sliced."""
  check_w2(run.model, run.data)
  sets = reference.sets(run)
  x, train, held = (np.float64(s["x"]) for s in (sets.samples, sets.train, sets.held))

  n = min(sets.n, LIMIT)
  exact = [distances.wasserstein(a[:n], held[:n]) for a in (x, train)]
  sliced = [distances.sliced(a, held) for a in (x, train)]
  return reference.rows({"w2/exact": exact}, n) | reference.rows({"w2/sliced": sliced}, sets.n)
