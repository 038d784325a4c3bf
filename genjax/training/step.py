"""The training step of every family: due objectives in order, then `refresh`, then averages.

No branch looks at the family. The loss of an objective is differentiated with respect to the groups
that the objective trains and no others, so there is no stop_gradient to forget.

The step is one pure function of (state, batch). Which objectives are due is static, so a model has
one compiled program for each combination of due objectives: one for most models, two for a GAN with
five critic steps.
"""

import itertools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from genjax import core


def descend(
  objective: core.Objective,
  optimizers: Mapping[str, optax.GradientTransformation],
  params: core.Params,
  buffers: core.Buffers,
  opt_state: dict[str, Any],
  batch: core.Batch,
  key: jax.Array,
  step: jax.Array,
  accumulate: int = 1,
) -> tuple[core.Params, core.Buffers, dict[str, Any], core.Metrics]:
  """Makes one gradient step of one objective, on the groups that it trains and no others.

  accumulate: the number of slices that the batch is cut into; their gradients are averaged. The
    buffers see the slices one after another; everything else sees one step.

  Returns (params, buffers, opt_state, metrics), metrics being {"OBJECTIVE/NAME": scalar}.
  """

  def loss(own, buffers, batch, key):
    return objective.loss({**params, **own}, buffers, batch, key, step)

  own = {group: params[group] for group in objective.trains}
  (value, (buffers, logs)), grads = _gradient(loss, own, buffers, batch, key, accumulate)

  for group in objective.trains:
    updates, moments = optimizers[group].update(grads[group], opt_state[group], params[group])
    params = {**params, group: optax.apply_updates(params[group], updates)}
    opt_state = {**opt_state, group: moments}

  # The objective's own metrics come last: they may replace these two.
  logs = {"loss": value, "grad_norm": optax.tree.norm(grads), **logs}
  return params, buffers, opt_state, {f"{objective.name}/{k}": v for k, v in logs.items()}


def _gradient(
  loss: Callable[..., Any],
  own: core.Params,
  buffers: core.Buffers,
  batch: core.Batch,
  key: jax.Array,
  slices: int,
) -> tuple[Any, core.Params]:
  """Returns ((value, (buffers, metrics)), gradients), each but the buffers a mean over the slices.

  own: the groups with respect to which the loss is differentiated.
  """
  value_and_grad = jax.value_and_grad(loss, has_aux=True)
  if slices == 1:
    return value_and_grad(own, buffers, batch, key)

  # [B, ...] -> [slices, B / slices, ...]. Slice i takes the rows i, i + slices, ... So a batch that
  # is cut over devices is cut into slices on each of them, and no row moves.
  batch = jax.tree.map(lambda a: a.reshape(-1, slices, *a.shape[1:]).swapaxes(0, 1), batch)

  def body(buffers, inputs):
    (value, (buffers, logs)), grads = value_and_grad(own, buffers, *inputs)
    return buffers, (value, logs, grads)

  buffers, parts = jax.lax.scan(body, buffers, (batch, jax.random.split(key, slices)))
  value, logs, grads = jax.tree.map(lambda a: jnp.mean(a, 0), parts)
  return (value, (buffers, logs)), grads


def train_step(
  model: core.GenerativeModel,
  optimizers: Mapping[str, optax.GradientTransformation],
  averages: Mapping[str, Callable[[jax.Array], jax.Array]],
  state: core.TrainState,
  batch: core.Batch,
  *,
  due: tuple[int, ...],
  accumulate: int = 1,
) -> tuple[core.TrainState, core.Metrics]:
  """Makes one training step and returns (state, {metric: scalar}).

  averages: {average: step -> decay}.
  due: the indices of the due objectives, static under jit.
  accumulate: the number of slices over which gradients are averaged, see `descend`.

  After the first step whose metrics or parameters are not all finite, `state.halted` holds that
  step, and the state stays as it was before it, now and in all later steps. So the last good state
  survives donation, and the host may look at `halted` as rarely as it likes.
  """
  params = state.params
  buffers = state.buffers
  opt_state = state.opt_state
  metrics = {}
  # A key for each objective, due or not, and one for refresh.
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
      {group: params[group] for group in average}, average, 1 - averages[name](state.step)
    )
    for name, average in state.ema.items()
  }

  # The norm of a group is not finite if any of its parameters is not.
  checked = [*metrics.values(), *(optax.tree.norm(params[g]) for g in params)]
  finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(v)) for v in checked]))

  # The first step that is not finite, and every step after it, returns the old state.
  fine = (state.halted < 0) & finite
  new = state._replace(
    params=params, buffers=buffers, opt_state=opt_state, ema=ema, step=state.step + 1
  )
  # An array that this step did not change is one object in both states: nothing to select.
  new = jax.tree.map(lambda a, b: a if a is b else jnp.where(fine, a, b), new, state)
  halted = jnp.where((state.halted < 0) & ~finite, state.step, state.halted)
  return new._replace(halted=halted), metrics


def due_at(model: core.GenerativeModel, step: int) -> tuple[int, ...]:
  """Returns the indices of the objectives that are due at a step."""
  return tuple(i for i, objective in enumerate(model.objectives) if objective.due(step))


def updates(model: core.GenerativeModel, steps: int) -> dict[str, int]:
  """Returns {trained group: number of updates in `steps` steps}.

  The learning-rate schedule of a group extends over this number of updates.
  """
  count = dict.fromkeys((group for o in model.objectives for group in o.trains), 0)
  for objective in model.objectives:
    for group in objective.trains:
      count[group] += objective.due.count(steps)
  return count


def initial_state(
  model: core.GenerativeModel,
  optimizers: Mapping[str, optax.GradientTransformation],
  averaged: Mapping[str, tuple[str, ...]],
  batch: core.Batch,
  seed: int | jax.Array,
  loaded: Mapping[str, tuple],
) -> core.TrainState:
  """Returns the state of step 0.

  optimizers: {trained group: optimizer}.
  averaged: {average: its groups}.
  batch: gives the shapes of the data, and examples to models that begin from data.
  loaded: {group: (params, buffers)} of groups that another run has trained.

  Raises UserError if an average names a group that the model does not have.
  """
  # The word keeps these keys apart from those of samples and metrics, which use the same seed.
  root, first = jax.random.split(jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"train")))
  params, buffers = model.init(first, batch, dict(loaded))

  for group in itertools.chain(*averaged.values()):
    if group not in params:
      raise core.unknown("group in ema", group, params)

  # A weakly typed array (such as a filled constant) would change its type in the first step, and
  # the second step would be compiled again.
  params, buffers = jax.tree.map(lambda a: jnp.asarray(a, a.dtype), (params, buffers))
  averages = {name: {g: params[g] for g in groups} for name, groups in averaged.items()}
  return core.TrainState(
    step=jnp.zeros((), jnp.int32),
    key=root,
    params=params,
    buffers=buffers,
    opt_state={group: rule.init(params[group]) for group, rule in optimizers.items()},
    # Copies, since a donated state must not hold one array twice.
    ema=jax.tree.map(jnp.copy, averages),
    halted=jnp.full((), -1, jnp.int32),
  )
