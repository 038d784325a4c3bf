"""Optimizers as configurations name them:

    dict(name="adam", lr=1e-3, schedule=dict(name="warmup_cosine"), clip=1.0)

Every optax rule listed below becomes a dataclass. Its fields are the hyper-parameters of the rule
and the fields of `Optimizer`. One optimizer serves one parameter group, and its learning-rate
schedule counts the updates of that group.

Some optax rules are left out: those that take no schedule (rprop, sm3, cocob), need more than a
gradient (polyak_sgd, lbfgs, momo, sophia, dpsgd, noisy_sgd), wrap another rule (galore,
schedule_free) or have been replaced (the first optimistic_adam; optax's optimistic_adam_v2 has its
name here).
"""

import dataclasses
import inspect
from collections.abc import Callable

import jax
import optax

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
  """A constant learning rate after a linear warm-up.

  warmup: the number of updates in which the learning rate rises to its peak.
  """

  warmup: core.Count = 0

  def __call__(self, lr: float, updates: int) -> optax.Schedule:
    return _after_warmup(self.warmup, lr, optax.constant_schedule(lr))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineDecay:
  """Linear warm-up, then half a cosine from the peak down (Loshchilov & Hutter 2017).

  warmup: the number of updates in which the learning rate rises to its peak.
  final: the learning rate at the end, as a share of the peak.
  """

  warmup: core.Count = 0
  final: core.Fraction = 0.0

  def __call__(self, lr: float, updates: int) -> optax.Schedule:
    decay = optax.cosine_decay_schedule(lr, max(1, updates - self.warmup), self.final)
    return _after_warmup(self.warmup, lr, decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearDecay:
  """Linear warm-up, then a straight line from the peak down.

  warmup: the number of updates in which the learning rate rises to its peak.
  final: the learning rate at the end, as a share of the peak.
  """

  warmup: core.Count = 0
  final: core.Fraction = 0.0

  def __call__(self, lr: float, updates: int) -> optax.Schedule:
    decay = optax.linear_schedule(lr, self.final * lr, max(1, updates - self.warmup))
    return _after_warmup(self.warmup, lr, decay)


def _after_warmup(warmup: int, lr: float, schedule: optax.Schedule) -> optax.Schedule:
  """Returns a linear warm-up to lr over `warmup` updates, followed by the schedule."""
  if not warmup:
    return schedule
  # The first update already moves: its learning rate is lr / warmup, not zero.
  rise = optax.linear_schedule(lr / warmup, lr, max(1, warmup - 1))
  return optax.join_schedules([rise, schedule], [warmup])


# An instance maps (peak learning rate, number of updates) to an optax schedule.
SCHEDULES = {"constant": Constant, "warmup_cosine": CosineDecay, "warmup_linear": LinearDecay}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """The settings that all rules share.

  lr: the peak learning rate.
  schedule: how the learning rate changes over the updates of the group.
  clip: a gradient whose global norm is larger than this is scaled down to it; 0 never clips.
  decay_all: whether weight decay acts on every parameter. By default it acts only on those of two
    or more dimensions, which leaves out biases and the scales of normalization layers.
  """

  lr: core.Positive = 1e-3
  schedule: core.Schedule = Constant()
  clip: core.NonNegative = 0.0
  decay_all: bool = False

  def rule(self, updates: int) -> optax.GradientTransformation:
    """Returns the optax gradient transformation for a group that gets `updates` updates."""
    # The hyper-parameters of the rule are the fields that `Optimizer` does not have.
    own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    own = {name: value for name, value in own.items() if name not in _SHARED}

    # Not every rule has weight decay, so not every rule takes a mask.
    masks = [a for a in inspect.signature(self.optax_rule).parameters if a in _MASKS]
    if not self.decay_all:
      matrices = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
      own |= dict.fromkeys(masks, matrices)

    rule = self.optax_rule(learning_rate=self.schedule(self.lr, updates), **own)
    return optax.chain(optax.clip_by_global_norm(self.clip), rule) if self.clip else rule


_SHARED = frozenset(f.name for f in dataclasses.fields(Optimizer))
# optax has two names for the argument that selects the parameters with weight decay.
_MASKS = ("mask", "weight_decay_mask")


def _from_optax(name: str, rule: Callable) -> type[Optimizer]:
  """Returns the dataclass of an optax rule.

  Its fields beside those of `Optimizer` are the arguments of the rule that are numbers or booleans,
  with the defaults of optax.
  """
  defaults = {a.name: a.default for a in inspect.signature(rule).parameters.values()}
  if defaults.get("momentum", 0.0) is None:
    # The same as None, and a number that a configuration can override.
    defaults["momentum"] = 0.0

  numbers = {
    key: value
    for key, value in defaults.items()
    if isinstance(value, (bool, int, float)) and key not in (*_MASKS, "learning_rate")
  }

  return dataclasses.make_dataclass(
    name,
    [(key, type(value), dataclasses.field(default=value)) for key, value in numbers.items()],
    bases=(Optimizer,),
    namespace={"optax_rule": staticmethod(rule), "__doc__": f"optax's {name}."},
    frozen=True,
    kw_only=True,
  )


# name in a configuration: rule of optax
RULES = {
  "adabelief": optax.adabelief,
  "adadelta": optax.adadelta,
  "adafactor": optax.adafactor,
  "adagrad": optax.adagrad,
  "adam": optax.adam,
  "adamax": optax.adamax,
  "adamaxw": optax.adamaxw,
  "adamw": optax.adamw,
  "adan": optax.adan,
  "amsgrad": optax.amsgrad,
  "fromage": optax.fromage,
  "lamb": optax.lamb,
  "lars": optax.lars,
  "lion": optax.lion,
  "nadam": optax.nadam,
  "nadamw": optax.nadamw,
  "novograd": optax.novograd,
  "optimistic_adam": optax.optimistic_adam_v2,
  "optimistic_gradient_descent": optax.optimistic_gradient_descent,
  "radam": optax.radam,
  "rmsprop": optax.rmsprop,
  "sgd": optax.sgd,
  "sign_sgd": optax.sign_sgd,
  "signum": optax.signum,
  "yogi": optax.yogi,
  "acprop": optax.contrib.acprop,
  "ademamix": optax.contrib.ademamix,
  "adopt": optax.contrib.adopt,
  "dadapt_adamw": optax.contrib.dadapt_adamw,
  "dog": optax.contrib.dog,
  "dowg": optax.contrib.dowg,
  "madgrad": optax.contrib.madgrad,
  "muon": optax.contrib.muon,
  "prodigy": optax.contrib.prodigy,
  "schedule_free_adamw": optax.contrib.schedule_free_adamw,
  "schedule_free_sgd": optax.contrib.schedule_free_sgd,
  "simplified_ademamix": optax.contrib.simplified_ademamix,
}

OPTIMIZERS = {name: _from_optax(name, rule) for name, rule in RULES.items()}
