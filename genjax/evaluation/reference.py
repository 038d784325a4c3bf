"""The examples that samples are compared with, and the form in which a metric reports a value.

Samples are compared with equally many held-out examples, those of run.split. A metric reports

    NAME          the value of the samples
    NAME/real     the value of as many training examples in the place of the samples, which is that
                  of a perfect model, and also that of a model which merely copies; some metrics use
                  held-out examples instead, as their docstrings say
    NAME/n        the number of samples; estimates from few samples are biased, so only values with
                  equal n may be compared
    NAME/se       the standard error, where it is known; NAME/real/se is that of NAME/real
"""

from typing import Any, NamedTuple

import numpy as np

from genjax import core
from genjax.data.sources import base as sources

Metrics = dict[str, float]
# Fewer samples have too few neighbours, and no covariance to speak of.
FEWEST = 8


class Sets(NamedTuple):
  """Three sets of n examples each, as they are stored.

  samples: what the model made, with the conditions that it was told.
  train: training examples.
  held: held-out examples, of run.split.
  n: number of examples in each.
  """

  samples: sources.Split
  train: sources.Split
  held: sources.Split
  n: int


def sets(run: Any) -> Sets:
  """Returns run.num examples of each kind, or as many as the smallest split holds.

  Raises core.UserError if these are fewer than FEWEST.
  """
  train = run.data.splits["train"]
  held = run.data.splits[run.split]
  n = min(run.num, len(train["x"]), len(held["x"]))
  if n < FEWEST:
    raise core.UserError(f"metrics of samples need at least {FEWEST} of them, not {n}")
  return Sets(run.samples(n), some(train, n), some(held, n), n)


def some(split: sources.Split, n: int) -> sources.Split:
  """Returns n random rows of a split, the same ones at every call; all rows if there are fewer.

  Columns of another length than "x", which are not paired with it, are left out.
  """
  size = len(split["x"])
  # Stored examples may be sorted, by class for instance, so the first n would be no fair sample.
  rows = np.random.default_rng(0).permutation(size)[:n]
  return {name: column[rows] for name, column in split.items() if len(column) == size}


def rows(values: dict[str, tuple[float, float]], n: int) -> Metrics:
  """Flattens {NAME: (value, value of real data)} to the metrics NAME, NAME/real and NAME/n."""
  metrics = {}
  for name, (value, real) in values.items():
    metrics |= {name: float(value), f"{name}/real": float(real), f"{name}/n": n}
  return metrics
