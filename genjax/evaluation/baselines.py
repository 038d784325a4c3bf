"""Likelihoods of the simplest models of pictures, in bits per dimension.

A network that does not reach lower values than these has learnt nothing worth a network:

    uniform        every grey level is equally likely: log2(levels) bits.
    independent    every pixel has its own distribution over the levels, counted in the training
                   split; one more example, spread evenly over all levels, is added to the counts.
    gaussian       a Gaussian with the mean and full covariance of the training split. Uniform noise
                   in [-1/2, 1/2] makes the levels continuous; the expectation of the log-density
                   over this noise is exact, and a lower bound of the log-likelihood.
"""

import math

import numpy as np

from genjax import core

# Training examples that are counted at most.
ROWS = 20_000
# How far each of them may be trusted, as in core.Likelihood.
KINDS = {"uniform": core.EXACT, "independent": core.EXACT, "gaussian": core.LOWER_BOUND}


def bits(train: np.ndarray, held: np.ndarray, levels: int) -> dict[str, np.ndarray]:
  """Computes {baseline: bits per dimension [N]} of held-out pictures.

  train, held: pictures [M, *shape] and [N, *shape], stored as grey levels 0..levels-1.
  """
  train, held = (x.reshape(len(x), -1) for x in (train[:ROWS], held))  # [M, D], [N, D]
  nats = {
    "uniform": np.full(len(held), held.shape[1] * math.log(levels)),
    "independent": independent(train, held, levels),
    "gaussian": gaussian(train, held),
  }
  return {name: value / (held.shape[1] * math.log(2)) for name, value in nats.items()}


def independent(train: np.ndarray, held: np.ndarray, levels: int) -> np.ndarray:
  """Computes the negative log-likelihood in nats [N] under independent pixels.

  train, held: grey levels [M, D] and [N, D].
  """
  total = np.zeros(len(held))
  # One pixel of all examples at a time: [M] to count, [N] to look up.
  for column, value in zip(train.T, held.T):
    counts = np.bincount(column, minlength=levels) + 1 / levels
    total -= np.log(counts[value] / counts.sum())
  return total


def gaussian(train: np.ndarray, held: np.ndarray) -> np.ndarray:
  """Computes an upper bound of the negative log-likelihood in nats [N] under a Gaussian.

  train, held: grey levels [M, D] and [N, D]; one level is the unit of length.
  """
  train = train.astype(np.float64)
  held = held.astype(np.float64)
  # The variance of uniform noise in [-1/2, 1/2], added to every pixel.
  noise = 1 / 12
  covariance = np.cov(train.T) + noise * np.eye(train.shape[1])
  root = np.linalg.cholesky(covariance)
  inverse = np.linalg.inv(root)

  # E |inverse (x + u - mean)|^2 over the noise u: the square without noise, plus a trace.
  squares = np.sum((inverse @ (held - train.mean(0)).T) ** 2, axis=0)
  squares = squares + noise * np.sum(inverse**2)
  size = train.shape[1] * math.log(2 * math.pi)
  return (squares + size) / 2 + np.sum(np.log(np.diag(root)))
