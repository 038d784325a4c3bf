"""Guidance: combines a family's answers into one field, so that no solver knows about it.

A family offers `Answers`; a guidance method chooses which conditions and which models to evaluate,
and combines the pairs (x0, eps). With a strong answer, of the model with its condition, and a weak
answer,

    guided = weak + scale (strong - weak)                                                     (1)

    classifier_free   the weak answer is without a condition
                                                          Ho & Salimans 2022, arXiv:2207.12598
    autoguidance      the weak answer is a worse model's  Karras et al. 2024, arXiv:2406.02507
    apg               as classifier_free, but the difference strong - weak gets momentum, is cut to
                      `norm`, and keeps little of its part along the strong answer
                                                          Sadat et al. 2024, arXiv:2410.02416
    cfg++             x0 by (1) with scale in [0, 1], but the eps of the weak answer: works with
                      DDIM alone, which adds the noise eps again
                                                          Chung et al. 2024, arXiv:2406.08070
    classifier        eps - scale sigma grad_xt log p(label | xt)
                                                          Dhariwal & Nichol 2021, arXiv:2105.05233

A scale of 1 is the strong model and 0 the weak one; above 1 it trades diversity for clarity. The
pair is affine in the network's answer, so guiding the pair is the same as guiding the answer.

Outside start <= t <= stop the strong answer is used alone (Kynkäänniemi et al. 2024,
arXiv:2404.07724). Guidance raises the standard deviation of x0. A copy of the guided x0, scaled
back to the standard deviation of the strong x0, is mixed in with weight `rescale` (Lin et al. 2023,
arXiv:2305.08891, eq. 15 and 16).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import solvers


class Answers(NamedTuple):
  """What a family offers to guidance.

  field: the model, as start(xt) and at(xt, t, memory, cond): a field that still needs conditions.
  process: the Gaussian process that the model was trained with.
  cond: the conditions of the N examples, {name: [N, ...]}.
  null: the same fields with every condition hidden.
  others: {group: function} of the models that guidance brings: at(xt, t, memory, cond) like the
    model's own, or for "classifier" (xt, t) -> logits [N, classes].
  """

  field: solvers.VectorField
  process: Any
  cond: Any
  null: Any
  others: dict[str, Callable]


class Guidance:
  """What all guidance methods have: called with `Answers`, they return a field for a solver.

  needs_null: whether the model must have learnt to answer without a condition.
  consistent: whether x0 and eps together still make xt; if not, only DDIM may follow the field.
  """

  needs_null: ClassVar[bool] = False
  consistent: ClassVar[bool] = True

  @property
  def networks(self) -> dict[str, Any]:
    """{group: module} of further models, whose parameters config.load must bring."""
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unguided(Guidance):
  """The model with its condition, as it is."""

  def __call__(self, answers: Answers) -> solvers.VectorField:
    field = answers.field
    return solvers.VectorField(
      field.start, lambda xt, t, memory: field.at(xt, t, memory, answers.cond), field.fraction
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFree(Guidance):
  """Equation (1) with and without the condition, evaluated in one batch of twice the size.

  scale: of equation (1).
  rescale: weight of the guided x0 that is scaled back to the standard deviation of the strong x0.
  start: the smallest time at which the field is guided.
  stop: the largest time at which the field is guided.
  """

  scale: core.NonNegative = 2.0
  rescale: core.Fraction = 0.0
  start: core.Fraction = 0.0
  stop: core.Fraction = 1.0
  needs_null = True

  def __call__(self, answers: Answers) -> solvers.VectorField:
    field, fraction, halves = _twice(answers)

    def at(xt, t, memory):
      (x0, weak), (eps, eps_weak), memory = halves(xt, t, memory)
      mix = _mix(self, t)
      guided = _rescaled(mix(x0, weak), x0, self.rescale)
      if not self.rescale:
        return guided, mix(eps, eps_weak), memory
      # A rescaled x0 changes eps too: the pair must still make xt.
      return guided, _eps(answers.process, xt, guided, t), memory

    return solvers.VectorField(lambda xt: field.start(_double(xt)), at, fraction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoguidance(Guidance):
  """Equation (1) with a worse model of the same process and prediction; its group is "guide".

  network: the worse model's network.
  scale: of equation (1).
  start: the smallest time at which the field is guided.
  stop: the largest time at which the field is guided.
  """

  network: core.Network
  scale: core.NonNegative = 2.0
  start: core.Fraction = 0.0
  stop: core.Fraction = 1.0

  @property
  def networks(self) -> dict[str, Any]:
    """The worse model."""
    return {"guide": self.network}

  def __call__(self, answers: Answers) -> solvers.VectorField:
    field = answers.field
    guide = answers.others["guide"]

    # Each of the two models has a memory of its own.
    def at(xt, t, memory):
      x0, eps, own = field.at(xt, t, memory[0], answers.cond)
      weak, eps_weak, other = guide(xt, t, memory[1], answers.cond)
      mix = _mix(self, t)
      return mix(x0, weak), mix(eps, eps_weak), (own, other)

    fraction = field.fraction and (lambda memory: field.fraction(memory[0]))
    return solvers.VectorField(lambda xt: (field.start(xt), field.start(xt)), at, fraction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Projected(Guidance):
  """Adaptive projected guidance ("apg"): guides along the useful part of the difference.

  scale: of equation (1).
  parallel: share that is kept of the difference's part along the strong x0.
  norm: largest root mean square of the difference over the dimensions of an example.
  momentum: how much of the last step's difference is added; below 0 it is subtracted.
  """

  scale: core.NonNegative = 4.0
  parallel: core.Fraction = 0.0
  norm: core.Positive = 1.0
  momentum: float = -0.5
  needs_null = True

  def __call__(self, answers: Answers) -> solvers.VectorField:
    field, inner_fraction, halves = _twice(answers)

    # The memory is (the model's own, the last difference [N, *event]).
    def at(xt, t, memory):
      inner, before = memory
      (strong, weak), _, inner = halves(xt, t, inner)
      d = strong - weak + self.momentum * before
      # (1) in the form strong + (scale - 1) (strong - weak).
      x0 = strong + (self.scale - 1) * self.projected(d, strong)
      return x0, _eps(answers.process, xt, x0, t), (inner, d)

    fraction = inner_fraction and (lambda memory: inner_fraction(memory[0]))
    start = lambda xt: (field.start(_double(xt)), jnp.zeros_like(xt))
    return solvers.VectorField(start, at, fraction)

  def projected(self, d: jax.Array, strong: jax.Array) -> jax.Array:
    """Returns d [N, *event] cut to `norm`, with only `parallel` of its part along `strong`."""
    # 1e-12 keeps a difference of 0 from dividing by 0.
    d = d * jnp.minimum(1, self.norm / jnp.maximum(jnp.sqrt(_mean(d**2)), 1e-12))
    along = _mean(d * strong) / jnp.maximum(_mean(strong**2), 1e-12) * strong
    return d - along + self.parallel * along


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifold(Guidance):
  """The guidance "cfg++": x0 by equation (1), eps of the answer without the condition.

  scale: of equation (1), between the weak answer (0) and the strong one (1).
  """

  scale: core.Fraction = 0.6
  needs_null = True
  consistent = False

  def __call__(self, answers: Answers) -> solvers.VectorField:
    field, fraction, halves = _twice(answers)

    def at(xt, t, memory):
      (x0, weak), (_, eps_weak), memory = halves(xt, t, memory)
      return weak + self.scale * (x0 - weak), eps_weak, memory

    return solvers.VectorField(lambda xt: field.start(_double(xt)), at, fraction)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierGuidance(Guidance):
  """The gradient of a classifier of noisy x, which families/diffusion/classifier.py trains.

  network: (xt/std(xt), c_noise(t)) -> logits [N, classes]; its group is "classifier".
  scale: of the gradient.
  """

  network: core.Network
  scale: core.NonNegative = 1.0

  @property
  def networks(self) -> dict[str, Any]:
    """The classifier."""
    return {"classifier": self.network}

  def __call__(self, answers: Answers) -> solvers.VectorField:
    def log_p(xt, t):
      log_probs = jax.nn.log_softmax(answers.others["classifier"](xt, t))  # [N, classes]
      return jnp.take_along_axis(log_probs, answers.cond["label"][:, None], axis=1)[:, 0]

    return by_gradient(Unguided()(answers), answers.process, log_p, self.scale)


def by_gradient(
  field: solvers.VectorField,
  process: gaussian.Process,
  log_p: Callable[[jax.Array, jax.Array], jax.Array],
  scale: float,
) -> solvers.VectorField:
  """Returns the field whose score has scale grad_xt log_p(xt, t) added.

  log_p: (xt [N, *event], t) -> [N].
  """

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0, eps, memory = field.at(xt, t, memory)
    # Example i of the sum depends on xt[i] alone, so this is the gradient of each.
    slope = scale * jax.grad(lambda xt: jnp.sum(log_p(xt, t)))(xt)

    # score = -eps/sigma, and x0 moves so that the pair still makes xt. At pure noise no x0 could do
    # that, and the pair stays as it is.
    far = jnp.where(alpha > 0, sigma**2 / jnp.maximum(alpha, 1e-12), 0)
    return x0 + far * slope, eps - jnp.where(alpha > 0, sigma, 0) * slope, memory

  return solvers.VectorField(field.start, at, field.fraction)


def by_function(
  field: solvers.VectorField,
  process: gaussian.Process,
  reward: Callable[[jax.Array], jax.Array],
  scale: float,
) -> solvers.VectorField:
  """Returns the field guided towards x0 of high reward (Chung et al. 2023, arXiv:2209.14687).

  reward: x0 [N, *event] -> [N].

  The gradient is that of reward(x0(xt)) by xt, so each evaluation costs a backward pass through the
  field as well.
  """
  log_p = lambda xt, t: reward(field.at(xt, t, field.start(xt))[0])
  return by_gradient(field, process, log_p, scale)


def clipped(
  field: solvers.VectorField,
  process: gaussian.Process,
  low: float,
  high: float,
  consistent: bool = True,
) -> solvers.VectorField:
  """Returns the field with x0 clipped to [low, high].

  consistent: whether eps is computed anew from xt and the clipped x0; else eps stays as it is.
  """

  def at(xt, t, memory):
    x0, eps, memory = field.at(xt, t, memory)
    x0 = jnp.clip(x0, low, high)
    return x0, _eps(process, xt, x0, t) if consistent else eps, memory

  return solvers.VectorField(field.start, at, field.fraction)


def _double(xt: jax.Array) -> jax.Array:
  """Returns xt twice, one copy after the other: [2N, *event]."""
  return jnp.concatenate([xt, xt])


def _twice(
  answers: Answers,
) -> tuple[solvers.VectorField, Callable | None, Callable]:
  """Evaluates the model with and without its condition in one batch of 2N.

  Returns the model's field, the `fraction` of the strong half (None if there is none), and

      halves(xt, t, memory) -> ((x0, weak x0), (eps, weak eps), memory)
  """
  field = answers.field
  # The strong half comes first, here and in all that follows.
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), answers.cond, answers.null)

  def halves(xt, t, memory):
    x0, eps, memory = field.at(_double(xt), t, memory, both)
    return jnp.split(x0, 2), jnp.split(eps, 2), memory

  fraction = field.fraction and (lambda memory: jnp.split(field.fraction(memory), 2)[0])
  return field, fraction, halves


def _mix(
  guidance: ClassifierFree | Autoguidance, t: jax.Array
) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Returns the function (strong, weak) -> (1), which gives `strong` outside start <= t <= stop."""
  # A scale of 1 is the strong answer.
  inside = (t >= guidance.start) & (t <= guidance.stop)
  scale = jnp.where(inside, guidance.scale, 1.0)
  return lambda strong, weak: (1 - scale) * weak + scale * strong


