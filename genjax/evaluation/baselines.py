"""What the simplest models say of held-out pictures, in bits per dimension.

A model that does not know more than these has learnt nothing worth a network:

    uniform        every level alike: log2(levels)
    independent    each pixel has a distribution over the levels of its own, counted in the training
                   split, one more example of all levels alike added
    gaussian       mean and full covariance of the training split with uniform noise on the levels,
                   whose expectation is exact: a lower bound of the likelihood
"""

import math

import numpy as np

from genjax import core

ROWS = 20_000  # training examples that are counted
KINDS = {"uniform": core.EXACT, "independent": core.EXACT, "gaussian": core.LOWER_BOUND}


def bits(train: np.ndarray, held: np.ndarray, levels: int) -> dict[str, np.ndarray]:
  """{baseline: [N] bits per dimension} of pictures [N, ...] stored as levels 0, 1, ..."""
  train, held = (x.reshape(len(x), -1) for x in (train[:ROWS], held))
  nats = {
    "uniform": np.full(len(held), held.shape[1] * math.log(levels)),
    "independent": independent(train, held, levels),
    "gaussian": gaussian(train, held),
  }
  return {name: value / (held.shape[1] * math.log(2)) for name, value in nats.items()}


def independent(train: np.ndarray, held: np.ndarray, levels: int) -> np.ndarray:
  """Nats [N] of [N, D]."""
  total = np.zeros(len(held))
  for column, value in zip(train.T, held.T):
    counts = np.bincount(column, minlength=levels) + 1 / levels
    total -= np.log(counts[value] / counts.sum())
  return total


def gaussian(train: np.ndarray, held: np.ndarray) -> np.ndarray:
  """Nats [N] of [N, D], in units of a level: noise in [-1/2, 1/2] adds 1/12 to each variance."""
  train, held = train.astype(np.float64), held.astype(np.float64)
  noise = 1 / 12
  covariance = np.cov(train.T) + noise * np.eye(train.shape[1])
  root = np.linalg.cholesky(covariance)
  inverse = np.linalg.inv(root)
  squares = np.sum((inverse @ (held - train.mean(0)).T) ** 2, axis=0) + noise * np.sum(inverse**2)
  size = train.shape[1] * math.log(2 * math.pi)
  return (squares + size) / 2 + np.sum(np.log(np.diag(root)))
