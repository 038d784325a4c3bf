"""Optimizers from data: dict(name="adam", lr=1e-3, schedule=dict(name="warmup_cosine"), clip=1.).

Every optax rule below is a dataclass whose fields are the rule's own hyper-parameters and those of
`Optimizer`. Left out are the rules that take no schedule (rprop, sm3, cocob), need more than a
gradient (polyak_sgd, lbfgs, momo, sophia, dpsgd, noisy_sgd), wrap another rule (galore,
schedule_free) or have been replaced (optimistic_adam). One optimizer serves one parameter group;
its schedule counts that group's own updates.
"""

import dataclasses
import inspect
from collections.abc import Callable

import jax
import optax

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
  """lr, after a linear warm-up over the first `warmup` updates."""

  warmup: core.Count = 0

  def __call__(self, lr: float, updates: int) -> optax.Schedule:
    return _after_warmup(self.warmup, lr, optax.constant_schedule(lr))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineDecay:
  """Warm-up, then half a cosine from lr to `final` lr (Loshchilov & Hutter 2017)."""

  warmup: core.Count = 0
  final: core.Fraction = 0.0

  def __call__(self, lr: float, updates: int) -> optax.Schedule:
    decay = optax.cosine_decay_schedule(lr, max(1, updates - self.warmup), self.final)
    return _after_warmup(self.warmup, lr, decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearDecay:
  """Warm-up, then a straight line from lr to `final` lr."""

  warmup: core.Count = 0
  final: core.Fraction = 0.0

  def __call__(self, lr: float, updates: int) -> optax.Schedule:
    decay = optax.linear_schedule(lr, self.final * lr, max(1, updates - self.warmup))
    return _after_warmup(self.warmup, lr, decay)


def _after_warmup(warmup: int, lr: float, schedule: optax.Schedule) -> optax.Schedule:
  if not warmup:
    return schedule
  # The first update already moves: lr / warmup, not zero.
  return optax.join_schedules(
    [optax.linear_schedule(lr / warmup, lr, max(1, warmup - 1)), schedule], [warmup]
  )


SCHEDULES = {"constant": Constant, "warmup_cosine": CosineDecay, "warmup_linear": LinearDecay}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """What every rule takes beside its own hyper-parameters.

  lr: peak learning rate; schedule: its course over the group's updates.
  clip: the gradient's global norm is cut to this, 0 for never.
  decay_all: weight decay on every parameter, not only on those of two or more dimensions (the
    default leaves out biases and norms).
  """

  lr: core.Positive = 1e-3
  schedule: core.Schedule = Constant()
  clip: core.NonNegative = 0.0
  decay_all: bool = False

  def rule(self, updates: int) -> optax.GradientTransformation:
    """The gradient transformation for a group that gets `updates` of them."""
    own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    own = {name: value for name, value in own.items() if name not in _SHARED}
    masks = [a for a in inspect.signature(self.optax_rule).parameters if a in _MASKS]
    if not self.decay_all:
      own |= dict.fromkeys(masks, lambda params: jax.tree.map(lambda p: p.ndim > 1, params))
    rule = self.optax_rule(learning_rate=self.schedule(self.lr, updates), **own)
    return optax.chain(optax.clip_by_global_norm(self.clip), rule) if self.clip else rule


_SHARED = frozenset(f.name for f in dataclasses.fields(Optimizer))
_MASKS = ("mask", "weight_decay_mask")  # optax's two names for the parameters to decay


def _from_optax(name: str, rule: Callable) -> type[Optimizer]:
  """The dataclass of an optax rule: its number-valued arguments, with optax's defaults."""
  defaults = {a.name: a.default for a in inspect.signature(rule).parameters.values()}
  if defaults.get("momentum", 0.0) is None:
    defaults["momentum"] = 0.0  # the same as none, and a number that a config can override
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
