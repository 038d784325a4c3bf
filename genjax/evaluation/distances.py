"""How far apart two sets of vectors are: x [N, D] what is judged, y [M, D] the reference.

Fréchet distance (Heusel et al., 2017, https://arxiv.org/abs/1706.08500) between Gaussians fitted to
both sets,

    |mu_x - mu_y|^2 + tr(Sx) + tr(Sy) - 2 tr((Sx Sy)^(1/2)).                        (1)

Sx Sy has the eigenvalues of the symmetric Sx^(1/2) Sy Sx^(1/2), so the last trace is the sum of
their square roots, negative rounding errors clipped: real and finite even if N < D. (1) is biased
upwards as D / N: compare equal N only.

Kernel distance (KID, Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401): the squared maximum
mean discrepancy under k(a, b) = (a.b / D + 1)^3, by its unbiased estimate over all pairs,

    sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] / N(N-1) - 2 sum_ij k(x_i, y_j) / N^2.  (2)

Precision and recall (Kynkäänniemi et al., 2019, https://arxiv.org/abs/1904.06991), density and
coverage (Naeem et al., 2020, https://arxiv.org/abs/2002.09797). The ball of a point reaches to its
k-th nearest neighbour in its own set:

    precision  share of x inside any ball of y            recall    share of y inside any ball of x
    density    balls of y around a point of x, mean / k   coverage  share of y whose ball holds an x

Optimal transport between equally many points, in the units of x:

    W2^2 = min over permutations s of mean_i |x_i - y_s(i)|^2,                       (3)

and its sliced form, the root mean of W2^2 over projections on random directions.
"""

import numpy as np

BLOCK = 500  # rows of a distance matrix held at once, where only minima are kept


def root(matrix: np.ndarray) -> np.ndarray:
  """The symmetric square root of a positive semidefinite matrix [D, D]."""
  values, vectors = np.linalg.eigh(matrix)
  return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean [D] and unbiased covariance [D, D] of x [N, D]."""
  return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))


def frechet(x: np.ndarray, y: np.ndarray) -> float:
  """Equation (1), a squared distance."""
  (mean_x, cov_x), (mean_y, cov_y) = gaussian(x), gaussian(y)
  half = root(cov_x)
  cross = np.sqrt(np.linalg.eigvalsh(half @ cov_y @ half).clip(0)).sum()
  return float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross)


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """The cubic kernel of (2), [N, M]."""
  return (x @ y.T / x.shape[1] + 1) ** 3


def kid(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Equation (2) and its jackknife standard error; x and y have equally many rows."""
  n = len(x)
  within, between = kernel(x, x) + kernel(y, y), kernel(x, y)
  np.fill_diagonal(within, 0)
  rows = within.sum(1)
  value = rows.sum() / (n * (n - 1)) - 2 * between.sum() / n**2
  left = between.sum() - between.sum(0) - between.sum(1) + between.diagonal()
  without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2)) - 2 * left / (n - 1) ** 2
  return float(value), float(np.sqrt((n - 1) * without.var()))


def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Squared Euclidean distances [N, M]."""
  return ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T).clip(0)


def prdc(x: np.ndarray, y: np.ndarray, k: int = 5) -> dict[str, float]:
  """Precision, recall, density and coverage of x against the reference y."""
  across = squared(x, y)
  ball_x = np.partition(squared(x, x), k, axis=1)[:, k]  # column 0 is the point itself
  ball_y = np.partition(squared(y, y), k, axis=1)[:, k]
  inside = across < ball_y
  return {
    "precision": float(inside.any(1).mean()),
    "recall": float((across < ball_x[:, None]).any(0).mean()),
    "density": float(inside.sum(1).mean() / k),
    "coverage": float((across.min(0) < ball_y).mean()),
  }


def nearest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Euclidean distance [N] of each x to the nearest y."""
  blocks = [squared(x[i : i + BLOCK], y).min(1) for i in range(0, len(x), BLOCK)]
  return np.sqrt(np.concatenate(blocks))


def divergence(p: np.ndarray, q: np.ndarray) -> float:
  """KL(p || q) in nats of counts or probabilities [K]; infinite where p has what q lacks."""
  p, q = p / p.sum(), q / q.sum()
  with np.errstate(divide="ignore"):
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
  """Exact W2 of (3), NaN for points that are not finite.

  x and y have equally many rows; the time grows as their cube.
  """
  from scipy import optimize

  cost = squared(x, y)
  if not np.isfinite(cost).all():
    return float("nan")
  return float(np.sqrt(cost[optimize.linear_sum_assignment(cost)].mean()))


def sliced(x: np.ndarray, y: np.ndarray, directions: int = 256, seed: int = 0) -> float:
  """Sliced W2; x and y have equally many rows."""
  axes = np.random.default_rng(seed).standard_normal((x.shape[1], directions))
  axes /= np.linalg.norm(axes, axis=0)
  return float(np.sqrt(((np.sort(x @ axes, 0) - np.sort(y @ axes, 0)) ** 2).mean()))
