"""Guidance: a field made of a family's answers, so that no solver knows of it.

A family offers `Answers`; guidance chooses conditions and models, and combines pairs (x0, eps).
With a strong answer, of the model with its condition, and a weak one,

    guided = weak + scale (strong - weak)                                                     (1)

    classifier_free   weak: no condition                    Ho & Salimans 2022, arXiv:2207.12598
    autoguidance      weak: a worse model                     Karras et al. 2024, arXiv:2406.02507
    apg               as classifier_free; of d = strong - weak, with momentum and cut to `norm`,
                      mostly what is orthogonal to strong      Sadat et al. 2024, arXiv:2410.02416
    cfg++             x0 by (1), scale in [0, 1], but eps of the weak one: with DDIM alone, which
                      renoises with it                      Chung et al. 2024, arXiv:2406.08070
    classifier        eps - scale sigma grad_xt log p(label | xt)
                                                      Dhariwal & Nichol 2021, arXiv:2105.05233

scale = 1 is the strong model, 0 the weak one, above 1 trades diversity for clarity. The pair is
affine in the network's answer, so guiding the pair is guiding the answer. Outside start <= t <=
stop nothing is guided (Kynkäänniemi et al. 2024, arXiv:2404.07724). `rescale` gives that share of
the standard deviation of the strong x0 back (Lin et al. 2023, arXiv:2305.08891, eq. 15, 16).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from genjax import core
from genjax.samplers import solvers


class Answers(NamedTuple):
  """What guidance is made of.

  field: start and at(xt, t, memory, cond) of the model. cond, null: the conditions, and none.
  others: {group: the same of a model that guidance brings, or (xt, t) -> logits}.
  """

  field: solvers.VectorField
  process: Any
  cond: Any
  null: Any
  others: dict[str, Callable]


class Guidance:
  """networks: {group: module} of the models that config.load must bring."""

  needs_null: ClassVar[bool] = False  # whether the model must have learnt to do without a label
  consistent: ClassVar[bool] = True  # whether x0 and eps explain xt

  @property
  def networks(self) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unguided(Guidance):
  """The conditional field as it is."""

  def __call__(self, answers: Answers) -> solvers.VectorField:
    field = answers.field
    return solvers.VectorField(
      field.start, lambda xt, t, memory: field.at(xt, t, memory, answers.cond), field.fraction
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFree(Guidance):
  """Both conditions in one batch of twice the size."""

  scale: core.NonNegative = 2.0
  rescale: core.Fraction = 0.0
  start: core.Fraction = 0.0
  stop: core.Fraction = 1.0
  needs_null = True

  def __call__(self, answers):
    field, both, halves = _twice(answers)

    def at(xt, t, memory):
      (x0, weak), (eps, eps_weak), memory = halves(xt, t, memory)
      mix = _mix(self, t)
      guided = _rescaled(mix(x0, weak), x0, self.rescale)
      if not self.rescale:
        return guided, mix(eps, eps_weak), memory
      return guided, _eps(answers.process, xt, guided, t), memory

    return solvers.VectorField(lambda xt: field.start(_double(xt)), at, both)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoguidance(Guidance):
  """network: of the worse model, which has this one's process and prediction; group "guide"."""

  network: core.Network
  scale: core.NonNegative = 2.0
  start: core.Fraction = 0.0
  stop: core.Fraction = 1.0

  @property
  def networks(self):
    return {"guide": self.network}

  def __call__(self, answers):
    field, guide = answers.field, answers.others["guide"]

    def at(xt, t, memory):
      x0, eps, own = field.at(xt, t, memory[0], answers.cond)
      weak, eps_weak, other = guide(xt, t, memory[1], answers.cond)
      mix = _mix(self, t)
      return mix(x0, weak), mix(eps, eps_weak), (own, other)

    fraction = field.fraction and (lambda memory: field.fraction(memory[0]))
    return solvers.VectorField(lambda xt: (field.start(xt), field.start(xt)), at, fraction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Projected(Guidance):
  """norm: of the difference per example, as a root mean square; momentum: below 0 steps back."""

  scale: core.NonNegative = 4.0
  parallel: core.Fraction = 0.0
  norm: core.Positive = 1.0
  momentum: float = -0.5
  needs_null = True

  def __call__(self, answers):
    field, both, halves = _twice(answers)

    def at(xt, t, memory):
      inner, before = memory
      (strong, weak), _, inner = halves(xt, t, inner)
      d = strong - weak + self.momentum * before
      x0 = strong + (self.scale - 1) * self.projected(d, strong)
      return x0, _eps(answers.process, xt, x0, t), (inner, d)

    fraction = both and (lambda memory: both(memory[0]))
    start = lambda xt: (field.start(_double(xt)), jnp.zeros_like(xt))
    return solvers.VectorField(start, at, fraction)

  def projected(self, d, strong):
    """d cut to the norm, and the share `parallel` of what lies along strong."""
    d = d * jnp.minimum(1, self.norm / jnp.maximum(jnp.sqrt(_mean(d**2)), 1e-12))
    along = _mean(d * strong) / jnp.maximum(_mean(strong**2), 1e-12) * strong
    return d - along + self.parallel * along


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifold(Guidance):
  """cfg++."""

  scale: core.Fraction = 0.6
  needs_null = True
  consistent = False

  def __call__(self, answers):
    field, both, halves = _twice(answers)

    def at(xt, t, memory):
      (x0, weak), (_, eps_weak), memory = halves(xt, t, memory)
      return weak + self.scale * (x0 - weak), eps_weak, memory

    return solvers.VectorField(lambda xt: field.start(_double(xt)), at, both)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierGuidance(Guidance):
  """network: (xt/std(xt), c_noise(t)) -> logits; group "classifier", of families/classifier.py."""

  network: core.Network
  scale: core.NonNegative = 1.0

  @property
  def networks(self):
    return {"classifier": self.network}

  def __call__(self, answers):
    def log_p(xt, t):
      logits = jax.nn.log_softmax(answers.others["classifier"](xt, t))
      return jnp.take_along_axis(logits, answers.cond["label"][:, None], axis=1)[:, 0]

    return by_gradient(Unguided()(answers), answers.process, log_p, self.scale)


def by_gradient(
  field: solvers.VectorField,
  process,
  log_p: Callable[[jax.Array, jax.Array], jax.Array],
  scale: float,
) -> solvers.VectorField:
  """A field whose score has scale grad log_p(xt, t) added, log_p -> [N]."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0, eps, memory = field.at(xt, t, memory)
    slope = scale * jax.grad(lambda xt: jnp.sum(log_p(xt, t)))(xt)
    far = jnp.where(alpha > 0, sigma**2 / jnp.maximum(alpha, 1e-12), 0)
    return x0 + far * slope, eps - jnp.where(alpha > 0, sigma, 0) * slope, memory

  return solvers.VectorField(field.start, at, field.fraction)


def by_function(
  field: solvers.VectorField, process, reward: Callable[[jax.Array], jax.Array], scale: float
) -> solvers.VectorField:
  """Towards x0 of high reward(x0) -> [N], through the field (Chung et al. 2023, arXiv:2209.14687).

  The gradient is that of reward(x0(xt)) by xt, so each evaluation costs a backward pass as well.
  """
  log_p = lambda xt, t: reward(field.at(xt, t, field.start(xt))[0])
  return by_gradient(field, process, log_p, scale)


def clipped(
  field: solvers.VectorField, process, low: float, high: float, consistent: bool = True
) -> solvers.VectorField:
  """x0 cut to [low, high], and eps what xt then says it is (left alone unless `consistent`)."""

  def at(xt, t, memory):
    x0, eps, memory = field.at(xt, t, memory)
    x0 = jnp.clip(x0, low, high)
    return x0, _eps(process, xt, x0, t) if consistent else eps, memory

  return solvers.VectorField(field.start, at, field.fraction)


def _double(xt):
  return jnp.concatenate([xt, xt])


def _twice(answers):
  """The field, its `fraction` for the strong half, and both answers at once.

  halves(xt, t, memory) -> ((x0, weak x0), (eps, weak eps), memory)
  """
  field = answers.field
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), answers.cond, answers.null)

  def halves(xt, t, memory):
    x0, eps, memory = field.at(_double(xt), t, memory, both)
    return jnp.split(x0, 2), jnp.split(eps, 2), memory

  fraction = field.fraction and (lambda memory: jnp.split(field.fraction(memory), 2)[0])
  return field, fraction, halves


def _mix(guidance, t):
  """(strong, weak) -> (1), or strong where t is out of the interval."""
  inside = (t >= guidance.start) & (t <= guidance.stop)
  scale = jnp.where(inside, guidance.scale, 1.0)
  return lambda strong, weak: (1 - scale) * weak + scale * strong


def _rescaled(guided, strong, share):
  """`guided`, with its deviation brought back towards that of `strong`, per example."""
  if not share:
    return guided
  deviation = lambda a: jnp.sqrt(_mean((a - _mean(a)) ** 2))
  same = guided * deviation(strong) / jnp.maximum(deviation(guided), 1e-12)
  return share * same + (1 - share) * guided


def _eps(process, xt, x0, t):
  alpha, sigma = process.coefficients(t)
  return (xt - alpha * x0) / sigma


def _mean(a):
  """Over an example's dimensions, kept: [N, 1, ..., 1]."""
  return jnp.mean(a, axis=tuple(range(1, a.ndim)), keepdims=True)


GUIDANCE = {
  "none": Unguided,
  "classifier_free": ClassifierFree,
  "autoguidance": Autoguidance,
  "apg": Projected,
  "cfg++": Manifold,
  "classifier": ClassifierGuidance,
}
