"""Negative log-likelihoods of held-out examples, in nats per example.

Every likelihood that a model offers is one metric. Its name says what it may be compared with:

    nats/NAME/KIND/MEASURE    such as nats/elbo/lower-bound/8-bit = -(mean ELBO); lower is better
    bits/NAME/KIND/MEASURE    bits per dimension, nats / (D ln 2), where x is discrete
    regret/NAME/KIND/MEASURE  nats above the entropy of the data, where this entropy is known;
                              nats/NAME/KIND/MEASURE/real is then the entropy
    part/NAME/PART            nats of each part, where a likelihood is a sum of parts
    bits/BASELINE/...         for pictures: the simplest models, see `baselines`

NAME   is the model's name for the likelihood.
KIND   says how log p is known, see `core.Likelihood`: "lower-bound" means that log p is at least
       the negative of the number given, so the true nats are at most that number.
MEASURE is that of x: a probability of "binary", "17-level" or "8-bit" values, or a "continuous"
       density.

A likelihood that is not exact is computed with several random keys. With N examples and K keys, the
standard error is

    se^2 = Var_examples[mean over keys] / N + Var_keys[mean over examples] / K.                  (1)

The second term sees noise that the examples of one key share, such as that of an estimated
normalizer.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.evaluation import baselines, reference

# Keys for every likelihood that is not exact.
KEYS = 3
# Examples in one call: a fixed number, so that one compiled program serves any number of examples.
CHUNK = 100


def check(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless the model has a likelihood."""
  if not getattr(model, "likelihoods", None):
    raise core.UserError("metric 'likelihood': this model has none; use metrics of its samples")


def likelihood(run: Any) -> reference.Metrics:
  """Computes all likelihoods of run.model, and the baselines for pictures.

  Examples are the first run.num of run.split, or all of them if there are fewer. Raises
  core.UserError if the model has no likelihood.
  """
  check(run.model, run.data)
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  batch = run.batch(run.split, n)

  metrics = {}
  for name, (kind, log_prob, parts, free) in run.model.likelihoods.items():
    share = 1.0 if free is None else float(np.mean(free(batch)))
    keys = jax.random.split(run.key(f"likelihood/{name}"), 1 if kind == core.EXACT else KEYS)

    # A likelihood without parts is a sum of one part without a name.
    program = jax.jit(parts or (lambda *args, f=log_prob: {"": f(*args)}))
    terms = [over(run, program, batch, key) for key in keys]
    nats = {part: -np.stack([term[part] for term in terms]) for part in terms[0]}  # [keys, N] each

    where = f"{name}/{kind.replace(' ', '-')}/{measure(run.spec)}"
    normalized = kind not in (core.PSEUDO, core.UNNORMALIZED)
    value, se = estimate(sum(nats.values()))
    metrics |= rows(where, value, se, n, run, share if normalized else 0)
    metrics |= {f"part/{name}/{part}": estimate(nats[part])[0] for part in nats if part}
  return metrics | floors(run, n)


def floors(run: Any, n: int) -> reference.Metrics:
  """Computes the baselines on the first n pictures of run.split; {} for other data."""
  if not run.spec.levels or run.spec.kind != "image":
    return {}

  train = run.data.splits["train"]["x"]
  held = run.data.splits[run.split]["x"][:n]
  metrics = {}
  for name, values in baselines.bits(train, held, run.spec.levels).items():
    kind = baselines.KINDS[name].replace(" ", "-")
    where = f"bits/{name}/{kind}/{measure(run.spec)}"
    value, se = estimate(values[None])  # one key
    metrics |= {where: value, f"{where}/se": se, f"{where}/n": n}
  return metrics


def over(run: Any, program: Any, batch: dict[str, Any], key: jax.Array) -> Any:
  """Applies a program to all N examples of a batch, chunk by chunk, and joins what it returns.

  program: (params, buffers, chunk, key) -> a pytree of arrays [CHUNK, ...]; each chunk has a key of
    its own.

  Returns the same pytree with float64 arrays [N, ...].
  """
  n = len(batch["x"])
  values = []
  for i, start in enumerate(range(0, n, CHUNK)):
    # The last chunk is filled up with the last example, and cut again below.
    rows = np.minimum(np.arange(start, start + CHUNK), n - 1)
    chunk = jax.tree.map(lambda column, rows=rows: jnp.asarray(column[rows]), batch)
    values.append(program(run.params, run.buffers, chunk, jax.random.fold_in(key, i)))
    run.progress(min(start + CHUNK, n), n, "examples")
  join = lambda *parts: np.concatenate(parts)[:n].astype(np.float64)
  return jax.tree.map(join, *values)


def estimate(nats: np.ndarray) -> tuple[float, float]:
  """Returns the mean and the standard error (1) of values [K, N] for K keys and N examples.

  With a single key the second term of (1) is left out; with a single example the error is NaN.
  """
  keys, examples = nats.shape
  variance = nats.mean(0).var(ddof=1) / examples if examples > 1 else math.nan
  if keys > 1:
    variance += nats.mean(1).var(ddof=1) / keys
  return float(nats.mean()), float(np.sqrt(variance))


def rows(where: str, nats: float, se: float, n: int, run: Any, share: float) -> reference.Metrics:
  """Returns the metrics nats, bits and regret of one likelihood.

  where: the end of their names, NAME/KIND/MEASURE.
  se: the standard error of `nats`.
  n: number of examples.
  share: share of the dimensions of x that the likelihood is a probability of, in (0, 1]; 0 for a
    likelihood that is not normalized, which has neither bits nor regret.
  """
  units = {"nats": (nats, se)}
  if run.spec.levels and share:
    dimension = share * math.prod(run.spec.shape) * math.log(2)
    units["bits"] = (nats / dimension, se / dimension)

  # The entropy is that of all dimensions together.
  floor = run.data.entropy if share == 1 else None
  if floor is not None:
    units["regret"] = (nats - floor, se)

  metrics = {}
  for unit, (value, error) in units.items():
    name = f"{unit}/{where}"
    metrics |= {name: value, f"{name}/se": error, f"{name}/n": n}
  if floor is not None:
    metrics[f"nats/{where}/real"] = floor
  return metrics


def measure(spec: core.DataSpec) -> str:
  """Returns what a likelihood of x is a probability of, or "continuous" for a density."""
  return {None: "continuous", 2: "binary", 256: "8-bit"}.get(spec.levels, f"{spec.levels}-level")