def _rescaled(guided: jax.Array, strong: jax.Array, share: float) -> jax.Array:
  """Returns `guided` mixed with a copy that has the standard deviation of `strong`.

  guided, strong: [N, *event]; a standard deviation is taken over the dimensions of each example.
  share: weight of the copy.
  """
  if not share:
    return guided

  # Equations 15 and 16 of the paper.
  deviation = lambda a: jnp.sqrt(_mean((a - _mean(a)) ** 2))
  same = guided * deviation(strong) / jnp.maximum(deviation(guided), 1e-12)
  return share * same + (1 - share) * guided


def _eps(process: gaussian.Process, xt: jax.Array, x0: jax.Array, t: jax.Array) -> jax.Array:
  """Returns the eps with which x0 makes xt."""
  alpha, sigma = process.coefficients(t)
  return (xt - alpha * x0) / sigma


def _mean(a: jax.Array) -> jax.Array:
  """Returns the mean over the dimensions of each example, [N, *event] -> [N, 1, ..., 1]."""
  return jnp.mean(a, axis=tuple(range(1, a.ndim)), keepdims=True)


GUIDANCE = {
  "none": Unguided,
  "classifier_free": ClassifierFree,
  "autoguidance": Autoguidance,
  "apg": Projected,
  "cfg++": Manifold,
  "classifier": ClassifierGuidance,
}
