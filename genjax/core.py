"""What every family offers, and all that training, sampling and measuring know of one.

A generative model is named parameter groups plus an ordered list of objectives. A group is trained
if and only if a due objective names it; otherwise it is frozen. A VAE has one objective for its two
groups, a GAN two groups with an objective each; consistency distillation has three groups (student,
target, teacher) and one objective; expectation maximisation has none at all and works in `refresh`.

    Params     dict group -> pytree of arrays, what optimizers move.
    Buffers    dict; buffers[g] of a group g holds its flax collections (batch statistics, codebook)
               and is saved and loaded with it; any other name is free state (chains, replay).
    Batch      dict of named fields, each [B, *shape] or a `Partial` of such: "x", which is what is
               made, and whatever the data or the task tells beside it ("label", "image", "text").

A model names the fields that it is told in `conditions`; `given(model, batch)` picks them out, and
cond below is such a dict. Abilities are optional methods. A family has one or not; nothing asks for
what is not there:

    sample(params, buffers, keys, cond) -> [N, *event]    sample i depends on keys[i], cond[i] alone
    trajectory(params, buffers, keys, cond, frames) -> [frames, N, *event]
    likelihoods: dict name -> Likelihood
    encode(params, buffers, x, cond) -> z
    decode(params, buffers, z, cond) -> [N, *event]
    reconstruct(params, buffers, x, cond) -> [N, *event]
    energy(params, buffers, batch) -> [B] nats
    classify(params, buffers, x) -> [N, classes] log-probabilities
    conditions: tuple of names of fields, () if there are none
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

Params = dict[str, Any]
Buffers = dict[str, Any]
Batch = dict[str, Any]
Metrics = dict[str, jax.Array]
LossFn = Callable[..., tuple[jax.Array, tuple[Buffers, Metrics]]]


class UserError(Exception):
  """A person's mistake in one line: what was wrong, what was expected, the nearest spelling."""


def unknown(what: str, name: str, choices: Iterable[str]) -> UserError:
  """The error for a `name` that is none of `choices`: names the nearest, else lists them all."""
  choices = sorted(choices)
  near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
  hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(choices)}"
  return UserError(f"unknown {what} {name!r}; {hint}")


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """{"a": {"b": 1}} -> {"a.b": 1}, as keys are written on the command line; {} stays a value."""
  flat = {}
  for key, value in nested.items():
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat


class Bounds(NamedTuple):
  """The numbers a configuration field may hold: low <= value <= high (low < value if `open`)."""

  low: float
  high: float = float("inf")
  open: bool = False


class Slot(NamedTuple):
  """Marks a configuration field that holds a spec, and says in which table its name is found.

  A new role for what a table has, such as a second network, is a field of the type below.
  """

  table: str


Network = Annotated[Any, Slot("network")]
Process = Annotated[Any, Slot("process")]
NoiseSchedule = Annotated[Any, Slot("noise")]
Model = Annotated[Any, Slot("model")]
Latent = Annotated[Any, Slot("latent")]
Head = Annotated[Any, Slot("head")]
Aim = Annotated[Any, Slot("aim")]
Codec = Annotated[Any, Slot("codec")]
Ladder = Annotated[Any, Slot("ladder")]
Quantizer = Annotated[Any, Slot("quantizer")]
Corruption = Annotated[Any, Slot("corruption")]
Code = Annotated[Any, Slot("code")]
Penalty = Annotated[Any, Slot("penalty")]
Weighting = Annotated[Any, Slot("weighting")]
Times = Annotated[Any, Slot("times")]
Coupling = Annotated[Any, Slot("coupling")]
NoiseSource = Annotated[Any, Slot("source")]
Sampler = Annotated[Any, Slot("sampler")]
Grid = Annotated[Any, Slot("grid")]
Guidance = Annotated[Any, Slot("guidance")]
Schedule = Annotated[Any, Slot("schedule")]
Data = Annotated[Any, Slot("data")]
Task = Annotated[Any, Slot("task")]
Optimizer = Annotated[Any, Slot("optim")]

