"""A configuration made into objects: `assemble(config) -> Setup`."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from genjax import core, registry
from genjax.data import pipeline, tasks
from genjax.data.sources import base as sources
from genjax.training import averages, program, runtime, sharding
from genjax.training import step as step_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """Everything that a configuration describes, built.

  averages: {average: decay of the step}; averaged: {average: its groups}.
  """

  config: Mapping[str, Any]
  source: sources.Source
  task: tasks.Task
  data: sources.Dataset
  model: core.GenerativeModel
  optimizers: Mapping[str, optax.GradientTransformation]
  averages: Mapping[str, averages.Average]
  averaged: Mapping[str, tuple[str, ...]]

  @functools.cached_property
  def pipeline(self) -> pipeline.Pipeline:
    """The training batches."""
    batch, seed = self.config["batch"], self.config["seed"]
    return pipeline.Pipeline(self.data, self.source, "train", batch, seed, self.task)

  def batches(self, start: int, stop: int) -> Iterator[core.Batch]:
    """This host's rows of the batches of the steps start ... stop - 1."""
    return self.pipeline.iterate(start, stop, sharding.rows(self.config["batch"]))

  def _initial(self, batch, loaded, seed):
    return step_lib.initial_state(self.model, self.optimizers, self.averaged, batch, seed, loaded)

  def initial(self, over, loaded: Mapping[str, tuple]) -> core.TrainState:
    """The state of step 0 on every device."""
    batch = sharding.place(next(self.batches(0, 1)), over)
    start = jax.jit(self._initial, out_shardings=sharding.replicated(over))
    return start(batch, dict(loaded), np.uint32(self.config["seed"]))  # one program for all seeds

  def abstract(self, over, loaded: Mapping[str, tuple] | None = None) -> core.TrainState:
    """Its shapes, dtypes and sharding; nothing is computed."""
    shapes = jax.eval_shape(self._initial, self.pipeline.at(0), loaded or {}, np.uint32(0))
    where = sharding.replicated(over)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), shapes)

  def program(self, over) -> program.Program:
    """The training step, compiled when it is first called."""
    accumulate = self.config["accumulate"]
    return program.Program(self.model, self.optimizers, self.averages, accumulate, over)

  @functools.cached_property
  def sample(self):
    """model.sample compiled once: (params, buffers, root key, index [N], cond) -> x.

    Sample i has a key of its own, made of the root key and its number.
    """

    def draw(params, buffers, root, index, cond):
      return self.model.sample(params, buffers, _keys(root, index), cond)

    return runtime.Jit(draw)

  @functools.cached_property
  def trajectory(self):
    """model.trajectory likewise, with a static number of frames at the end."""

    def draw(params, buffers, root, index, cond, frames):
      return self.model.trajectory(params, buffers, _keys(root, index), cond, frames)

    return runtime.Jit(draw, static_argnames="frames")

  @functools.cached_property
  def again(self):
    """model.reconstruct compiled once: (params, buffers, x, cond) -> x."""
    return runtime.Jit(self.model.reconstruct)


def _keys(root, index):
  return jax.vmap(jax.random.fold_in, (None, 0))(root, index)


def assemble(config: Mapping[str, Any]) -> Setup:
  """Builds a complete configuration. UserError for what does not fit together."""
  source = registry.build("data", config["data"], {})
  task = registry.build("task", config["task"], {})
  data = source.load()
  try:
    data = data._replace(spec=data.spec.beside(**task.fields(data.spec)))
  except core.UserError as e:
    raise core.UserError(f"task: {e}") from None
  given = {
    "spec": data.spec,
    "total_steps": config["steps"],
    "dtype": jnp.dtype(config["dtype"]),
  }
  model = registry.build("model", config["model"], given)
  _check_told(model, "model")
  _check_conditions(model, data.spec)
  updates = step_lib.updates(model, config["steps"])
  _check_groups(config, model, updates)
  rules = {g: registry.build("optim", config["optim"][g], {}, f"optim.{g}") for g in updates}
  profiles = {name: averages.Average(**fields) for name, fields in config["ema"].items()}
  return Setup(
    config=config,
    source=source,
    task=task,
    data=data,
    model=model,
    optimizers={g: rule.rule(updates[g]) for g, rule in rules.items()},
    averages=profiles,
    averaged={name: a.groups or tuple(updates) for name, a in profiles.items()},
  )


def _check_told(model, path):
  """UserError for a network with conditions that its model does not tell it."""
  known = set(getattr(model, "conditions", ()))
  for field in dataclasses.fields(model):
    inner, where = getattr(model, field.name), f"{path}.{field.name}"
    if hasattr(inner, "objectives"):
      _check_told(inner, where)
      continue
    nested = dataclasses.fields(inner) if dataclasses.is_dataclass(inner) else ()
    parts = {where: inner, **{f"{where}.{f.name}": getattr(inner, f.name, None) for f in nested}}
    for name, part in parts.items():
      untold = set(c.partition(":")[0] for c in getattr(part, "conditions", ())) - known
      if isinstance(part, nn.Module) and untold:
        raise core.UserError(f"{name}.conditions: {min(untold)!r} is not told to this network")


def _check_conditions(model, spec):
  """UserError for a label that is a vector, where networks embed it by its number."""
  label = spec.fields.get("label")
  if label and not label.integer and "label" in getattr(model, "conditions", ()):
    raise core.UserError("data.one_hot=True: a conditional network embeds labels by number")


def _check_groups(config, model, updates):
  """UserError unless each trained group has an optimizer, and each pretrained one a run."""
  for group in config["optim"]:
    if group not in updates:
      raise core.unknown("group in optim", group, updates or ("no group has an objective",))
  for group in updates:
    if group not in config["optim"]:
      raise core.UserError(f"optim.{group} is missing: the model trains the group {group!r}")
  for group in model.pretrained:
    if group not in config["load"]:
      raise core.UserError(f"load.{group} is missing: the model needs that group trained before")
