"""The metrics by name: METRICS[name](run) -> {metric: number}.

A run offers what a metric needs:

    num                      how many examples to use
    data, spec               the sources.Dataset and its core.DataSpec
    split                    the held-out split to measure against, "test", or "valid" in training
    samples(n)               n samples: "x" as stored, and the conditions that they were drawn for
    batch(split, n)          the first n examples of a split, as models see them
    key(name)                a random key for one use in evaluation
    model, params, buffers   what is measured

Most values have a reference "/real" beside them, see `reference`. "/raw" is the value of the
parameters that were not averaged. NET is the name of the feature net, with the hash of its weights.

    fd/NET                                   Fréchet distance, squared
    kid/NET                                  kernel distance, squared, unbiased
    precision, recall, density, coverage     each /NET; with balls to the 5th neighbour
    legible/NET                              share of samples in which the net sees some class with
                                             probability > 0.9
    agrees/NET                               share of samples in which the net sees the class that
                                             was asked for
    balance/NET                              KL(classes of samples || of training data), nats
    rarest/NET                               share of the class that is seen least often
    nearest/median, nearest/copies           see `nearest`
    modes/..., w2/...                        of points, see `toys`
    nats/..., bits/..., regret/..., part/... see `likelihoods`
    mse, code/...                            of reconstructions, see `reconstruction`
    psnr, heard/NAME                         of conditional samples, see `pairs`
    accuracy                                 of a model that classifies; "/real" is the accuracy of
                                             always naming the most frequent class
"""

import math
from collections.abc import Callable, Sequence
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

# Probability above which a feature net counts as sure of a class.
CONFIDENT = 0.9
# Training examples, at most, that `nearest` searches.
TRAINING = 60_000


class Seen(NamedTuple):
  """Three sets of n images as a feature net sees them.

  net: the feature net.
  samples, train, held: (features [n, D], probabilities [n, classes]) of each set.
  sets: the images themselves.
  """

  net: features.FeatureNet
  samples: tuple[np.ndarray, np.ndarray]
  train: tuple[np.ndarray, np.ndarray]
  held: tuple[np.ndarray, np.ndarray]
  sets: reference.Sets


def seen(run: Any) -> Seen:
  """Applies the feature net of the data to samples, training and held-out images.

  Raises core.UserError if the package has no net for these data.
  """
  net = features.load(run.data.name)
  sets = reference.sets(run)
  return Seen(net, *(net(s["x"], run.spec.levels) for s in sets[:3]), sets)


def fd(run: Any) -> reference.Metrics:
  """Computes the Fréchet distance to the held-out images."""
  s = seen(run)
  pair = tuple(distances.frechet(x, s.held[0]) for x, _ in (s.samples, s.train))
  return reference.rows({f"fd/{s.net.id}": pair}, s.sets.n)


def kid(run: Any) -> reference.Metrics:
  """Computes the kernel distance to the held-out images and its standard error.

  The estimate is unbiased, so it may be negative.
  """
  s = seen(run)
  (value, se), (real, real_se) = (distances.kid(x, s.held[0]) for x, _ in (s.samples, s.train))

  name = f"kid/{s.net.id}"
  errors = {f"{name}/se": se, f"{name}/real/se": real_se}
  return reference.rows({name: (value, real)}, s.sets.n) | errors


def prdc(run: Any) -> reference.Metrics:
  """Computes precision, recall, density and coverage with the held-out images as reference."""
  s = seen(run)
  value, real = (distances.prdc(x, s.held[0]) for x, _ in (s.samples, s.train))
  return reference.rows({f"{k}/{s.net.id}": (value[k], real[k]) for k in value}, s.sets.n)


