"""What can be read off a representation: classifiers on top of it, and rankings by it.

probe       softmax regression from the codes to the labels, fitted by L-BFGS with an L2 penalty
            (Alain & Bengio, 2016, https://arxiv.org/abs/1610.01644)
auroc       probability that a strange example has a higher score than a usual one
precision   share of the k nearest neighbours that have the label of the query
psnr        10 log10(range^2 / mean square error) of each picture, in decibels
"""

from typing import Any

import numpy as np


def probe(code: np.ndarray, label: np.ndarray, penalty: float = 1.0) -> Any:
  """Fits a softmax regression on standardized codes; returns a scikit-learn pipeline.

  code: [N, D].
  label: integers [N].
  penalty: weight of the L2 penalty.
  """
  from sklearn import linear_model, pipeline, preprocessing

  regression = linear_model.LogisticRegression(C=1 / penalty, max_iter=2000)
  return pipeline.make_pipeline(preprocessing.StandardScaler(), regression).fit(code, label)


def auroc(score: np.ndarray, strange: np.ndarray) -> float:
  """Computes the area under the ROC curve of scores [N]; ties count half.

  strange: which examples are strange, bool [N].
  """
  from sklearn import metrics

  return float(metrics.roc_auc_score(strange, score))


def precision(distance: np.ndarray, same: np.ndarray, k: int) -> float:
  """Computes the share of the k nearest neighbours that have the label of the query.

  Among equal distances the first columns count as nearer.

  distance: [queries, N].
  same: whether the labels agree, bool [queries, N].
  """
  nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
  return float(np.take_along_axis(same, nearest, axis=1).mean())


def hamming(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns how many bits differ between the rows of a [N, D] and b [M, D], [N, M].

  a, b: arrays of 0 and 1.
  """
  a = a.astype(np.float32)
  b = b.astype(np.float32)
  # Bits in a, plus bits in b, less twice those in both.
  return a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.T


def psnr(clean: np.ndarray, other: np.ndarray, width: float = 1.0) -> np.ndarray:
  """Computes the peak signal-to-noise ratio of each picture in decibels, [N].

  clean, other: [N, *event].
  width: of the range of their values.
  """
  error = ((clean - other) ** 2).reshape(len(clean), -1).mean(1)
  # Equal pictures have a large number, not infinity.
  return 10 * np.log10(width**2 / np.maximum(error, 1e-12))
