"""What a model says of held-out examples: negative log-likelihood in nats per example.

Every likelihood that a model offers is one metric, whose name carries what may be compared:

    nats/NAME/KIND/MEASURE    such as nats/elbo/lower-bound/8-bit = -(mean ELBO), lower is better
    bits/NAME/KIND/MEASURE    per dimension, nats / (D ln 2), where x is discrete
    regret/NAME/KIND/MEASURE  nats above the entropy of the data ("/real"), where that is known
    part/NAME/PART            nats of each part of a likelihood that is a sum of such
    bits/BASELINE/...         of pictures: what the simplest models have, see `baselines`

KIND is that of `core.Likelihood` and says how log p is known: -(a lower bound of log p) lies above
the true figure. MEASURE is that of x: a probability on "binary", "17-level" or "8-bit" values, or a
"continuous" density. log_prob is repeated with several keys; with N examples and K keys

    se^2 = Var_examples[mean over keys] / N + Var_keys[mean over examples] / K,

whose second term sees noise that a key's examples share, such as that of an estimated normalizer.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.evaluation import baselines, reference

KEYS = 3  # of every likelihood that is not exact
CHUNK = 100  # examples at once, padded: one compiled program whatever their number


def check(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the model has a likelihood."""
  if not getattr(model, "likelihoods", None):
    raise core.UserError("metric 'likelihood': this model has none; expected a metric of samples")


def likelihood(run: Any) -> reference.Metrics:
  """Every likelihood of run.model on up to run.num examples of run.split.

  Raises core.UserError if the model has none.
  """
  check(run.model, run.data)
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  batch, metrics = run.batch(run.split, n), {}
  for name, (kind, log_prob, parts, free) in run.model.likelihoods.items():
    share = 1.0 if free is None else float(np.mean(free(batch)))
    keys = jax.random.split(run.key(f"likelihood/{name}"), 1 if kind == core.EXACT else KEYS)
    program = jax.jit(parts or (lambda *args, f=log_prob: {"": f(*args)}))
    terms = [over(run, program, batch, key) for key in keys]
    nats = {part: -np.stack([term[part] for term in terms]) for part in terms[0]}
    where = f"{name}/{kind.replace(' ', '-')}/{measure(run.spec)}"
    normalized = kind not in (core.PSEUDO, core.UNNORMALIZED)
    metrics |= rows(where, *estimate(sum(nats.values())), n, run, share if normalized else 0)
    metrics |= {f"part/{name}/{part}": estimate(nats[part])[0] for part in nats if part}
  return metrics | floors(run, n)


def floors(run: Any, n: int) -> reference.Metrics:
  """The baselines of pictures on n examples of run.split; {} for other data."""
  if not run.spec.levels or run.spec.kind != "image":
    return {}
  train, held = run.data.splits["train"]["x"], run.data.splits[run.split]["x"][:n]
  metrics = {}
  for name, values in baselines.bits(train, held, run.spec.levels).items():
    kind = baselines.KINDS[name].replace(" ", "-")
    where = f"bits/{name}/{kind}/{measure(run.spec)}"
    value, se = estimate(values[None])
    metrics |= {where: value, f"{where}/se": se, f"{where}/n": n}
  return metrics


def over(run: Any, program: Any, batch: dict[str, Any], key: jax.Array) -> Any:
  """The program's arrays [N] for the examples of a batch, chunk by chunk, which differ in key."""
  n, values = len(batch["x"]), []
  for i, start in enumerate(range(0, n, CHUNK)):
    rows = np.minimum(np.arange(start, start + CHUNK), n - 1)  # the last one again, cut off below
    chunk = jax.tree.map(lambda column, rows=rows: jnp.asarray(column[rows]), batch)
    values.append(program(run.params, run.buffers, chunk, jax.random.fold_in(key, i)))
  join = lambda *parts: np.concatenate(parts)[:n].astype(np.float64)
  return jax.tree.map(join, *values)


def estimate(nats: np.ndarray) -> tuple[float, float]:
  """Mean and standard error, by the module's formula, of values [K, N] at K keys and N examples."""
  keys, examples = nats.shape
  variance = nats.mean(0).var(ddof=1) / examples if examples > 1 else math.nan
  if keys > 1:
    variance += nats.mean(1).var(ddof=1) / keys
  return float(nats.mean()), float(np.sqrt(variance))


def rows(where: str, nats: float, se: float, n: int, run: Any, share: float) -> reference.Metrics:
  """The metrics of one likelihood of a share of the dimensions; 0 for one that is not normalized,
  which compares with no entropy and no code."""
  units = {"nats": (nats, se)}
  if run.spec.levels and share:
    dimension = share * math.prod(run.spec.shape) * math.log(2)
    units["bits"] = (nats / dimension, se / dimension)
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
  """What a likelihood of x is a probability or density on."""
  return {None: "continuous", 2: "binary", 256: "8-bit"}.get(spec.levels, f"{spec.levels}-level")
