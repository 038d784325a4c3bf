"""From a configuration to the objects that it describes: `assemble(config) -> Setup`."""

import dataclasses
import functools
import pathlib
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
from genjax.runs import recorded
from genjax.training import averages, optimizers, program, runtime, sharding
from genjax.training import step as step_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """Everything that a configuration describes, built.

  config: the complete configuration.
  source: where the data come from, and what training adds to them.
  task: what adds fields to the data.
  data: the data set; its spec has the fields of the task too.
  model: the generative model.
  rules: {group: its entry of config.optim}.
  optimizers: {group: the gradient transformation that this rule gives}.
  averages: {average: decay as a function of the step}.
  averaged: {average: the groups that it averages}.
  """

  config: Mapping[str, Any]
  source: sources.Source
  task: tasks.Task
  data: sources.Dataset
  model: core.GenerativeModel
  rules: Mapping[str, optimizers.Optimizer]
  optimizers: Mapping[str, optax.GradientTransformation]
  averages: Mapping[str, averages.Average]
  averaged: Mapping[str, tuple[str, ...]]

  @functools.cached_property
  def pipeline(self) -> pipeline.Pipeline:
    """The training batches."""
    return pipeline.Pipeline(
      dataset=self.data,
      source=self.source,
      split="train",
      batch=self.config["batch"],
      seed=self.config["seed"],
      task=self.task,
    )

  def batches(self, start: int, stop: int) -> Iterator[core.Batch]:
    """Yields this host's rows of the batches of the steps start ... stop - 1."""
    return self.pipeline.iterate(start, stop, sharding.rows(self.config["batch"]))

  def _initial(
    self, batch: core.Batch, loaded: Mapping[str, tuple], seed: jax.Array
  ) -> core.TrainState:
    return step_lib.initial_state(self.model, self.optimizers, self.averaged, batch, seed, loaded)

  def initial(self, over: jax.sharding.Mesh, loaded: Mapping[str, tuple]) -> core.TrainState:
    """Returns the state of step 0 on every device.

    loaded: {group: (params, buffers)} of the groups that other runs have trained.
    """
    batch = sharding.place(next(self.batches(0, 1)), over)
    start = jax.jit(self._initial, out_shardings=sharding.replicated(over))
    # The seed is an argument, so that all seeds share one compiled program.
    return start(batch, dict(loaded), np.uint32(self.config["seed"]))

  def abstract(
    self, over: jax.sharding.Mesh, loaded: Mapping[str, tuple] | None = None
  ) -> core.TrainState:
    """Returns the shapes, dtypes and sharding of a state; nothing is computed and no data read."""
    batch = self.pipeline.blank()
    shapes = jax.eval_shape(self._initial, batch, loaded or {}, np.uint32(0))
    where = sharding.replicated(over)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), shapes)

  def program(self, over: jax.sharding.Mesh) -> program.Program:
    """Returns the training step, which is compiled when it is first called."""
    accumulate = self.config["accumulate"]
    return program.Program(self.model, self.optimizers, self.averages, accumulate, over)

  @functools.cached_property
  def sample(self) -> runtime.Jit:
    """`model.sample`, compiled once: (params, buffers, root key, index [N], cond) -> x.

    Sample i has a key of its own, made of the root key and i.
    """

    def draw(params, buffers, root, index, cond):
      return self.model.sample(params, buffers, _keys(root, index), cond)

    return runtime.Jit(draw)

  @functools.cached_property
  def trajectory(self) -> runtime.Jit:
    """`model.trajectory`, compiled once: as `sample`, with a static number of frames at the end."""

    def draw(params, buffers, root, index, cond, frames):
      return self.model.trajectory(params, buffers, _keys(root, index), cond, frames)

    return runtime.Jit(draw, static_argnames="frames")

  @functools.cached_property
  def again(self) -> runtime.Jit:
    """`model.reconstruct`, compiled once: (params, buffers, x, cond) -> x."""
    return runtime.Jit(self.model.reconstruct)


def _keys(root: jax.Array, index: jax.Array) -> jax.Array:
  """Returns one key for each number in `index` [N]."""
  return jax.vmap(jax.random.fold_in, (None, 0))(root, index)


def assemble(config: Mapping[str, Any], workdir: pathlib.Path | None = None) -> Setup:
  """Builds all objects of a complete configuration.

  workdir: of a run that exists already. Where its data cannot be found, or are of another shape
    now, what it has recorded of them stands in.

  Raises UserError for what does not fit together.
  """
  source = registry.build("data", config["data"], {})
  task = registry.build("task", config["task"], {})
  data = _data(source, task, workdir)

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
    rules=rules,
    optimizers={g: rule.rule(updates[g]) for g, rule in rules.items()},
    averages=profiles,
    averaged={name: a.groups or tuple(updates) for name, a in profiles.items()},
  )


def _data(
  source: sources.Source, task: tasks.Task, workdir: pathlib.Path | None
) -> sources.Dataset:
  """Returns the data with the fields of the task, or what a run has recorded of them."""
  try:
    data = source.load()
  except core.UserError as e:
    known = recorded.dataset(workdir, str(e)) if workdir else None
    if known is None:
      raise
    return known

  try:
    data = data._replace(spec=data.spec.beside(**task.fields(data.spec)))
  except core.UserError as e:
    raise core.UserError(f"task: {e}") from None

  # A model fits the description that it was trained with, and no other.
  known = recorded.dataset(workdir, f"the data are others now: {data.origin}") if workdir else None
  return known if known and known.spec != data.spec else data


def _check_told(model: core.GenerativeModel, path: str) -> None:
  """Raises UserError for a network with conditions that its model does not pass to it."""
  known = set(getattr(model, "conditions", ()))
  for field in dataclasses.fields(model):
    inner = getattr(model, field.name)
    where = f"{path}.{field.name}"
    if hasattr(inner, "objectives"):
      _check_told(inner, where)
      continue

    # Networks are fields of the model, or fields of such a field.
    nested = dataclasses.fields(inner) if dataclasses.is_dataclass(inner) else ()
    parts = {where: inner, **{f"{where}.{f.name}": getattr(inner, f.name, None) for f in nested}}
    for name, part in parts.items():
      wanted = {c.partition(":")[0] for c in getattr(part, "conditions", ())}
      if isinstance(part, nn.Module) and wanted - known:
        raise core.UserError(
          f"{name}.conditions: {min(wanted - known)!r} is not told to this network"
        )


def _check_conditions(model: core.GenerativeModel, spec: core.DataSpec) -> None:
  """Raises UserError for a label that is a vector, where networks embed it by its number."""
  label = spec.fields.get("label")
  if label and not label.integer and "label" in getattr(model, "conditions", ()):
    raise core.UserError("data.one_hot=True: a conditional network embeds labels by number")


def _check_groups(
  config: Mapping[str, Any], model: core.GenerativeModel, updates: Mapping[str, int]
) -> None:
  """Raises UserError unless each trained group has an optimizer, and each pretrained one a run."""
  for group in config["optim"]:
    if group not in updates:
      raise core.unknown("group in optim", group, updates or ("no group has an objective",))
  for group in updates:
    if group not in config["optim"]:
      raise core.UserError(f"optim.{group} is missing: the model trains the group {group!r}")
  for group in model.pretrained:
    if group not in config["load"]:
      raise core.UserError(f"load.{group} is missing: the model needs that group trained before")
