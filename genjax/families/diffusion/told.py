"""What the network of a diffusion model is told beside xt and t.

conditions   the fields of the batch that the model names; training hides all of them from a
             share of the examples, for guidance without conditions
"beside"     with `self_condition`, an x0: zeros at the start of sampling, then the last x0; in
             training, for half of the examples, a first guess
                                                     Chen et al. 2023, arXiv:2208.04202
"""

from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import fields
from genjax.processes import gaussian


def partly_hidden(model: Any, key: jax.Array, cond: core.Batch, batch: int) -> core.Batch:
  """Returns the conditions of `batch` examples, hidden for the share `model.hide` of them."""
  if not model.hide:
    return cond
  return core.hidden(cond, model.spec, jax.random.bernoulli(key, model.hide, (batch,)))


def first(model: Any, x: jax.Array, cond: core.Batch) -> core.Batch:
  """Returns the conditions as the network first sees them, with an x0 of zeros beside xt."""
  return cond | {"beside": jnp.zeros_like(x)} if model.self_condition else cond


def guessed(
  model: Any,
  params: core.Params,
  buffers: core.Buffers,
  xt: jax.Array,
  t: jax.Array,
  cond: core.Batch,
  key: jax.Array,
) -> core.Batch:
  """Returns the conditions with, for half of the examples, a first guess of x0 beside xt.

  xt: [B, *event].
  t: times, [B].
  """
  cond = first(model, xt, cond)
  if not model.self_condition:
    return cond

  # As published, no gradient flows through the guess.
  out, _, _ = model.answer(params, buffers, xt, t, cond)
  x0, _ = gaussian.solve(model.process, model.prediction, jax.lax.stop_gradient(out), xt, t)
  seen = core.expand(jax.random.bernoulli(key, 0.5, t.shape), x0)
  return cond | {"beside": jnp.where(seen, fields.cut(x0, model.spec), 0)}
