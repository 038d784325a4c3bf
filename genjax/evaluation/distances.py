"""Distances between two sets of vectors: x [N, D] is judged, y [M, D] is the reference.

Fréchet distance (Heusel et al., 2017, https://arxiv.org/abs/1706.08500) between Gaussians fitted to
both sets,

    |mu_x - mu_y|^2 + tr(Sx) + tr(Sy) - 2 tr((Sx Sy)^(1/2)).                        (1)

Sx Sy has the eigenvalues of the symmetric matrix Sx^(1/2) Sy Sx^(1/2), so the last trace is the sum
of their square roots. Negative rounding errors are clipped, which keeps it real and finite even if
N < D. Estimates of (1) are biased upwards by a term of order D / N: compare only values with equal
N.

Kernel distance (KID, Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401): the squared maximum
mean discrepancy under the kernel k(a, b) = (a.b / D + 1)^3, estimated without bias for N = M by

    sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] / N(N-1) - 2 sum_ij k(x_i, y_j) / N^2.  (2)

Precision and recall (Kynkäänniemi et al., 2019, https://arxiv.org/abs/1904.06991), density and
coverage (Naeem et al., 2020, https://arxiv.org/abs/2002.09797). Each point has a ball that reaches
to its k-th nearest neighbour in its own set:

    precision   share of the x that lie in the ball of some y
    recall      share of the y that lie in the ball of some x
    density     number of balls of y that an x lies in, mean over x, divided by k
    coverage    share of the y whose ball holds some x

Optimal transport between equally many points, in the units of x:

    W2^2 = min over permutations s of mean_i |x_i - y_s(i)|^2,                       (3)

and the sliced distance: the root of the mean of W2^2 over projections on random directions.
"""

import numpy as np

# Rows of a distance matrix that are held in memory at once, where only their minima are kept.
BLOCK = 500


def root(matrix: np.ndarray) -> np.ndarray:
  """Returns the symmetric square root of a positive semidefinite matrix [D, D]."""
  values, vectors = np.linalg.eigh(matrix)
  return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean [D] and the unbiased covariance [D, D] of x [N, D]."""
  return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))


def frechet(x: np.ndarray, y: np.ndarray) -> float:
  """Computes the Fréchet distance (1), which is a squared distance."""
  mean_x, cov_x = gaussian(x)
  mean_y, cov_y = gaussian(y)

  half = root(cov_x)
  cross = np.sqrt(np.linalg.eigvalsh(half @ cov_y @ half).clip(0)).sum()
  return float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross)


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the cubic kernel of (2) between all pairs, [N, M]."""
  return (x @ y.T / x.shape[1] + 1) ** 3


def kid(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Computes the kernel distance (2) and its jackknife standard error.

  x, y: [N, D] each, with equally many rows.
  """
  n = len(x)
  within = kernel(x, x) + kernel(y, y)  # [N, N]
  between = kernel(x, y)
  np.fill_diagonal(within, 0)
  rows = within.sum(1)
  value = rows.sum() / (n * (n - 1)) - 2 * between.sum() / n**2

  # The jackknife: (2) again without x_i and y_i, for every i at once. Row and column i drop out of
  # both sums, and entry (i, i) of `between` must not be subtracted twice.
  left = between.sum() - between.sum(0) - between.sum(1) + between.diagonal()
  without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2)) - 2 * left / (n - 1) ** 2
  return float(value), float(np.sqrt((n - 1) * without.var()))


def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the squared Euclidean distances between all pairs, [N, M]."""
  # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, which may round below 0.
  return ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T).clip(0)


def prdc(x: np.ndarray, y: np.ndarray, k: int = 5) -> dict[str, float]:
  """Computes precision, recall, density and coverage of x against the reference y.

  k: which nearest neighbour the ball of a point reaches to.
  """
  across = squared(x, y)  # [N, M]
  # Squared radii. Position 0 of a sorted row is the point itself, so position k is neighbour k.
  ball_x = np.partition(squared(x, x), k, axis=1)[:, k]
  ball_y = np.partition(squared(y, y), k, axis=1)[:, k]
  inside = across < ball_y
  return {
    "precision": float(inside.any(1).mean()),
    "recall": float((across < ball_x[:, None]).any(0).mean()),
    "density": float(inside.sum(1).mean() / k),
    "coverage": float((across.min(0) < ball_y).mean()),
  }


def nearest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the Euclidean distance [N] of each x to the nearest y."""
  blocks = [squared(x[i : i + BLOCK], y).min(1) for i in range(0, len(x), BLOCK)]
  return np.sqrt(np.concatenate(blocks))


def divergence(p: np.ndarray, q: np.ndarray) -> float:
  """Computes KL(p || q) in nats; infinite if q is 0 where p is not.

  p, q: counts or probabilities [K], normalized here.
  """
  p = p / p.sum()
  q = q / q.sum()
  with np.errstate(divide="ignore"):
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
  """Computes the exact W2 of (3); NaN if any point is not finite.

  The time grows as the cube of the number of points.

  x, y: [N, D] each, with equally many rows.
  """
  from scipy import optimize

  cost = squared(x, y)
  if not np.isfinite(cost).all():
    return float("nan")
  best = optimize.linear_sum_assignment(cost)
  return float(np.sqrt(cost[best].mean()))


def sliced(x: np.ndarray, y: np.ndarray, directions: int = 256, seed: int = 0) -> float:
  """Computes the sliced W2 distance.

  x, y: [N, D] each, with equally many rows.
  directions: number of random directions.
  """
  axes = np.random.default_rng(seed).standard_normal((x.shape[1], directions))
  axes /= np.linalg.norm(axes, axis=0)
  # On a line, the best permutation pairs the points in their order.
  gap = np.sort(x @ axes, 0) - np.sort(y @ axes, 0)  # [N, directions]
  return float(np.sqrt((gap**2).mean()))
