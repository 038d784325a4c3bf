"""How well a model gives back held-out examples that it has not seen.

mse         mean square error of a dimension, for data in a range as a share of it (pixels in
            [0, 1]); "/pca" is that of as many principal components of the training split as the
            code has entries, the best of all linear codes on those, and "/mean" that of always
            the mean training example
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.data import sources
from genjax.evaluation import likelihoods, reference

FITTED = 20_000  # training examples that the linear codes are fitted to


def reconstruction(run: Any) -> reference.Metrics:
  """Of up to run.num examples of run.split."""
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  held = run.batch(run.split, n)
  width = run.spec.range[1] - run.spec.range[0] if run.spec.range else 1.0

  @jax.jit
  def error(params, buffers, batch, key):
    x = batch["x"]
    again = run.model.reconstruct(params, buffers, x)
    return jnp.mean(((again - x) / width).reshape(len(x), -1) ** 2, axis=1)

  mse, se = likelihoods.estimate(likelihoods.over(run, error, held, run.key("mse"))[None])
  code = jax.eval_shape(run.model.encode, run.params, run.buffers, held["x"][:1])
  train = run.batch("train", min(FITTED, len(run.data.splits["train"]["x"])))["x"]
  flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1) / width
  return {
    "mse": mse,
    "mse/se": se,
    "mse/n": n,
    **linear(flat(train), flat(held["x"]), int(np.prod(code.shape[1:]))),
  }


def linear(train: np.ndarray, held: np.ndarray, size: int) -> reference.Metrics:
  """The references on held-out [N, D], for a code of `size` entries."""
  from sklearn import decomposition

  size = min(size, *train.shape)
  pca = decomposition.PCA(size, svd_solver="auto", random_state=0).fit(train)
  again = pca.inverse_transform(pca.transform(held))
  return {
    "mse/pca": float(np.mean((again - held) ** 2)),
    "mse/mean": float(np.mean((train.mean(0) - held) ** 2)),
  }


def check(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the model has codes."""
  if not hasattr(model, "encode") or not hasattr(model, "reconstruct"):
    raise core.UserError("metric 'reconstruction': this model does not encode and reconstruct")
