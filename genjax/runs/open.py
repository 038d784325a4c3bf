"""A trained model with its parameters, as metrics, pictures and notebooks see it.

    run = open_run("runs/ddpm_mnist")
    run.samples(16)["x"]

Samples are drawn by one function in chunks of one fixed size: sample i is a pure function of
(seed, i), and of what it is drawn for, bitwise the same for any number of them.
"""

import copy
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from genjax import config as config_lib
from genjax import core
from genjax.data import transforms
from genjax.runs import build, conditions, load
from genjax.training import sharding


class Run:
  """A model with its parameters, and its data and samples, each made once.

  step: of the parameters; num: how many samples metrics look at; unaveraged: the raw parameters.
  split: what they measure against, "test"; while training goes on `against("valid")`.
  """

  def __init__(
    self,
    setup: build.Setup,
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
    self.conditions = conditions.Conditions(getattr(self.model, "conditions", ()), setup.pipeline)
    self._drawn = {}  # chunks of seed 0 by the number of their first sample, and the split

  def against(self, split: str) -> "Run":
    """The same run, measured against another split; its samples too, unless drawn for examples."""
    other = copy.copy(self)
    other.split = split
    return other

  def told(self, said: Mapping[str, Any]) -> "Run":
    """The same run, its samples drawn for what a person says: {field: [K, *shape] or a Partial}."""
    other = copy.copy(self)
    other.conditions = conditions.Conditions(self.conditions.names, self.setup.pipeline, said)
    other._drawn = {}
    return other

  @classmethod
  def of_state(cls, setup: build.Setup, state: core.TrainState) -> "Run":
    """With the average that config.eval_ema names in the place of the raw parameters."""
    params = load.averaged(setup.config, state)
    return cls(setup, params, state.buffers, int(state.step), state.params)

  def raw(self) -> "Run":
    """The same run without the average."""
    return Run(self.setup, self.unaveraged, self.buffers, self.step).against(self.split)

  @classmethod
  def open(cls, workdir: pathlib.Path, config: Mapping[str, Any] | None = None) -> "Run":
    """Of a run directory's newest checkpoint, under its own configuration or another."""
    config = config_lib.from_run(workdir)[0] if config is None else config
    setup = build.assemble(config)
    return cls.of_state(setup, load.mixed(setup, workdir, load.restore(setup, workdir)))

  def key(self, name: str) -> jax.Array:
    """A key for one use in evaluation, never of the training stream."""
    return jax.random.fold_in(jax.random.key(self.config["seed"]), zlib.crc32(name.encode()))

  def batch(self, split: str, n: int | None = None) -> core.Batch:
    """The first n examples of a split, as models see them."""
    size = len(self.data.splits[split]["x"])
    return next(self.setup.pipeline.sequential(split, min(n or size, size)))

  def samples(self, n: int) -> dict[str, Any]:
    """The first n samples of seed 0: "x" in stored units and the conditions it was drawn for."""
    return joined(list(self.chunks(0, n)))

  def truth(self, n: int) -> np.ndarray | None:
    """The x, in stored units, that the first n samples are asked for; None where there is none."""
    if not self.conditions.true:
      return None
    return self.stored(self.conditions.truth(np.arange(n), self.split))

  def reconstructions(self, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(the first n examples of run.split, what the model makes of them), in stored units."""
    batch = self.batch(self.split, n)
    cond = core.given(self.model, batch)
    again = self.setup.again(self.params, self.buffers, batch["x"], cond)
    return self.stored(batch["x"]), self.stored(_local(again))

  def chunks(self, seed: int, num: int) -> Iterator[dict[str, Any]]:
    """Samples 0 ... num - 1 of a seed, `sample_batch` at a time; those of `num` are kept."""
    size = self.config["sample_batch"]
    split = self.split if self.conditions.of_examples else ""
    for first in range(0, num, size):
      part = self._drawn.get((first, split)) if seed == 0 else None
      if part is None:
        part = self._chunk(seed, first)
      if seed == 0 and first < self.num:
        self._drawn[first, split] = part
      yield jax.tree.map(lambda a: a[: num - first], part)  # noqa: B023 - used at once

  def _chunk(self, seed, first):
    """One chunk: "x" in stored units, and what it was drawn for."""
    cond = self._cond(first)
    x = self.setup.sample(self.params, self.buffers, *self._inputs(seed, first, cond))
    return {"x": self.stored(_local(x)), **cond}

  def trajectory(self, seed: int, num: int, frames: int) -> np.ndarray:
    """[frames, num, *event] of the first chunk, in stored units; its last frame are its samples."""
    inputs = self._inputs(seed, 0, self._cond(0))
    film = self.setup.trajectory(self.params, self.buffers, *inputs, frames=frames)
    return self.stored(_local(film)[:, :num])

  def _cond(self, first):
    """cond of one chunk, all of it on every host."""
    size = self.config["sample_batch"]
    return self.conditions.at(first + np.arange(size, dtype=np.int32), self.split)

  def _inputs(self, seed, first, cond):
    """The root key, the numbers of one chunk's samples and their cond, cut over the devices."""
    size = self.config["sample_batch"]
    index = first + np.arange(size, dtype=np.int32)
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"samples"))
    own = jax.tree.map(lambda a: a[sharding.rows(size)], {"index": index, "cond": cond})
    placed = sharding.place(own, sharding.mesh())
    return root, placed["index"], placed["cond"]

  def stored(self, x: np.ndarray) -> np.ndarray:
    """Model units to those of the data's columns: uint8 levels, or float32 as it is."""
    if self.spec.levels and self.spec.range:
      return transforms.quantize(x, self.spec.levels, self.spec.range)
    return np.asarray(x, np.float32)


def open_run(workdir: str | pathlib.Path, overrides: Sequence[str] = ()) -> Run:
  """The Run of a run directory's newest checkpoint.

  overrides: "key=value" of what may be changed after training, such as "model.sampler.steps=20".
  Raises core.UserError if this is no run directory.
  """
  workdir = pathlib.Path(workdir)
  return Run.open(workdir, config_lib.from_run(workdir, overrides)[0])


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Chunks of samples as one."""
  return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _local(x: jax.Array) -> np.ndarray:
  """All of an array that may be spread over hosts."""
  if jax.process_count() == 1:
    return np.asarray(x)
  from jax.experimental import multihost_utils

  return multihost_utils.process_allgather(x, tiled=True)