Size = Annotated[int, Bounds(1)]  # of what must exist: width, batch, steps
Count = Annotated[int, Bounds(0)]  # of what may be absent: warm-up steps, a cadence (0: never)
Seed = Annotated[int, Bounds(0, 2**32 - 1)]  # jax.random.key keeps 32 bits
Positive = Annotated[float, Bounds(0, open=True)]
NonNegative = Annotated[float, Bounds(0)]
Fraction = Annotated[float, Bounds(0, 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
  """What one array of every example is, as models see it.

  shape: of one example, without the batch: (H, W, C) for images, (D,) for points, (L,) for text.
  dtype: "float32", or "int32" for labels, words and other integers.
  range: (low, high) that real numbers lie in, None if unbounded.
  levels: number of grey levels (256, 17, 2) or of integers, None for continuous data. An integer
    field that can be absent has `levels` itself as the value that means "none".
  kind: "image", "points", "binary", "tokens", "text" or "label"; it selects how a person gives one
    and how one is drawn.
  names: what the integers are called, such as the words of a text.
  about: what a likelihood given this field calls it; the field's own name if "".
  paired: whether it belongs to the x of its example, or is drawn on its own.
  fixed: whether what is missing of it is the same in all examples.
  """

  shape: tuple[int, ...]
  dtype: str = "float32"
  range: tuple[float, float] | None = None
  levels: int | None = None
  kind: str = "points"
  names: tuple[str, ...] = ()
  about: str = ""
  paired: bool = True
  fixed: bool = True

  @property
  def integer(self) -> bool:
    """Whether its values are integers."""
    return self.dtype.startswith("int")

  @property
  def level_width(self) -> float:
    """From one grey level to the next, of data that have them."""
    return (self.range[1] - self.range[0]) / (self.levels - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec(Field):
  """What the data tell models, writers and units: the field "x", and those that stand beside it.

  classes: number of values of "label", 0 if there is none.
  others: (name, Field) of the fields beside x and label, see `beside`.
  """

  classes: int = 0
  others: tuple[tuple[str, Field], ...] = ()

  @property
  def fields(self) -> dict[str, Field]:
    """The fields beside x by their names."""
    label = Field(shape=(), dtype="int32", levels=self.classes, kind="label")
    return {**({"label": label} if self.classes else {}), **dict(self.others)}

  def beside(self, **fields: Field) -> "DataSpec":
    """The same x with more fields beside it; one of the same name is replaced."""
    others = {**dict(self.others), **fields}
    return dataclasses.replace(self, others=tuple(others.items()))

  def suffix(self, conditions: Iterable[str]) -> str:
    """What the name of a likelihood given these fields ends in: "-given-label"."""
    return "".join(f"-given-{self.fields[name].about or name}" for name in conditions)


class Partial(NamedTuple):
  """A real field of which some, or all, may be missing.

  value: [B, *shape], 0 where it is missing.
  there: [B, *shape[:-1], 1], 1 where it is known, else 0.
  """

  value: jax.Array
  there: jax.Array


def partial(a: Any) -> Partial:
  """A real field [B, *shape], all of it known unless it says otherwise."""
  return a if isinstance(a, Partial) else Partial(a, jnp.ones((*a.shape[:-1], 1), jnp.float32))


def given(model: Any, batch: Batch) -> Batch:
  """The fields of a batch that the model is told."""
  return {name: batch[name] for name in model.conditions}


def null(field: Field, batch: int) -> Any:
  """What stands for the absence of a field in each of `batch` examples."""
  if field.integer:
    return jnp.full((batch, *field.shape), field.levels, jnp.int32)
  return Partial(jnp.zeros((batch, *field.shape)), jnp.zeros((batch, *field.shape[:-1], 1)))


def hidden(cond: Batch, spec: DataSpec, where: jax.Array) -> Batch:
  """The conditions, null for the examples `where` [B] says so: integers become `levels`, real
  fields become `Partial`s of which nothing is there."""
  return {name: _hidden(a, spec.fields[name], where) for name, a in cond.items()}


def _hidden(a, field, where):
  if field.integer:
    return jnp.where(expand(where, a), field.levels, a)
  seen = lambda part: jnp.where(expand(where, part), 0.0, part)
  return Partial(*map(seen, partial(a)))


class Objective(NamedTuple):
  """`loss` is descended by the groups it `trains`, on the steps when it is `due`.

  name: unique, prefixes its metrics; two objectives may train one group.
  loss: (params, buffers, batch, key, step) -> (scalar, (buffers, metrics)).
  due: host-side function of the step, static under jit: `every(n)` or `between(a, b)`; if it is not
    said, the objective is due at every step.
  """

  name: str
  trains: tuple[str, ...]
  loss: LossFn
  due: Callable[[int], bool] = lambda step: True


def every(n: int) -> Callable[[int], bool]:
  """Due on every n-th step, the n-th first."""
  return lambda step: step % n == n - 1


def between(first: int, last: int) -> Callable[[int], bool]:
  """Due on the steps first <= step < last."""
  return lambda step: first <= step < last


EXACT, LOWER_BOUND, UPPER_BOUND = "exact", "lower bound", "upper bound"
ESTIMATE, PSEUDO, UNNORMALIZED = "estimate", "pseudo", "unnormalized"
KINDS = (EXACT, LOWER_BOUND, UPPER_BOUND, ESTIMATE, PSEUDO, UNNORMALIZED)


class Likelihood(NamedTuple):
  """A log-likelihood and how far it may be trusted.

  kind: one of KINDS; numbers of different kind or measure never stand in one column.
  log_prob: (params, buffers, batch, key) -> [B] nats per example.
  parts: of the same arguments, {name: [B]} whose sum is log_prob, where it has such terms.
  free: batch -> [B], the share of the dimensions of x that it is a probability of, where the others
    are given; None if it is of all of x.
  """

  kind: str
  log_prob: Callable[..., jax.Array]
  parts: Callable[..., dict[str, jax.Array]] | None = None
  free: Callable[[Batch], jax.Array] | None = None


class GenerativeModel(Protocol):
  """What training needs of a family; everything else is an ability (see the module docstring)."""

  objectives: tuple[Objective, ...]
  pretrained: tuple[str, ...]  # groups that config.load supplies: a random teacher is an error

  def init(self, key: jax.Array, batch: Batch, loaded: dict) -> tuple[Params, Buffers]:
    """Initial params and buffers; `loaded` is {group: (params, buffers)}, taken as it is."""

  def refresh(
    self, params: Params, buffers: Buffers, batch: Batch, key: jax.Array, step: jax.Array
  ) -> tuple[Params, Buffers, Metrics]:
    """What moves without a gradient after the objectives: targets, EM, codebooks, chains."""


class TrainState(NamedTuple):
  """All that a run is: what is saved is what is needed to go on, bit for bit."""

  step: jax.Array  # the number of updates made
  key: jax.Array  # root key; step k uses fold_in(key, k)
  params: Params
  buffers: Buffers
  opt_state: dict[str, Any]  # group -> optax state
  ema: dict[str, Params]  # average -> {group: tree}
  halted: jax.Array  # -1, or the first step whose metrics were not finite


def init(module: nn.Module, key: jax.Array, *args, **kwargs) -> tuple[Any, dict[str, Any]]:
  """(parameters, collections) of a module: the entries of one group in params and in buffers."""
  variables = dict(module.init(key, *args, **kwargs))
  return variables.pop("params", {}), variables


def call(
  module: nn.Module,
  group: str,
  params: Params,
  buffers: Buffers,
  *args,
  train: bool = False,
  key: jax.Array | None = None,
  method: str | None = None,
) -> tuple[Any, Buffers]:
  """Applies a group's module -> (output, buffers); with `train`, its collections are updated.

  `key` feeds dropout. The module, or its `method`, takes `train` as a keyword.
  """
  own = buffers.get(group, {})
  rngs = {} if key is None else {"dropout": key}
  mutable = list(own) if train else []
  out, new = module.apply(
    {"params": params[group], **own},
    *args,
    train=train,
    rngs=rngs,
    mutable=mutable,
    method=method,
  )
  return out, {**buffers, group: {**own, **new}} if new else buffers


def draw(keys: jax.Array, sampler: Callable[..., jax.Array], shape: Sequence[int]) -> jax.Array:
  """One independent draw for each key [N] -> [N, *shape]: nothing couples examples."""
  return jax.vmap(lambda key: sampler(key, tuple(shape)))(keys)


def expand(a: jax.Array, like: jax.Array) -> jax.Array:
  """[B] -> [B, 1, ..., 1], to multiply per-example coefficients into `like` [B, *event]."""
  return a.reshape(a.shape + (1,) * (like.ndim - a.ndim))
