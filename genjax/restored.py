"""A configuration made into objects (`assemble`), and with its trained parameters (`Run`).

A `Run` is what metrics, pictures and the report see: model, averaged parameters, data and samples,
each made once. Samples are drawn by one function in chunks of one fixed size: sample i is a pure
function of (seed, i), bitwise the same for any number of them.
"""

import copy
import dataclasses
import functools
import json
import pathlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from genjax import config as config_lib
from genjax import core, registry
from genjax.data import pipeline, sources, transforms
from genjax.training import averages, checkpoints, program, runtime, sharding
from genjax.training import step as step_lib

COMPLETED = 1000  # pictures at most that samples start from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """Everything that a configuration describes, built.

  averages: {average: decay of the step}; averaged: {average: its groups}.
  """

  config: Mapping[str, Any]
  source: sources.Source
  data: sources.Dataset
  model: core.GenerativeModel
  optimizers: Mapping[str, optax.GradientTransformation]
  averages: Mapping[str, averages.Average]
  averaged: Mapping[str, tuple[str, ...]]

  @functools.cached_property
  def pipeline(self) -> pipeline.Pipeline:
    """The training batches."""
    return pipeline.Pipeline(
      self.data, self.source, "train", self.config["batch"], self.config["seed"]
    )

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
    """model.sample compiled once: (params, buffers, root key, index [N]) -> (x, cond)."""

    def draw(params, buffers, root, index):
      keys, cond = self._inputs(root, index)
      return self.model.sample(params, buffers, keys, cond), cond

    return runtime.Jit(draw)

  @functools.cached_property
  def trajectory(self):
    """model.trajectory likewise, with a static number of frames at the end."""

    def draw(params, buffers, root, index, frames):
      return self.model.trajectory(params, buffers, *self._inputs(root, index), frames)

    return runtime.Jit(draw, static_argnames="frames")

  @functools.cached_property
  def again(self):
    """model.reconstruct compiled once: (params, buffers, x, cond) -> x."""
    return runtime.Jit(self.model.reconstruct)

  def _inputs(self, root, index):
    """Sample i has a key of its own."""
    return jax.vmap(jax.random.fold_in, (None, 0))(root, index), self.conditions(index)

  def conditions(self, index: jax.Array) -> dict[str, jax.Array]:
    """cond of the samples of these numbers [N]: the label i modulo the number of classes, and the
    i-th picture of the validation split to complete."""
    fill = {
      "label": lambda: index % self.data.spec.classes,
      "known": lambda: jnp.asarray(self._unfinished)[index % len(self._unfinished)],
    }
    return {name: fill[name]() for name in self.model.conditions}

  @functools.cached_property
  def _unfinished(self):
    return next(self.pipeline.sequential("valid", COMPLETED))["x"]


def assemble(config: Mapping[str, Any]) -> Setup:
  """Builds a complete configuration. UserError for what does not fit together."""
  source = registry.build("data", config["data"], {})
  data = source.load()
  given = {
    "spec": data.spec,
    "total_steps": config["steps"],
    "dtype": jnp.dtype(config["dtype"]),
  }
  model = registry.build("model", config["model"], given)
  if source.one_hot and "label" in getattr(model, "conditions", ()):
    raise core.UserError("data.one_hot=True: a conditional network embeds labels by number")
  updates = step_lib.updates(model, config["steps"])
  for group in config["optim"]:
    if group not in updates:
      raise core.unknown("group in optim", group, updates or ("no group has an objective",))
  for group in updates:
    if group not in config["optim"]:
      raise core.UserError(f"optim.{group} is missing: the model trains the group {group!r}")
  for group in model.pretrained:
    if group not in config["load"]:
      raise core.UserError(f"load.{group} is missing: the model needs that group trained before")
  rules = {g: registry.build("optim", config["optim"][g], {}, f"optim.{g}") for g in updates}
  profiles = {name: averages.Average(**fields) for name, fields in config["ema"].items()}
  return Setup(
    config=config,
    source=source,
    data=data,
    model=model,
    optimizers={g: rule.rule(updates[g]) for g, rule in rules.items()},
    averages=profiles,
    averaged={name: a.groups or tuple(updates) for name, a in profiles.items()},
  )


class Run:
  """A model with its parameters, as metrics and pictures see it.

  step: of the parameters; num: how many samples metrics look at; unaveraged: the raw parameters.
  split: what they measure against, "test"; while training goes on `against("valid")`.
  """

  def __init__(
    self,
    setup: Setup,
    params: core.Params,
    buffers: core.Buffers,
    step: int,
    unaveraged: core.Params | None = None,
  ):
    self.setup, self.params, self.buffers, self.step = setup, params, buffers, step
    self.unaveraged = params if unaveraged is None else unaveraged
    self.split = "test"
    self.config, self.model, self.data = setup.config, setup.model, setup.data
    self.spec, self.num = setup.data.spec, setup.config["num"]
    self._drawn = {}  # chunks of seed 0 by the number of their first sample

  def against(self, split: str) -> "Run":
    """The same run, its samples too, measured against another split."""
    other = copy.copy(self)
    other.split = split
    return other

  @classmethod
  def of_state(cls, setup: Setup, state: core.TrainState) -> "Run":
    """With the average that config.eval_ema names in the place of the raw parameters."""
    average = setup.config["eval_ema"]
    params = {**state.params, **(state.ema[average] if average else {})}
    return cls(setup, params, state.buffers, int(state.step), state.params)

  def raw(self) -> "Run":
    """The same run without the average."""
    return Run(self.setup, self.unaveraged, self.buffers, self.step).against(self.split)

  @classmethod
  def open(cls, workdir: pathlib.Path, config: Mapping[str, Any] | None = None) -> "Run":
    """Of a run directory's newest checkpoint, under its own configuration or another."""
    config = config_lib.from_run(workdir)[0] if config is None else config
    setup = assemble(config)
    state = restore(setup, workdir)
    if config["eval_ema"].startswith("@"):
      state = state._replace(ema={config["eval_ema"]: reconstructed(setup, workdir, state)})
    return cls.of_state(setup, state)

  def key(self, name: str) -> jax.Array:
    """A key for one use in evaluation, never of the training stream."""
    return jax.random.fold_in(jax.random.key(self.config["seed"]), zlib.crc32(name.encode()))

  def batch(self, split: str, n: int | None = None) -> core.Batch:
    """The first n examples of a split, as models see them."""
    size = len(self.data.splits[split]["x"])
    return next(self.setup.pipeline.sequential(split, min(n or size, size)))

  def samples(self, n: int) -> dict[str, np.ndarray]:
    """The first n samples of seed 0: "x" in stored units and the conditions it was drawn for."""
    parts = list(self.chunks(0, n))
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

  def reconstructions(self, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(the first n examples of run.split, what the model makes of them), in stored units."""
    batch = self.batch(self.split, n)
    cond = core.given(self.model, batch)
    again = self.setup.again(self.params, self.buffers, batch["x"], cond)
    return self.stored(batch["x"]), self.stored(_local(again))

  def chunks(self, seed: int, num: int) -> Iterator[dict[str, np.ndarray]]:
    """Samples 0 ... num - 1 of a seed, `sample_batch` at a time; those of `num` are kept."""
    size = self.config["sample_batch"]
    for first in range(0, num, size):
      part = self._drawn.get(first) if seed == 0 else None
      if part is None:
        x, cond = self.setup.sample(self.params, self.buffers, *self._inputs(seed, first))
        part = {"x": self.stored(_local(x)), **{k: _local(v) for k, v in cond.items()}}
      if seed == 0 and first < self.num:
        self._drawn[first] = part
      yield {k: v[: num - first] for k, v in part.items()}

  def trajectory(self, seed: int, num: int, frames: int) -> np.ndarray:
    """[frames, num, *event] of the first chunk, in stored units; its last frame are its samples."""
    film = self.setup.trajectory(self.params, self.buffers, *self._inputs(seed, 0), frames=frames)
    return self.stored(_local(film)[:, :num])

  def _inputs(self, seed, first):
    """The root key and the numbers of one chunk's samples, cut over the devices."""
    size = self.config["sample_batch"]
    index = (first + np.arange(size, dtype=np.int32))[sharding.rows(size)]
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"samples"))
    return root, sharding.place({"index": index}, sharding.mesh())["index"]

  def stored(self, x: np.ndarray) -> np.ndarray:
    """Model units to those of the data's columns: uint8 levels, or float32 as it is."""
    if self.spec.levels and self.spec.range:
      return transforms.quantize(x, self.spec.levels, self.spec.range)
    return np.asarray(x, np.float32)


