"""What samples are compared with, and how a metric reports it.

Samples are compared with equally many held-out examples, of run.split. Beside each value stands
what as many training examples score in the place of the samples ("/real"): the value of a perfect
model, and of one that merely copies. Estimates from few samples are biased, so values are
comparable at equal number ("/n") only. Standard errors stand in "/se" and "/real/se" where
they are known.
"""

from typing import Any, NamedTuple

import numpy as np

from genjax import core
from genjax.data.sources import base as sources

Metrics = dict[str, float]
FEWEST = 8


class Sets(NamedTuple):
  """Three splits of n examples each, as stored; `held` are those of run.split."""

  samples: sources.Split
  train: sources.Split
  held: sources.Split
  n: int


def sets(run: Any) -> Sets:
  """run.num examples of each kind, or as many as the smallest split holds.

  Raises core.UserError if these are too few for neighbours and covariances to exist.
  """
  train, held = run.data.splits["train"], run.data.splits[run.split]
  n = min(run.num, len(train["x"]), len(held["x"]))
  if n < FEWEST:
    raise core.UserError(f"metrics of {n} samples; expected at least {FEWEST}")
  return Sets(run.samples(n), some(train, n), some(held, n), n)


def some(split: sources.Split, n: int) -> sources.Split:
  """n rows of a split (all if it has fewer), the same ones at every call; no unpaired fields."""
  size = len(split["x"])
  rows = np.random.default_rng(0).permutation(size)[:n]
  return {name: column[rows] for name, column in split.items() if len(column) == size}


def rows(values: dict[str, tuple[float, float]], n: int) -> Metrics:
  """name -> (value, reference) as flat metrics: NAME, NAME/real and NAME/n."""
  metrics = {}
  for name, (value, real) in values.items():
    metrics |= {name: float(value), f"{name}/real": float(real), f"{name}/n": n}
  return metrics
