"""How well a model reconstructs held-out examples, and how it uses its code.

mse          mean square error per dimension. For data in a range, errors are taken as a share of
             the range (pixels in [0, 1]).
mse/pca      that of as many principal components of the training split as the code has entries:
             the best linear code for the training examples it is fitted to.
mse/mean     that of the mean training example.

Of a discrete code:

code/perplexity    exp of the entropy of the codes over all examples and places, which is the number
                   of codes that would be in use if they were equally frequent. Of several codes at
                   one place, the first is counted.
code/used          share of the codes that occur at all.
code/NAME/...      the same for each book, if there are several.

Of a code of real numbers:

code/active        number of entries whose variance over the examples is above 0.01 (Burda et al.,
                   2016, https://arxiv.org/abs/1509.00519, section 5.3).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.evaluation import likelihoods, reference

# Training examples, at most, that the linear codes are fitted to.
FITTED = 20_000


def reconstruction(run: Any) -> reference.Metrics:
  """Computes the metrics of the first run.num examples of run.split, or of all if there are fewer.

  run.model must have `encode`, `reconstruct` and `codes`.
  """
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  held = run.batch(run.split, n)
  width = run.spec.range[1] - run.spec.range[0] if run.spec.range else 1.0

  @jax.jit
  def error(params, buffers, batch, key):
    x = batch["x"]
    again = run.model.reconstruct(params, buffers, x, core.given(run.model, batch))
    return jnp.mean(((again - x) / width).reshape(len(x), -1) ** 2, axis=1)

  errors = likelihoods.over(run, error, held, run.key("mse"))  # [N]
  mse, se = likelihoods.estimate(errors[None])

  @jax.jit
  def encode(params, buffers, batch, key):
    return run.model.encode(params, buffers, batch["x"], core.given(run.model, batch))

  code = likelihoods.over(run, encode, held, run.key("mse"))
  metrics = {"mse": mse, "mse/se": se, "mse/n": n}
  if run.model.codes:
    return metrics | discrete(code, run.model.codes)

  # A code of real numbers, which linear codes of the same size compare with.
  train = run.batch("train", min(FITTED, len(run.data.splits["train"]["x"])))["x"]
  flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1) / width
  active = float(np.sum(np.var(code.reshape(n, -1), axis=0) > 0.01))
  return metrics | {
    "code/active": active,
    **linear(flat(train), flat(held["x"]), int(np.prod(code.shape[1:]))),
  }


def discrete(code: np.ndarray, fields: Mapping[str, core.Field]) -> reference.Metrics:
  """Computes the perplexity and the share of used codes for each book.

  code: integers. With one book, [N, ..., depth], of which the first along the last axis is counted;
    with several books, [N, L], the codes of one book after those of the other.
  fields: {name of a book: its Field}, whose `levels` is the number of codes; with several books,
    its `shape` says how many entries of L are its own.
  """
  parts = {"code": code[..., 0]}
  if len(fields) > 1:
    ends = np.cumsum([field.shape[0] for field in fields.values()])[:-1]
    parts = {f"code/{name}": part for name, part in zip(fields, np.split(code, ends, axis=1))}

  metrics = {}
  for (name, part), field in zip(parts.items(), fields.values()):
    share = np.bincount(part.astype(int).ravel(), minlength=field.levels) / part.size
    # A code that does not occur adds 0 log(tiny) = 0.
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-300)))
    metrics[f"{name}/perplexity"] = float(np.exp(entropy))
    metrics[f"{name}/used"] = float(np.mean(share > 0))
  return metrics


def linear(train: np.ndarray, held: np.ndarray, size: int) -> reference.Metrics:
  """Computes mse/pca and mse/mean on held-out examples.

  train, held: [M, D] and [N, D].
  size: number of entries of the code. There is no mse/pca if this is D or more.
  """
  from sklearn import decomposition

  mean = {"mse/mean": float(np.mean((train.mean(0) - held) ** 2))}
  if size >= held.shape[1]:
    # A linear code as large as the data copies them.
    return mean

  components = min(size, len(train))
  pca = decomposition.PCA(components, svd_solver="auto", random_state=0).fit(train)
  again = pca.inverse_transform(pca.transform(held))
  return {"mse/pca": float(np.mean((again - held) ** 2)), **mean}


def check(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless the model encodes and reconstructs."""
  if not hasattr(model, "encode") or not hasattr(model, "reconstruct"):
    raise core.UserError("metric 'reconstruction': this model does not encode and reconstruct")
