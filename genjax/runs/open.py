"""A trained model with its parameters, as metrics, pictures and notebooks see it.

    run = open_run("runs/ddpm_mnist")
    x = run.sample(8, seed=0)
    x = run.sample(8, label=7)
    run.likelihood(x, label=np.full(8, 7))
    run.reconstruct(x)
    run.metrics()

Samples are drawn by one compiled function in chunks of one fixed size. Sample i is a pure function
of (seed, i) and of what it is drawn for, bitwise the same however many samples are drawn.
"""

import copy
import os
import pathlib
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from genjax import config as config_lib
from genjax import core, registry
from genjax.data import transforms
from genjax.evaluation import likelihoods, metrics
from genjax.runs import build, conditions, load, recorded
from genjax.training import checkpoints, sharding

# The entry of a chunk of samples that says which of them are not finite numbers.
FAULTY = "faulty"


class Run:
  """A model with its parameters, its data, and its samples, each made once.

  setup: everything that the configuration describes.
  params, buffers: the parameters that samples and metrics use, and the buffers beside them.
  step: the number of updates that made them.
  unaveraged: the parameters without their average.
  split: what metrics measure against: "test", or "valid" while training goes on.
  num: how many samples metrics look at.
  settings: {key: value} of what was asked for otherwise than the run was trained; {} is the run
    itself.
  progress: called with (done, total, what) while samples are drawn and examples are measured.
  """

  def __init__(
    self,
    setup: build.Setup,
    params: core.Params,
    buffers: core.Buffers,
    step: int,
    unaveraged: core.Params | None = None,
  ):
    self.setup = setup
    self.params = params
    self.buffers = buffers
    self.step = step
    self.unaveraged = params if unaveraged is None else unaveraged

    self.config = setup.config
    self.model = setup.model
    self.data = setup.data
    self.spec = setup.data.spec
    self.num = setup.config["num"]
    self.split = "test"
    self.settings: Mapping[str, Any] = {}
    self.progress: Callable[[int, int, str], None] = lambda done, total, what: None
    self.conditions = conditions.Conditions(getattr(self.model, "conditions", ()), setup.pipeline)
    self._drawn = {}  # (number of its first sample, split) -> a chunk of seed 0

  @classmethod
  def open(cls, workdir: pathlib.Path, config: Mapping[str, Any] | None = None) -> "Run":
    """Opens the newest checkpoint of a run directory.

    config: another configuration than the run's own, which differs in what may be changed after
      training.
    """
    own = config_lib.from_run(workdir)[0]
    config = own if config is None else config
    setup = build.assemble(config, workdir)
    state = load.newest(setup, checkpoints.Checkpoints(workdir))
    run = cls.of_state(setup, load.mixed(setup, workdir, state))
    run.settings = _settings(own, setup, workdir)
    return run

  @classmethod
  def of_state(cls, setup: build.Setup, state: core.TrainState) -> "Run":
    """Returns the run of a state, its parameters averaged as config.eval_ema says."""
    params = load.averaged(setup.config, state)
    return cls(setup, params, state.buffers, int(state.step), state.params)

  def against(self, split: str) -> "Run":
    """Returns the same run, measured against another split.

    Samples that are drawn for examples are drawn for those of that split.
    """
    other = copy.copy(self)
    other.split = split
    return other

  def told(self, said: Mapping[str, Any]) -> "Run":
    """Returns the same run, its samples drawn for what a person says.

    said: {field: values [K, *shape] or a core.Partial of them}, in model units; sample i is drawn
      for value i mod K.
    """
    other = copy.copy(self)
    other.conditions = conditions.Conditions(self.conditions.names, self.setup.pipeline, said)
    other._drawn = {}
    return other

  def raw(self) -> "Run":
    """Returns the same run with the parameters that were not averaged."""
    other = copy.copy(self)
    other.params = self.unaveraged
    other._drawn = {}
    return other

  def key(self, name: str) -> jax.Array:
    """Returns a key for one use in evaluation, never one of the training stream."""
    return jax.random.fold_in(jax.random.key(self.config["seed"]), zlib.crc32(name.encode()))

  def batch(self, split: str, n: int | None = None) -> core.Batch:
    """Returns the first n examples of a split (all by default), as models see them."""
    size = len(self.data.splits[split]["x"])
    return next(self.setup.pipeline.sequential(split, min(n or size, size)))

  # What a notebook asks for.

  def sample(self, num: int, seed: int = 0, **said: Any) -> np.ndarray:
    """Returns samples 0 ... num - 1 of a seed, [num, *event] in stored units.

    Stored units are those of the data: uint8 grey levels of pictures, else float32.

    said: what they are drawn for, by the names of the fields: one value, or several that are taken
      in turn, in model units. Without it, they are drawn as --mode=sample draws them.

    Raises UserError if the model has no samples, or is told nothing of a field.
    """
    if not hasattr(self.model, "sample"):
      raise core.UserError("this model has no samples")
    run = self.told(self._values(said)) if said else self
    samples, faulty = run.drawn(seed, num)
    if faulty:
      warnings.warn(f"{faulty:,} of {num:,} samples are not finite numbers", stacklevel=2)
    return samples["x"]

  def likelihood(self, x: np.ndarray, **given: Any) -> dict[str, np.ndarray]:
    """Returns {"NAME/KIND": log-likelihoods [N] in nats} of examples x [N, *event], stored units.

    given: the fields that the model is told, by their names, in model units.

    Raises UserError if the model has no likelihood, or a field is missing.
    """
    known = getattr(self.model, "likelihoods", {})
    if not known:
      raise core.UserError("this model has no likelihood")
    batch = {"x": self.seen(x), **self._cond(given, len(x))}
    values = {}
    for name, likelihood in known.items():
      key = self.key(f"likelihood/{name}")
      program = jax.jit(likelihood.log_prob)
      kind = likelihood.kind.replace(" ", "-")
      values[f"{name}/{kind}"] = likelihoods.over(self, program, batch, key)
    return values

  def reconstruct(self, x: np.ndarray, **given: Any) -> np.ndarray:
    """Returns what the model makes of examples x [N, *event], both in stored units.

    given: as in `likelihood`. Raises UserError if the model does not reconstruct.
    """
    if not hasattr(self.model, "reconstruct"):
      raise core.UserError("this model does not reconstruct")
    cond = self._cond(given, len(x))
    return self._again(self.seen(x), cond)

  def metrics(self, *names: str) -> dict[str, float]:
    """Returns the named metrics of evaluation/metrics.py, by default those of the configuration."""
    return metrics.measure(self, names or self.config["metrics"])

  def _values(self, said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is said as arrays [K, *shape] of the fields' types."""
    values = {}
    for name, value in said.items():
      if name not in self.conditions.names:
        raise core.unknown(
          "condition", name, self.conditions.names or ("this model is told nothing",)
        )
      field = self.spec.fields[name]
      shaped = lambda a, field=field: np.asarray(a, field.dtype).reshape(-1, *field.shape)
      values[name] = value if isinstance(value, core.Partial) else shaped(value)
    return values

  def _cond(self, given: Mapping[str, Any], n: int) -> core.Batch:
    """Returns the conditions of n examples; one value is taken for all of them."""
    values = self._values(given)
    for name in self.conditions.names:
      if name not in values:
        raise core.UserError(f"this model is told {name!r}; give it as {name}=...")
    turns = lambda a: np.asarray(a)[np.arange(n) % len(a)]
    return jax.tree.map(turns, values)

  # Samples and reconstructions, as pictures and metrics see them.

  def samples(self, n: int) -> dict[str, Any]:
    """Returns the first n samples of seed 0: "x" in stored units, and what each was drawn for.

    Raises NotFinite if some of them are not numbers.
    """
    samples, faulty = self.drawn(0, n)
    if faulty:
      raise core.NotFinite(f"{faulty:,} of {n:,} samples are not finite numbers")
    return samples

  def drawn(self, seed: int, num: int) -> tuple[dict[str, Any], int]:
    """Returns (samples 0 ... num - 1 of a seed, how many of them are not finite numbers)."""
    samples = joined(list(self.chunks(seed, num)))
    faulty = int(np.sum(samples.pop(FAULTY)))
    return samples, faulty

  def truth(self, n: int) -> np.ndarray | None:
    """Returns the x, in stored units, that the first n samples ought to be, or None."""
    if not self.conditions.true:
      return None
    return self.stored(self.conditions.truth(np.arange(n), self.split))

  def reconstructions(self, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (the first n examples of run.split, what the model makes of them), stored units."""
    batch = self.batch(self.split, n)
    cond = core.given(self.model, batch)
    return self.stored(batch["x"]), self._again(batch["x"], cond)

  def _again(self, x: np.ndarray, cond: core.Batch) -> np.ndarray:
    """Returns what the model makes of x, which is in model units, in stored units."""
    return self.stored(_local(self.setup.again(self.params, self.buffers, x, cond)))

  def chunks(self, seed: int, num: int) -> Iterator[dict[str, Any]]:
    """Yields samples 0 ... num - 1 of a seed, `sample_batch` at a time.

    A chunk holds "x", what its samples were drawn for, and FAULTY, bool: which samples are not
    finite numbers. The chunks that metrics need are kept.
    """
    size = self.config["sample_batch"]
    split = self.split if self.conditions.of_examples else ""
    for first in range(0, num, size):
      part = self._drawn.get((first, split)) if seed == 0 else None
      if part is None:
        part = self._chunk(seed, first)
      if seed == 0 and first < self.num:
        self._drawn[first, split] = part
      self.progress(min(first + size, num), num, "samples")
      yield jax.tree.map(lambda a: a[: num - first], part)  # noqa: B023 - used at once

  def _chunk(self, seed: int, first: int) -> dict[str, Any]:
    """Draws one chunk, see `chunks`."""
    cond = self._told_at(first)
    x = self.setup.sample(self.params, self.buffers, *self._inputs(seed, first, cond))
    x = _local(x)
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    return {"x": self.stored(x), **cond, FAULTY: ~finite}

  def trajectory(self, seed: int, num: int, frames: int) -> np.ndarray:
    """Returns the way to the first `num` samples, [frames, num, *event] in stored units.

    Its last frame is the samples. `num` is at most `sample_batch`.
    """
    inputs = self._inputs(seed, 0, self._told_at(0))
    film = self.setup.trajectory(self.params, self.buffers, *inputs, frames=frames)
    return self.stored(_local(film)[:, :num])

  def _told_at(self, first: int) -> core.Batch:
    """Returns the conditions of one chunk, all of it on every host."""
    index = first + np.arange(self.config["sample_batch"], dtype=np.int32)
    return self.conditions.at(index, self.split)

  def _inputs(
    self, seed: int, first: int, cond: core.Batch
  ) -> tuple[jax.Array, jax.Array, core.Batch]:
    """Returns the root key, the numbers of a chunk's samples and their cond, over the devices."""
    size = self.config["sample_batch"]
    index = first + np.arange(size, dtype=np.int32)
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"samples"))
    own = jax.tree.map(lambda a: a[sharding.rows(size)], {"index": index, "cond": cond})
    placed = sharding.place(own, sharding.mesh())
    return root, placed["index"], placed["cond"]

  def stored(self, x: np.ndarray) -> np.ndarray:
    """Returns x in the units of the data's columns: uint8 levels, or float32 as it is."""
    if self.spec.levels and self.spec.range:
      return transforms.quantize(x, self.spec.levels, self.spec.range)
    return np.asarray(x, np.float32)

  def seen(self, x: np.ndarray) -> np.ndarray:
    """Returns x as the model sees it: the inverse of `stored`."""
    if self.spec.levels and self.spec.range:
      return transforms.scale(np.asarray(x), self.spec.levels, self.spec.range)
    return np.asarray(x, self.spec.dtype)


def _settings(own: Mapping[str, Any], setup: build.Setup, workdir: pathlib.Path) -> dict[str, Any]:
  """Returns in what a configuration, or its data, differ from those that a run was trained with."""
  places = registry.view("data", own["data"], training=True)
  changed = config_lib.difference(own, setup.config)
  settings = {key: new for key, (_, new) in changed.items() if key not in places}
  if recorded.others(workdir, setup.data):
    settings["data.hash"] = setup.data.hash
  return settings


def open_run(workdir: str | pathlib.Path, overrides: Sequence[str] = ()) -> Run:
  """Returns the Run of a run directory's newest checkpoint.

  overrides: "key=value" of what may be changed after training, such as "model.sampler.steps=20".

  Raises core.UserError if this is no run directory.
  """
  workdir = pathlib.Path(os.path.expanduser(workdir))
  return Run.open(workdir, config_lib.from_run(workdir, overrides)[0])


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Returns chunks of samples as one."""
  return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _local(x: jax.Array) -> np.ndarray:
  """Returns all of an array that may be spread over hosts."""
  if jax.process_count() == 1:
    return np.asarray(x)
  from jax.experimental import multihost_utils

  return multihost_utils.process_allgather(x, tiled=True)
