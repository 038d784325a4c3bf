"""The metrics by name: METRICS[name](run) -> {metric: number}.

A run offers: num, how many examples to use; spec and data, a core.DataSpec and a sources.Dataset;
split, which of the data is held out to measure against ("test", or "valid" during training);
samples(n), a dict of "x" as stored and what it was drawn for; batch(split, n), examples for the
model's eye; key(name), for evaluation alone; model, params and buffers.

Every value has its reference beside it, see `reference`, and in "/raw" what the parameters have
that were not averaged. In the names, NET is the feature net with the hash of its weights.

    fd/NET                                   Fréchet distance, squared
    kid/NET                                  kernel distance, squared, unbiased
    precision, recall, density, coverage     all /NET; manifolds of 5 neighbours
    legible/NET                              share that the net knows with probability > 0.9
    agrees/NET                               share that the net takes for what was asked for
    balance/NET                              KL(classes of samples || of training data), nats
    rarest/NET                               share of the class that is found least often
    nearest/median, nearest/copies           see `nearest`
    modes/..., w2/...                        points, see `toys`
    nats/..., bits/..., regret/..., part/... see `likelihoods`
    mse                                      of reconstructions, see `reconstruction`
    psnr, heard/NAME                         of samples that were asked for, see `pairs`
    accuracy                                 of a model that classifies; "/real" is that of always
                                             the commonest class
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.data.sources import base as sources
from genjax.evaluation import (
  distances,
  features,
  likelihoods,
  pairs,
  reconstruction,
  reference,
  toys,
)

CONFIDENT = 0.9
TRAINING = 60_000  # most training examples that `nearest` searches


class Seen(NamedTuple):
  """Three sets of n images as a feature net sees them, each (features, probabilities)."""

  net: features.FeatureNet
  samples: tuple[np.ndarray, np.ndarray]
  train: tuple[np.ndarray, np.ndarray]
  held: tuple[np.ndarray, np.ndarray]
  sets: reference.Sets


def seen(run: Any) -> Seen:
  """Raises core.UserError if the package has no net for these data."""
  net, sets = features.load(run.data.name), reference.sets(run)
  return Seen(net, *(net(s["x"], run.spec.levels) for s in sets[:3]), sets)


def fd(run: Any) -> reference.Metrics:
  """Fréchet distance to the held-out set."""
  s = seen(run)
  pair = tuple(distances.frechet(x, s.held[0]) for x, _ in (s.samples, s.train))
  return reference.rows({f"fd/{s.net.id}": pair}, s.sets.n)


def kid(run: Any) -> reference.Metrics:
  """Kernel distance to the held-out set; may be negative."""
  s = seen(run)
  (value, se), (real, real_se) = (distances.kid(x, s.held[0]) for x, _ in (s.samples, s.train))
  name = f"kid/{s.net.id}"
  errors = {f"{name}/se": se, f"{name}/real/se": real_se}
  return reference.rows({name: (value, real)}, s.sets.n) | errors


def prdc(run: Any) -> reference.Metrics:
  """Precision, recall, density and coverage with respect to the held-out set."""
  s = seen(run)
  value, real = (distances.prdc(x, s.held[0]) for x, _ in (s.samples, s.train))
  return reference.rows({f"{k}/{s.net.id}": (value[k], real[k]) for k in value}, s.sets.n)


def legible(run: Any) -> reference.Metrics:
  """Share of samples with a confident class and, if a class was asked for, with that class.

  The references are of held-out images, which the net has not learnt.
  """
  s = seen(run)
  pair = tuple(np.mean(p.max(1) > CONFIDENT) for _, p in (s.samples, s.held))
  values = {f"legible/{s.net.id}": pair}
  if "label" in s.sets.samples:
    asked = ((s.samples, s.sets.samples), (s.held, s.sets.held))
    pair = tuple(np.mean(p.argmax(1) == data["label"]) for (_, p), data in asked)
    values[f"agrees/{s.net.id}"] = pair
  return reference.rows(values, s.sets.n)


def balance(run: Any) -> reference.Metrics:
  """Whether classes occur as often as in the training data; references are of held-out images."""
  s = seen(run)
  found = [histogram(p) for _, p in (s.samples, s.held)]
  wanted = np.bincount(run.data.splits["train"]["label"][:], minlength=len(found[0]))
  values = {
    f"balance/{s.net.id}": tuple(distances.divergence(h, wanted) for h in found),
    f"rarest/{s.net.id}": tuple(h.min() / h.sum() for h in found),
  }
  return reference.rows(values, s.sets.n)


def histogram(probabilities: np.ndarray) -> np.ndarray:
  """How often each class is the likeliest, [classes]."""
  return np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])


def nearest(run: Any) -> reference.Metrics:
  """Distance to the nearest training example, and the share of copies.

  The distance is the root mean square over pixels, as a share of the grey range; for points it is
  Euclidean. A sample is a copy if it is nearer than 99 % of the held-out examples.
  """
  sets = reference.sets(run)
  train = reference.some({"x": run.data.splits["train"]["x"]}, TRAINING)
  d, real = (
    distances.nearest(flat(s["x"], run.spec), flat(train["x"], run.spec))
    for s in (sets.samples, sets.held)
  )
  limit = np.quantile(real, 0.01)
  values = {
    "nearest/median": (np.median(d), np.median(real)),
    "nearest/copies": (np.mean(d < limit), np.mean(real < limit)),
  }
  return reference.rows(values, sets.n)


def flat(x: np.ndarray, spec: core.DataSpec) -> np.ndarray:
  """Vectors [N, D] whose Euclidean distance is the one that `nearest` reports."""
  x = x.reshape(len(x), -1).astype(np.float32)
  return x / ((spec.levels - 1) * np.float32(x.shape[1]) ** 0.5) if spec.levels else x


def accuracy(run: Any) -> reference.Metrics:
  """Share of up to run.num held-out examples whose likeliest class is their own."""
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  batch = run.batch(run.split, n)

  @jax.jit
  def right(params, buffers, batch, key):
    log_p = run.model.classify(params, buffers, batch["x"])
    return jnp.argmax(log_p, axis=1) == batch["label"]

  share = likelihoods.over(run, right, batch, run.key("accuracy")).mean()
  chance = np.bincount(batch["label"]).max() / n
  return reference.rows({"accuracy": (share, chance)}, n)


def check_accuracy(model: Any, data: sources.Dataset) -> None:
  """core.UserError unless the model classifies."""
  if not hasattr(model, "classify"):
    raise core.UserError("metric 'accuracy': this model does not classify")


METRICS = {
  "fd": fd,
  "kid": kid,
  "prdc": prdc,
  "legible": legible,
  "balance": balance,
  "nearest": nearest,
  "modes": toys.modes,
  "w2": toys.w2,
  "likelihood": likelihoods.likelihood,
  "reconstruction": reconstruction.reconstruction,
  "psnr": pairs.psnr,
  "heard": pairs.heard,
  "accuracy": accuracy,
}
CHECKS = {
  **dict.fromkeys(
    ("fd", "kid", "prdc", "legible", "balance"), lambda model, data: features.load(data.name)
  ),
  "modes": toys.check_modes,
  "w2": toys.check_w2,
  "likelihood": likelihoods.check,
  "reconstruction": reconstruction.check,
  "psnr": pairs.check_psnr,
  "heard": pairs.check_heard,
  "accuracy": check_accuracy,
}


def measure(run: Any) -> reference.Metrics:
  """All metrics that the configuration names."""
  values = {}
  for name in run.config["metrics"]:
    values |= METRICS[name](run)
  return values


def beside(values: reference.Metrics, raw: reference.Metrics) -> reference.Metrics:
  """{"fd/NET/raw": what the parameters have without their average}, where that is another value."""
  roles = ("/n", "/real", "/se")
  changed = (name for name in values if not name.endswith(roles) and raw[name] != values[name])
  return {f"{name}/raw": raw[name] for name in changed}


def check(names: Sequence[str], model: Any, data: sources.Dataset, num: int) -> None:
  """core.UserError, before any training, for a metric that could not be measured after it."""
  for name in names:
    if name not in METRICS:
      raise core.unknown("metric", name, METRICS)
    if name in CHECKS:
      CHECKS[name](model, data)
  if names and num < reference.FEWEST:
    raise core.UserError(f"num={num}: metrics need at least {reference.FEWEST} samples")
