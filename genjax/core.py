"""What every family offers, and all that training, sampling and measuring know of one.

A generative model is named parameter groups plus an ordered list of objectives. A group is trained
if and only if a due objective names it; otherwise it is frozen. A VAE has one group and one
objective; a GAN two and two; consistency distillation three groups (student, target, teacher) and
one objective; expectation maximisation has none at all and works in `refresh`.

    Params     dict group -> pytree of arrays, what optimizers move.
    Buffers    dict; buffers[g] of a group g holds its flax collections (batch statistics, codebook)
               and is saved and loaded with it; any other name is free state (chains, replay).
    Batch      dict with "x" [B, *event] and, where present, "label" [B], "length", ...

Abilities are optional methods. A family has one or not; nothing asks for what is not there:

    sample(params, buffers, keys, cond) -> [N, *event]    sample i depends on keys[i], cond[i] alone
    trajectory(params, buffers, keys, cond, frames) -> [frames, N, *event]
    likelihoods: dict name -> Likelihood                      see there
    encode(params, buffers, x, cond), decode(params, buffers, z, cond), reconstruct(.., x, cond)
    infill(x, mask), score, energy, classify
    conditions: tuple of the names of the entries of cond     () if there are none; "label" [N], or
                                                              "known" [N, *event], to be completed
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import flax.linen as nn
import jax

Params = dict[str, Any]
Buffers = dict[str, Any]
Batch = dict[str, jax.Array]
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


def given(model: Any, batch: Batch) -> Batch:
  """cond as a batch has it: what is known of an example is the example itself."""
  return {name: batch["x" if name == "known" else name] for name in model.conditions}


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


Size = Annotated[int, Bounds(1)]  # of what must exist: width, batch, steps
Count = Annotated[int, Bounds(0)]  # of what may be absent: warm-up steps, a cadence (0: never)
Seed = Annotated[int, Bounds(0, 2**32 - 1)]  # jax.random.key keeps 32 bits
Positive = Annotated[float, Bounds(0, open=True)]
NonNegative = Annotated[float, Bounds(0)]
Fraction = Annotated[float, Bounds(0, 1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec:
  """What the data tells models, writers and units.

  shape: of one example "x", without the batch: (H, W, C) for images, (D,) for points.
  dtype: of "x" as models see it ("float32"; "int32" for tokens).
  range: (low, high) that x lies in, None if unbounded.
  levels: number of grey levels (256, 17, 2), None for continuous data.
  classes: number of values of "label", 0 if there is none.
  kind: "image", "points", "binary" or "tokens"; it selects writers and units.
  """

  shape: tuple[int, ...]
  dtype: str = "float32"
  range: tuple[float, float] | None = None
  levels: int | None = None
  classes: int = 0
  kind: str = "points"

  @property
  def level_width(self) -> float:
    """From one grey level to the next, of data that have them."""
    return (self.range[1] - self.range[0]) / (self.levels - 1)


class Objective(NamedTuple):
  """`loss` is descended by the groups it `trains`, on the steps when it is `due`.

  name: unique, prefixes its metrics; two objectives may train one group.
  loss: (params, buffers, batch, key, step) -> (scalar, (buffers, metrics)).
  due: host-side function of the step, static under jit: `always`, `every(n)` or `between(a, b)`.
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
  share: of the dimensions of x that it is of, the others being given.
  """

  kind: str
  log_prob: Callable[..., jax.Array]
  parts: Callable[..., dict[str, jax.Array]] | None = None
  share: float = 1.0


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