def restore(setup: Setup, workdir: pathlib.Path) -> core.TrainState:
  """The newest checkpoint of a run directory, on every device."""
  same_data(setup, workdir)
  return newest(setup, checkpoints.Checkpoints(workdir))


def newest(setup: Setup, saved: checkpoints.Checkpoints) -> core.TrainState:
  """The newest of the checkpoints, on every device.

  Groups that it lacks, since the run was trained without what now guides it, come from config.load.
  """
  like = setup.abstract(sharding.mesh())
  groups = saved.groups()
  extra = [group for group in setup.model.pretrained if groups and group not in groups]
  loaded = load(setup, sharding.mesh(), extra)
  own = lambda tree: {name: a for name, a in tree.items() if name not in extra}
  state = saved.restore(like._replace(params=own(like.params), buffers=own(like.buffers)))
  place = lambda i, tree: {**tree, **{group: loaded[group][i] for group in extra}}
  return state._replace(params=place(0, state.params), buffers=place(1, state.buffers))


def reconstructed(setup: Setup, workdir: pathlib.Path, state: core.TrainState) -> core.Params:
  """The average of the width that config.eval_ema asks for, at the newest step.

  From all "power" averages in the checkpoints that are there; see training/averages.py.
  UserError if there are fewer than two.
  """
  saved = checkpoints.Checkpoints(workdir)
  profiles = {n: a for n, a in setup.averages.items() if a.profile == "power"}
  have = [(step, profile.width) for step in saved.steps() for profile in profiles.values()]
  if len(have) < 2:
    raise core.UserError(
      f"eval_ema={setup.config['eval_ema']!r} needs averages of profile 'power' at two widths, or "
      f"of several steps (milestone_every); {workdir} holds {len(have)}"
    )
  wanted = averages.width(setup.config["eval_ema"])
  shares = iter(averages.mixture(have, (int(state.step), wanted)))
  total = None
  for step in saved.steps():
    kept = saved.averages(state, step)
    for name in profiles:
      part = jax.tree.map(functools.partial(jnp.multiply, next(shares)), kept[name])
      total = part if total is None else jax.tree.map(jnp.add, total, part)
  return total


