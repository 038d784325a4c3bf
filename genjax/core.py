"""What every family of models offers: all that training, sampling and measuring know of it.

A generative model is named parameter groups plus an ordered list of objectives. A group is trained
if and only if an objective that is due names it; otherwise it is frozen. For example:

    GAN                          two groups with an objective each
    consistency distillation     three groups (student, target, teacher), one objective
    expectation maximisation     no objective at all: it works in `refresh`

Three kinds of values travel through training, sampling and measuring:

    Params     {group: pytree of arrays}, which optimizers move.
    Buffers    buffers[g] of a group g holds its flax collections (batch statistics, codebook) and
               is saved and loaded with it. Any other name is free state (chains, replay).
    Batch      {field: [B, *shape], or a `Partial`}. The field "x" is what the model makes. Others
               stand beside it: "label", "image", "text", from the data or from a task.

A model may be told some of these fields, which it names in `conditions`. `given(model, batch)`
picks them out of a batch, and `cond` below is such a dict.

Abilities are optional methods: a family has one or not.

    sample(params, buffers, keys, cond) -> [N, *event]    sample i depends on keys[i], cond[i] alone
    trajectory(params, buffers, keys, cond, frames) -> [frames, N, *event]
    likelihoods: dict name -> Likelihood
    encode(params, buffers, x, cond) -> z
    decode(params, buffers, z, cond) -> [N, *event]
    reconstruct(params, buffers, x, cond) -> [N, *event]
    energy(params, buffers, batch) -> [B] nats
    classify(params, buffers, x) -> [N, classes] log-probabilities
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
  """A person's mistake, in one line: what was wrong, what was expected, the nearest spelling."""


class NotFinite(UserError):
  """Samples are infinite or not numbers, so that nothing can be measured of them."""


def unknown(what: str, name: str, choices: Iterable[str]) -> UserError:
  """Returns the error for a `name` that is not among `choices`.

  It names the nearest choice, or else lists all of them.
  """
  choices = sorted(choices)
  near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
  hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(choices)}"
  return UserError(f"unknown {what} {name!r}; {hint}")


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns {"a.b": 1} for {"a": {"b": 1}}: keys as they are written on the command line.

  An empty dict stays a value.
  """
  flat = {}
  for key, value in nested.items():
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat


class Bounds(NamedTuple):
  """The numbers that a configuration field may hold: low <= value <= high.

  open: whether `low` itself is excluded.
  """

  low: float
  high: float = float("inf")
  open: bool = False


class Slot(NamedTuple):
  """Marks a configuration field that holds a spec, and says in which table its name is looked up.

  A class that needs a second network declares a second field of type `Network`; no table changes.
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