def legible(run: Any) -> reference.Metrics:
  """Computes legible and, if samples were drawn for a class, agrees.

  The "/real" values are those of held-out images, on which the net was not trained.
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
  """Computes balance and rarest: whether classes are as frequent as in the training data.

  The "/real" values are those of held-out images.
  """
  s = seen(run)
  found = [histogram(p) for _, p in (s.samples, s.held)]
  # The training labels themselves: the net need not recognise these images.
  wanted = np.bincount(run.data.splits["train"]["label"][:], minlength=len(found[0]))
  values = {
    f"balance/{s.net.id}": tuple(distances.divergence(h, wanted) for h in found),
    f"rarest/{s.net.id}": tuple(h.min() / h.sum() for h in found),
  }
  return reference.rows(values, s.sets.n)


def histogram(probabilities: np.ndarray) -> np.ndarray:
  """Counts how often each class is the likeliest, [classes], in probabilities [n, classes]."""
  return np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])


def nearest(run: Any) -> reference.Metrics:
  """Computes the median distance to the nearest training example, and the share of copies.

  The distance between pictures is the root mean square over pixels, as a share of the grey range;
  between points it is Euclidean. A sample is a copy if it is nearer to a training example than 99 %
  of the held-out examples are. The "/real" values are those of held-out examples.
  """
  sets = reference.sets(run)
  train = reference.some({"x": run.data.splits["train"]["x"]}, TRAINING)
  d, real = (
    distances.nearest(flat(s["x"], run.spec), flat(train["x"], run.spec))
    for s in (sets.samples, sets.held)
  )

  # By definition about 1 % of the held-out examples count as copies.
  limit = np.quantile(real, 0.01)
  values = {
    "nearest/median": (np.median(d), np.median(real)),
    "nearest/copies": (np.mean(d < limit), np.mean(real < limit)),
  }
  return reference.rows(values, sets.n)


def flat(x: np.ndarray, spec: core.DataSpec) -> np.ndarray:
  """Returns vectors [N, D] whose Euclidean distance is the one that `nearest` reports."""
  x = x.reshape(len(x), -1).astype(np.float32)
  # The grey range has levels - 1 steps, and a root mean is a norm divided by sqrt(D).
  return x / ((spec.levels - 1) * np.float32(x.shape[1]) ** 0.5) if spec.levels else x


def accuracy(run: Any) -> reference.Metrics:
  """Computes the share of held-out examples whose likeliest class is their own.

  Examples are the first run.num of run.split, or all if there are fewer. The "/real" value is the
  share of the most frequent class among them.
  """
  n = min(run.num, len(run.data.splits[run.split]["x"]))
  batch = run.batch(run.split, n)

  @jax.jit
  def right(params, buffers, batch, key):
    log_p = run.model.classify(params, buffers, batch["x"])
    return jnp.argmax(log_p, axis=1) == batch["label"]

  # `over` gives the answers as 0.0 and 1.0, [n].
  share = likelihoods.over(run, right, batch, run.key("accuracy")).mean()
  chance = np.bincount(batch["label"]).max() / n
  return reference.rows({"accuracy": (share, chance)}, n)


def check_accuracy(model: Any, data: sources.Dataset) -> None:
  """Raises core.UserError unless the model classifies."""
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
# {metric: (model, data) -> None}, which raises core.UserError if the metric cannot be measured.
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


# Metrics that compare samples with equally many examples of the training and the held-out split.
COMPARING = ("fd", "kid", "prdc", "legible", "balance", "nearest", "modes", "w2", "heard")


def measure(
  run: Any, names: Sequence[str], say: Callable[[str], None] | None = None
) -> reference.Metrics:
  """Computes the named metrics.

  A metric of samples that are not finite numbers is NaN, and `say` is told how many they are.
  """
  values = {}
  for name in names:
    if name not in METRICS:
      raise core.unknown("metric", name, METRICS)
    try:
      values |= METRICS[name](run)
    except core.NotFinite as e:
      values[name] = math.nan
      if say:
        say(f"warning    {name}: {e}")
  return values


def beside(values: reference.Metrics, raw: reference.Metrics) -> reference.Metrics:
  """Returns {NAME/raw: value of the parameters that were not averaged}, where it differs.

  values: the metrics of the averaged parameters.
  raw: the metrics of the parameters that were not averaged.
  """
  # These say something about the data, or about another metric.
  roles = ("/n", "/real", "/se")
  own = (name for name in values if not name.endswith(roles) and not math.isnan(values[name]))
  return {f"{name}/raw": raw[name] for name in own if raw.get(name, values[name]) != values[name]}


def check(
  names: Sequence[str],
  model: Any,
  data: sources.Dataset,
  num: int,
  splits: Sequence[str] = ("test",),
) -> None:
  """Raises core.UserError for a metric that cannot be measured, so that training need not start.

  names: metrics of the configuration.
  num: number of samples that would be measured.
  splits: those that the metrics will be measured against.
  """
  for name in names:
    if name not in METRICS:
      raise core.unknown("metric", name, METRICS)
    if name in CHECKS:
      CHECKS[name](model, data)
    if name in COMPARING:
      _check_sizes(name, model, data, splits)

  if names and num < reference.FEWEST:
    raise core.UserError(f"num={num}: metrics need at least {reference.FEWEST} samples")


def _check_sizes(name: str, model: Any, data: sources.Dataset, splits: Sequence[str]) -> None:
  """Raises core.UserError if there are no samples, or too few examples to compare them with."""
  if not hasattr(model, "sample"):
    raise core.UserError(f"metric {name!r}: this model has no samples")
  for split in ("train", *splits):
    size = len(data.splits[split]["x"])
    if size < reference.FEWEST:
      raise core.UserError(
        f"metric {name!r}: the {split} split has {size} examples; expected at least "
        f"{reference.FEWEST} (more data, or a larger data.holdout where there is one)"
      )
