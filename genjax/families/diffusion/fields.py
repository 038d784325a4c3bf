"""The fields that solvers and likelihoods follow, made of the networks of a diffusion model.

A field gives the pair (x0, eps) that a network believes in at xt [N, *event] and t, see
samplers/solvers.py. Each function takes the model, a Diffusion, as its first argument.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import guidance, solvers


def guided(
  model: Any, params: core.Params, buffers: core.Buffers, cond: core.Batch
) -> solvers.VectorField:
  """Returns the field that sampling follows: guided, then clipped to the data's range."""
  # The unconditional answer is the one for hidden conditions; the single entry is broadcast.
  all_of_them = jnp.ones(1, bool)
  null = core.hidden(cond, model.spec, all_of_them)

  # In the form of hidden conditions, where real fields are core.Partial.
  real = lambda name: not model.spec.fields[name].integer
  cond = {name: core.partial(a) if real(name) else a for name, a in cond.items()}

  others = {}
  for group, net in model.guidance.networks.items():
    if group == "classifier":
      others[group] = classifier(model, params, buffers, net)
    else:
      others[group] = conditional(model, params, buffers, net, group).at

  own = conditional(model, params, buffers, model.network, "denoiser")
  field = model.guidance(guidance.Answers(own, model.process, cond, null, others))
  if model.clip and model.spec.range:
    limits = (*model.spec.range, model.guidance.consistent)
    return guidance.clipped(field, model.process, *limits)
  return field


def plain(
  model: Any,
  params: core.Params,
  buffers: core.Buffers,
  cond: core.Batch,
  group: str = "denoiser",
) -> solvers.VectorField:
  """Returns the field of the denoiser, or of its teacher, without guidance or clipping."""
  own = conditional(model, params, buffers, model.network, group)
  return guidance.Unguided()(guidance.Answers(own, model.process, cond, {}, {}))


def conditional(
  model: Any, params: core.Params, buffers: core.Buffers, network: Any, group: str
) -> solvers.VectorField:
  """Returns the field of a network, whose `at` also takes the conditions; t a scalar or [N].

  Its memory holds the last x0 ("beside") and the variance's fraction, where they are used.
  """

  def at(xt, t, memory, cond):
    t = jnp.broadcast_to(t, len(xt))
    cond = cond | {k: v for k, v in memory.items() if k == "beside"}
    out, fraction, _ = model.answer(params, buffers, xt, t, cond, network=network, group=group)
    x0, eps = gaussian.solve(model.process, model.prediction, out, xt, t)

    new = {"beside": cut(x0, model.spec), "fraction": fraction}
    return x0, eps, {name: new[name] for name in memory}

  def start(xt):
    names = ["beside"] * model.self_condition + ["fraction"] * model.learn_variance
    return {name: jnp.zeros_like(xt) for name in names}

  fraction = (lambda memory: memory["fraction"]) if model.learn_variance else None
  return solvers.VectorField(start, at, fraction)


def classifier(
  model: Any, params: core.Params, buffers: core.Buffers, network: Any
) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Returns the classifier that guides, a function (xt, t) -> [N, classes]."""

  def logits(xt, t):
    seen = model.process.seen(xt, jnp.broadcast_to(t, len(xt)))
    return core.call(network, "classifier", params, buffers, *seen, {})[0]

  return logits


def cut(x0: jax.Array, spec: core.DataSpec) -> jax.Array:
  """Returns x0 cut to the data's range, if there is one."""
  return jnp.clip(x0, *spec.range) if spec.range else x0