# Of what must exist: a width, a batch, a number of steps.
Size = Annotated[int, Bounds(1)]
# Of what may be absent: warm-up steps, a cadence (0 is never).
Count = Annotated[int, Bounds(0)]
# jax.random.key keeps 32 bits of a seed.
Seed = Annotated[int, Bounds(0, 2**32 - 1)]
Positive = Annotated[float, Bounds(0, open=True)]
NonNegative = Annotated[float, Bounds(0)]
Fraction = Annotated[float, Bounds(0, 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
  """Describes one array of every example, as models see it.

  shape: of one example, without the batch: (H, W, C) of pictures, (D,) of points, (L,) of text.
  dtype: "float32", or "int32" for labels, words and other integers.
  range: (low, high), in which real numbers lie; None if they are unbounded.
  levels: the number of grey levels (256, 17, 2) or of different integers; None for continuous
    data. An integer field that may be absent uses the value `levels` itself for "none".
  kind: "image", "points", "binary", "tokens", "text" or "label". It decides how a person gives a
    value of the field, and how one is drawn (kinds/).
  names: what the integers are called, such as the words of a text or the classes of a folder.
  about: how the name of a likelihood given this field calls it; "" for the field's own name.
  paired: whether the field belongs to the x of its example, or is drawn independently of it.
  fixed: whether the missing part of the field is the same in all examples.
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
    """Whether the values are integers."""
    return self.dtype.startswith("int")

  @property
  def level_width(self) -> float:
    """The distance between neighbouring grey levels, for data that have levels."""
    return (self.range[1] - self.range[0]) / (self.levels - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec(Field):
  """Describes the data: the field "x", and the fields that stand beside it.

  classes: the number of values of "label"; 0 if there are no labels.
  others: pairs (name, Field) of all other fields, see `beside`.
  """

  classes: int = 0
  others: tuple[tuple[str, Field], ...] = ()

  @property
  def fields(self) -> dict[str, Field]:
    """The fields beside x, by their names."""
    label = Field(shape=(), dtype="int32", levels=self.classes, kind="label")
    return {**({"label": label} if self.classes else {}), **dict(self.others)}

  def beside(self, **fields: Field) -> "DataSpec":
    """Returns a description of the same x with more fields beside it.

    A field takes the place of one of the same name.
    """
    others = {**dict(self.others), **fields}
    return dataclasses.replace(self, others=tuple(others.items()))

  def suffix(self, conditions: Iterable[str]) -> str:
    """Returns the end of the name of a likelihood given these fields, such as "-given-label"."""
    return "".join(f"-given-{self.fields[name].about or name}" for name in conditions)


class Partial(NamedTuple):
  """A real field of which a part, or all, may be missing.

  value: [B, *shape], 0 where the field is missing.
  there: [B, *shape[:-1], 1], or [B, 1] for a field of shape (); 1 where the field is known, else 0.
  """

  value: jax.Array
  there: jax.Array


def partial(a: Any) -> Partial:
  """Returns a real field [B, *shape] as a Partial; an array is known everywhere."""
  if isinstance(a, Partial):
    return a
  return Partial(a, jnp.ones((len(a), *a.shape[1:-1], 1), jnp.float32))


def given(model: Any, batch: Batch) -> Batch:
  """Returns the fields of a batch that the model is told."""
  return {name: batch[name] for name in model.conditions}


def null(field: Field, batch: int) -> Any:
  """Returns what stands for the absence of a field, in `batch` examples."""
  if field.integer:
    return jnp.full((batch, *field.shape), field.levels, jnp.int32)
  return Partial(jnp.zeros((batch, *field.shape)), jnp.zeros((batch, *field.shape[:-1], 1)))


def hidden(cond: Batch, spec: DataSpec, where: jax.Array) -> Batch:
  """Returns the conditions, null where `where` [B] is true: see `null`, for each field."""
  return {name: _hidden(a, spec.fields[name], where) for name, a in cond.items()}


def _hidden(a: Any, field: Field, where: jax.Array) -> Any:
  if field.integer:
    return jnp.where(expand(where, a), field.levels, a)
  seen = lambda part: jnp.where(expand(where, part), 0.0, part)
  return Partial(*map(seen, partial(a)))


class Every(NamedTuple):
  """Due on every n-th step, the n-th first: on all steps for n = 1."""

  n: int

  def __call__(self, step: int) -> bool:
    return step % self.n == self.n - 1

  def count(self, steps: int) -> int:
    """How many of the first `steps` steps are due."""
    return steps // self.n


class Between(NamedTuple):
  """Due on the steps first <= step < last."""

  first: int
  last: float

  def __call__(self, step: int) -> bool:
    return self.first <= step < self.last

  def count(self, steps: int) -> int:
    """How many of the first `steps` steps are due."""
    return int(max(0, min(steps, self.last) - self.first))


class Objective(NamedTuple):
  """A loss that is descended by the groups it `trains`, on the steps when it is `due`.

  name: unique among the objectives of a model; it prefixes the metrics of this one.
  trains: the groups whose parameters follow the gradient; two objectives may train one group.
  loss: (params, buffers, batch, key, step) -> (scalar, (buffers, metrics)).
  due: when the objective is descended, decided on the host and static under jit.
  """

  name: str
  trains: tuple[str, ...]
  loss: LossFn
  due: Every | Between = Every(1)


# How a likelihood is known.
EXACT = "exact"
LOWER_BOUND = "lower bound"
UPPER_BOUND = "upper bound"
ESTIMATE = "estimate"
PSEUDO = "pseudo"
UNNORMALIZED = "unnormalized"
KINDS = (EXACT, LOWER_BOUND, UPPER_BOUND, ESTIMATE, PSEUDO, UNNORMALIZED)


class Likelihood(NamedTuple):
  """A log-likelihood and how far it may be trusted.

  kind: one of KINDS. Numbers of different kind or measure never stand in one column.
  log_prob: (params, buffers, batch, key) -> [B] nats per example.
  parts: (params, buffers, batch, key) -> {name: [B]}, terms whose sum is log_prob; None if
    log_prob has no such terms.
  free: batch -> [B], the share of the dimensions of x that log_prob is a density of, where the
    others are given; None if it is a density of all of x.
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
    """Returns the initial params and buffers.

    loaded: {group: (params, buffers)} of groups that another run has trained, taken as they are.
    """

  def refresh(
    self, params: Params, buffers: Buffers, batch: Batch, key: jax.Array, step: jax.Array
  ) -> tuple[Params, Buffers, Metrics]:
    """Moves what has no gradient, after the objectives: targets, EM, codebooks, chains.

    Returns (params, buffers, metrics).
    """


class TrainState(NamedTuple):
  """The state of a training: exactly what must be saved to go on bit for bit.

  step: the number of updates made.
  key: the root key; step k uses fold_in(key, k).
  params, buffers: see the module docstring.
  opt_state: {group: optax state}.
  ema: {average: {group: averaged parameters}}.
  halted: -1, or the first step whose metrics were not finite.
  """

  step: jax.Array
  key: jax.Array
  params: Params
  buffers: Buffers
  opt_state: dict[str, Any]
  ema: dict[str, Params]
  halted: jax.Array


def init(module: nn.Module, key: jax.Array, *args, **kwargs) -> tuple[Any, dict[str, Any]]:
  """Initializes a module; returns (parameters, other collections).

  These are the entries of one group in params and in buffers.
  """
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
  """Applies the module of a group; returns (output, buffers).

  args: of the module, or of its `method`, which also takes `train` as a keyword.
  train: whether the collections of the group, such as batch statistics, are updated.
  key: feeds dropout; None where there is none.
  """
  own = buffers.get(group, {})
  rngs = {} if key is None else {"dropout": key}
  mutable = list(own) if train else []
  variables = {"params": params[group], **own}
  options = {"train": train, "rngs": rngs, "mutable": mutable, "method": method}
  out, new = module.apply(variables, *args, **options)
  return out, {**buffers, group: {**own, **new}} if new else buffers


def draw(keys: jax.Array, sampler: Callable[..., jax.Array], shape: Sequence[int]) -> jax.Array:
  """Returns one independent draw for each key [N], as [N, *shape]: nothing couples examples."""
  return jax.vmap(lambda key: sampler(key, tuple(shape)))(keys)


def expand(a: jax.Array, like: jax.Array) -> jax.Array:
  """Returns a [B] as [B, 1, ..., 1], so that it multiplies `like` [B, *event] per example."""
  return a.reshape(a.shape + (1,) * (like.ndim - a.ndim))
