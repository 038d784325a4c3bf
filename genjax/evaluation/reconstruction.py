"""How well a model gives back held-out examples that it has not seen.

mse         mean square error of a dimension, for data in a range as a share of it (pixels in
            [0, 1]); "/pca" is that of as many principal components of the training split as the
            code has entries, the best of all linear codes on those, and "/mean" that of always
            the mean training example
code/...    of discrete codes, over all examples: the "perplexity" of the first of each place
            (as many as are in even use), and the share of codes that are "used" at all; of
            codes from several books those of each book, "code/NAME/...";
            of others how many entries are "active", their variance above 0.01 (Burda et al.
            2016, arXiv:1509.00519, section 5.3)
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.data.sources import base as sources
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
    again = run.model.reconstruct(params, buffers, x, core.given(run.model, batch))
    return jnp.mean(((again - x) / width).reshape(len(x), -1) ** 2, axis=1)

  mse, se = likelihoods.estimate(likelihoods.over(run, error, held, run.key("mse"))[None])

  @jax.jit
  def encode(params, buffers, batch, key):
    return run.model.encode(params, buffers, batch["x"], core.given(run.model, batch))

  code = likelihoods.over(run, encode, held, run.key("mse"))
  metrics = {"mse": mse, "mse/se": se, "mse/n": n}
  if run.model.codes:
    return metrics | discrete(code, run.model.codes)
  train = run.batch("train", min(FITTED, len(run.data.splits["train"]["x"])))["x"]
  flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1) / width
  active = float(np.sum(np.var(code.reshape(n, -1), axis=0) > 0.01))
  return metrics | {
    "code/active": active,
    **linear(flat(train), flat(held["x"]), int(np.prod(code.shape[1:]))),
  }


def discrete(code: np.ndarray, fields: Mapping[str, core.Field]) -> reference.Metrics:
  """Of codes [N, ..., depth] of integers, which the model describes.

  fields: of several books, whose entries stand one after the other in codes [N, L], or of the one
  book that all have.
  """
  parts = {"code": code[..., 0]}
  if len(fields) > 1:
    ends = np.cumsum([field.shape[0] for field in fields.values()])[:-1]
    parts = {f"code/{name}": part for name, part in zip(fields, np.split(code, ends, axis=1))}
  metrics = {}
  for (name, part), field in zip(parts.items(), fields.values()):
    share = np.bincount(part.astype(int).ravel(), minlength=field.levels) / part.size
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-300)))
    metrics[f"{name}/perplexity"] = float(np.exp(entropy))
    metrics[f"{name}/used"] = float(np.mean(share > 0))
  return metrics


def linear(train: np.ndarray, held: np.ndarray, size: int) -> reference.Metrics:
  """The references on held-out [N, D], for a code of `size` entries."""
  from sklearn import decomposition

  mean = {"mse/mean": float(np.mean((train.mean(0) - held) ** 2))}
  if size >= held.shape[1]:
    return mean  # a linear code as large as the data is a copy of them
  pca = decomposition.PCA(min(size, len(train)), svd_solver="auto", random_state=0).fit(train)
  again = pca.inverse_transform(pca.transform(held))
  return {"mse/pca": float(np.mean((again - held) ** 2)), **mean}


def check(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the model has codes."""
  if not hasattr(model, "encode") or not hasattr(model, "reconstruct"):
    raise core.UserError("metric 'reconstruction': this model does not encode and reconstruct")
