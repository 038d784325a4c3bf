"""What can be read off a representation: classifiers of it, and rankings by it.

probe       softmax regression of codes, by L-BFGS with an L2 penalty (Alain & Bengio 2016,
            arXiv:1610.01644)
auroc       probability that a strange example has a higher score than a usual one
precision   share of the k nearest neighbours that have the query's label
psnr        10 log10(range^2 / mean square error), decibels, of each picture
"""

import numpy as np


def probe(code: np.ndarray, label: np.ndarray, penalty: float = 1.0):
  """A fitted scikit-learn pipeline: standardized codes [N, D], then softmax regression."""
  from sklearn import linear_model, pipeline, preprocessing

  regression = linear_model.LogisticRegression(C=1 / penalty, max_iter=2000)
  return pipeline.make_pipeline(preprocessing.StandardScaler(), regression).fit(code, label)


def auroc(score: np.ndarray, strange: np.ndarray) -> float:
  """Of scores [N] against which of them are strange, bool [N]; ties count half."""
  from sklearn import metrics

  return float(metrics.roc_auc_score(strange, score))


def precision(distance: np.ndarray, same: np.ndarray, k: int) -> float:
  """Of distances [queries, N] and whether labels agree; of a tie, those that come first."""
  nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
  return float(np.take_along_axis(same, nearest, axis=1).mean())


def hamming(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """How many bits differ: [N, D], [M, D] of 0 and 1 -> [N, M]."""
  a, b = a.astype(np.float32), b.astype(np.float32)
  return a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.T


def psnr(clean: np.ndarray, other: np.ndarray, width: float = 1.0) -> np.ndarray:
  """[N, *event] twice -> decibels [N]; width: of the range of values."""
  error = ((clean - other) ** 2).reshape(len(clean), -1).mean(1)
  return 10 * np.log10(width**2 / np.maximum(error, 1e-12))
