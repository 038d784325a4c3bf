"""Checkpoints of the whole TrainState, written by orbax; a resumed run is bitwise the same.

<workdir>/checkpoints/<step>/ holds the items params, buffers, ema, optimizer and meta (step, key,
halted). Saves run in the background. A checkpoint appears under its step only when it is complete.
"""

import concurrent.futures
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from genjax import core
from genjax.training import loop

ITEMS = ("params", "buffers", "ema", "optimizer", "meta")


def _items(state: core.TrainState) -> dict[str, Any]:
  """Returns {item: {"step": step, "tree": the part of the state in this item}}."""
  meta = {"step": state.step, "key": state.key, "halted": state.halted}
  trees = (state.params, state.buffers, state.ema, state.opt_state, meta)
  # The step is in every item since orbax saves no empty tree, such as an ema without averages.
  return {name: {"step": state.step, "tree": tree} for name, tree in zip(ITEMS, trees)}


class Checkpoints:
  """Saves and restores the checkpoints of one run directory.

  keep: how many of the newest checkpoints stay.
  milestone_every: the checkpoints at multiples of this step stay too, 0 for none.
  """

  def __init__(self, workdir: pathlib.Path, keep: int = 1, milestone_every: int = 0):
    self.directory = pathlib.Path(workdir).absolute() / "checkpoints"
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      keep_period=milestone_every or None,
      enable_async_checkpointing=True,
      create=False,
    )
    self.options = options
    self._manager = None
    self._writer = concurrent.futures.ThreadPoolExecutor(1)
    self._last = None  # the future of the last save

  @property
  def manager(self) -> ocp.CheckpointManager:
    """The orbax manager, made at first use: only looking must not create the directory."""
    if self._manager is None:
      self.directory.mkdir(parents=True, exist_ok=True)
      handlers = {name: ocp.StandardCheckpointHandler() for name in ITEMS}
      self._manager = ocp.CheckpointManager(
        self.directory,
        options=self.options,
        item_handlers=handlers,
      )
    return self._manager

  def latest(self) -> int | None:
    """Returns the newest step that has a checkpoint, None if there is no checkpoint."""
    return self.manager.latest_step() if self.directory.is_dir() else None

  def save(self, state: core.TrainState, wait: bool = False) -> None:
    """Saves the state in the background, unless its step has a checkpoint already.

    A halted state replaces a checkpoint of the same step, which was saved before it was known that
    training halts there. With `wait`, returns only when the checkpoint is complete. Raises the
    error of the save before this one, if it failed.
    """
    if jax.process_count() > 1:
      # Hosts wait for each other inside orbax, so all must call it in the same order: no thread.
      self._save(state)
    else:
      # A thread, since orbax takes half a millisecond for each array before it returns.
      # A copy, since the next step overwrites the arrays of this state.
      self._join()
      self._last = self._writer.submit(self._save, loop.copy(state))
    if wait:
      self.wait()

  def _save(self, state: core.TrainState) -> None:
    step = int(state.step)
    halted = int(state.halted) >= 0
    there = step in self.manager.all_steps()

    if there and halted:
      self.manager.wait_until_finished()
      self.manager.delete(step)
    if not there or halted:
      items = {name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()}
      self.manager.save(step, args=ocp.args.Composite(**items), force=True)

  def _join(self) -> None:
    """Waits for the thread of the last save and raises its error, once."""
    if self._last is not None:
      last = self._last
      self._last = None
      last.result()

  def wait(self) -> None:
    """Waits until everything that is being saved is complete."""
    self._join()
    if self._manager is not None:
      self._manager.wait_until_finished()

  def restore(self, like: core.TrainState, step: int | None = None) -> core.TrainState:
    """Returns the saved state of a step (the newest by default).

    like: a state, of arrays or of jax.ShapeDtypeStruct, that gives shapes, dtypes and sharding.

    Raises UserError if there is no checkpoint, or if a saved array has another shape or dtype than
    in `like`: nothing is cast.
    """
    step = self.latest() if step is None else step
    if step is None:
      raise core.UserError(f"{self.directory} holds no checkpoint")

    wanted = jax.tree.map(_abstract, _items(like))
    self._check(step, wanted)
    args = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
    items = self.manager.restore(step, args=ocp.args.Composite(**args))

    # The other items have the names of fields of TrainState.
    trees = {name: items[name]["tree"] for name in ITEMS}
    meta = trees.pop("meta")
    return core.TrainState(opt_state=trees.pop("optimizer"), **trees, **meta)

  def steps(self) -> list[int]:
    """Returns the steps that have a checkpoint, in ascending order."""
    return sorted(self.manager.all_steps()) if self.directory.is_dir() else []

  def averages(self, like: core.TrainState, step: int) -> dict[str, core.Params]:
    """Returns `state.ema` of a step and reads nothing else of its checkpoint."""
    wanted = jax.tree.map(_abstract, _items(like)["ema"])
    args = ocp.args.Composite(ema=ocp.args.StandardRestore(wanted))
    return self.manager.restore(step, args=args)["ema"]["tree"]

  def groups(self) -> frozenset[str]:
    """Returns the parameter groups in the newest checkpoint; empty if there is no checkpoint."""
    step = self.latest()
    if step is None:
      return frozenset()
    return frozenset(self.manager.item_metadata(step)["params"].tree["tree"])

  def _check(self, step: int, wanted: dict[str, Any]) -> None:
    """Raises UserError if the checkpoint of a step does not fit the wanted items."""
    # Orbax itself casts dtypes silently, and reports another shape by a traceback.
    metadata = self.manager.item_metadata(step)
    for name in ITEMS:
      compare(f"checkpoint {step}: {name}", metadata[name].tree["tree"], wanted[name]["tree"])

  def close(self) -> None:
    """Waits for what is being saved, then ends the thread and the orbax manager."""
    self.wait()
    self._writer.shutdown()
    if self._manager is not None:
      self._manager.close()


def compare(what: str, have: Any, want: Any) -> None:
  """Raises UserError that names the first array in which two trees differ.

  Compares structure, shapes and dtypes, not values. what: what the message calls the tree `have`.
  """
  have = _leaves(have)
  want = _leaves(want)
  for path in sorted({*have, *want}):
    if have.get(path) != want.get(path):
      raise core.UserError(
        f"{what}{path} is {have.get(path, 'missing')} there, expected {want.get(path, 'nothing')}"
      )


def _abstract(a: Any) -> jax.ShapeDtypeStruct:
  """Returns the shape, dtype and sharding of an array."""
  return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding)


def _leaves(tree: Any) -> dict[str, str]:
  """Returns {path: "dtype[shape]"} of the arrays in a tree.

  A path is the same for a NamedTuple or dataclass and for the plain dict or list that orbax makes
  of it.
  """
  leaves = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if leaf is None:
      continue
    # Orbax stores a random key as the integers that it consists of.
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.eval_shape(jax.random.key_data, leaf)

    # An entry of a path has one of three attributes: of a field, of a dict or of a list.
    keys = (str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path)
    shape = ",".join(map(str, leaf.shape))
    leaves["/".join(["", *keys])] = f"{leaf.dtype}[{shape}]"
  return leaves