def same_data(setup: Setup, workdir: pathlib.Path) -> None:
  """UserError if a run was trained on other data than the same configuration finds now."""
  if (workdir / "run.json").is_file():
    before = json.loads((workdir / "run.json").read_text())["data"]
    if before["hash"] != setup.data.hash:
      raise core.UserError(
        f"{workdir} was trained on other data ({before['origin']}); now there is "
        f"{setup.data.origin}"
      )


def load(setup: Setup, over, groups: Iterable[str] | None = None) -> dict[str, tuple]:
  """{group: (params, buffers)} of config.load. UserError unless they are this model's arrays.

  groups: those wanted; all that are there if not said.
  """
  wanted = setup.config["load"]
  wanted = {group: wanted[group] for group in (wanted if groups is None else groups)}
  if not wanted:
    return {}
  loaded = {group: load_group(where) for group, where in wanted.items()}
  given = {group: loaded[group] for group in setup.model.pretrained if group in loaded}
  params = setup.abstract(over, given).params
  for group, (own, _) in loaded.items():
    if group not in params:
      raise core.unknown("group in load", group, params)
    checkpoints.compare(f"load.{group}: ", own, params[group])
  return loaded


def load_group(where: str) -> tuple[Any, Any]:
  """(params, buffers) of "runs/NAME:group", averaged, or "runs/NAME:group@raw"."""
  path, _, group = where.rpartition(":")
  group, _, raw = group.partition("@")
  if raw not in ("", "raw"):
    raise core.UserError(f"load: {where!r} ends in @{raw}, expected @raw or nothing")
  if not path:
    raise core.UserError(f"load: {where!r} names no group, expected runs/NAME:GROUP")
  try:
    config = config_lib.of_run(path)
  except core.UserError as e:
    raise core.UserError(f"load: {e}") from None
  run = Run.open(pathlib.Path(path), {**config, "eval_ema": ""} if raw else config)
  if group not in run.params:
    raise core.unknown(f"group in {path}", group, run.params)
  return run.params[group], run.buffers.get(group, {})


def _local(x: jax.Array) -> np.ndarray:
  """All of an array that may be spread over hosts."""
  if jax.process_count() == 1:
    return np.asarray(x)
  from jax.experimental import multihost_utils

  return multihost_utils.process_allgather(x, tiled=True)
