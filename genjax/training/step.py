"""All of training, for every family: the due objectives in order, `refresh`, the averages.

No branch looks at the family. An objective's loss is differentiated with respect to the groups it
trains and no other, so there is no stop_gradient to forget. The step is one pure function of
(state, batch); which objectives are due is static, so a family has as many compiled programs as it
has combinations of due objectives (one for most, two for a GAN with five critic steps).
"""

import itertools
import zlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from genjax import core


def descend(objective, optimizers, params, buffers, opt_state, batch, key, step, accumulate=1):
  """One gradient step of one objective, on the groups it trains and no other.

  With `accumulate` = n the batch is cut into n slices whose gradients are averaged: the buffers see
  the slices in order, refresh, averages and cadences see one step.
  """

  def loss(own, buffers, batch, key):
    return objective.loss({**params, **own}, buffers, batch, key, step)

  own = {group: params[group] for group in objective.trains}
  (value, (buffers, logs)), grads = _gradient(loss, own, buffers, batch, key, accumulate)
  for group in objective.trains:
    updates, moments = optimizers[group].update(grads[group], opt_state[group], params[group])
    params = {**params, group: optax.apply_updates(params[group], updates)}
    opt_state = {**opt_state, group: moments}
  logs = {"loss": value, "grad_norm": optax.tree.norm(grads), **logs}
  return params, buffers, opt_state, {f"{objective.name}/{k}": v for k, v in logs.items()}


def _gradient(loss, own, buffers, batch, key, slices):
  """Value and gradient of the loss, as the mean over `slices` of the batch."""
  value_and_grad = jax.value_and_grad(loss, has_aux=True)
  if slices == 1:
    return value_and_grad(own, buffers, batch, key)
  # Interleaved, so that a batch cut over devices is cut into slices on each of them.
  batch = jax.tree.map(lambda a: a.reshape(-1, slices, *a.shape[1:]).swapaxes(0, 1), batch)

  def body(buffers, inputs):
    (value, (buffers, logs)), grads = value_and_grad(own, buffers, *inputs)
    return buffers, (value, logs, grads)

  buffers, parts = jax.lax.scan(body, buffers, (batch, jax.random.split(key, slices)))
  value, logs, grads = jax.tree.map(lambda a: jnp.mean(a, 0), parts)
  return (value, (buffers, logs)), grads


def train_step(model, optimizers, averages, state, batch, *, due, accumulate=1):
  """Due objectives in order, then refresh, then the averages; a non-finite step changes nothing.

  due: the indices of the due objectives, static under jit.
  Returns the new state and {name: scalar}. After the first step whose metrics or parameters are not
  all finite, `state.halted` holds that step and the state stays as it was before it: the last good
  state survives donation, and the host may look at `halted` as rarely as it likes.
  """
  params, buffers, opt_state, metrics = state.params, state.buffers, state.opt_state, {}
  *keys, last = jax.random.split(
    jax.random.fold_in(state.key, state.step), len(model.objectives) + 1
  )
  for i in due:
    params, buffers, opt_state, logs = descend(
      model.objectives[i], optimizers, params, buffers, opt_state, batch, keys[i], state.step,
      accumulate,
    )  # fmt: skip
    metrics |= logs
  params, buffers, logs = model.refresh(params, buffers, batch, last, state.step)
  metrics |= logs
  ema = {
    name: optax.incremental_update(
      {group: params[group] for group in groups}, groups, 1 - averages[name](state.step)
    )
    for name, groups in state.ema.items()
  }
  checked = [*metrics.values(), *(optax.tree.norm(params[g]) for g in params)]
  finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(v)) for v in checked]))
  fine = (state.halted < 0) & finite
  new = state._replace(
    params=params, buffers=buffers, opt_state=opt_state, ema=ema, step=state.step + 1
  )
  new = jax.tree.map(lambda a, b: a if a is b else jnp.where(fine, a, b), new, state)
  halted = jnp.where((state.halted < 0) & ~finite, state.step, state.halted)
  return new._replace(halted=halted), metrics


def due_at(model: core.GenerativeModel, step: int) -> tuple[int, ...]:
  """The indices of the objectives that are due at a step."""
  return tuple(i for i, objective in enumerate(model.objectives) if objective.due(step))


def updates(model: core.GenerativeModel, steps: int) -> dict[str, int]:
  """How many updates each trained group gets in `steps`: what its learning-rate schedule spans."""
  count = dict.fromkeys((group for o in model.objectives for group in o.trains), 0)
  for objective in model.objectives:
    times = sum(1 for step in range(steps) if objective.due(step))
    for group in objective.trains:
      count[group] += times
  return count


def initial_state(
  model: core.GenerativeModel,
  optimizers: Mapping[str, optax.GradientTransformation],
  averaged: Mapping[str, tuple[str, ...]],
  batch: core.Batch,
  seed: int | jax.Array,
  loaded: Mapping[str, tuple],
) -> core.TrainState:
  """The state of step 0. averaged: {average: groups}; loaded: {group: (params, buffers)}."""
  # A domain of its own: samples and metrics fold other words into the same seed.
  root, first = jax.random.split(jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"train")))
  params, buffers = model.init(first, batch, dict(loaded))
  for group in itertools.chain(*averaged.values()):
    if group not in params:
      raise core.unknown("group in ema", group, params)
  # A weakly typed array (a filled constant) would change type in the first step, and recompile it.
  params, buffers = jax.tree.map(lambda a: jnp.asarray(a, a.dtype), (params, buffers))
  return core.TrainState(
    step=jnp.zeros((), jnp.int32),
    key=root,
    params=params,
    buffers=buffers,
    opt_state={group: rule.init(params[group]) for group, rule in optimizers.items()},
    # Copies: a donated state must not hold one array twice.
    ema=jax.tree.map(jnp.copy, {n: {g: params[g] for g in gs} for n, gs in averaged.items()}),
    halted=jnp.full((), -1, jnp.int32),
  )
