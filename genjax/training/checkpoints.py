"""Checkpoints: the whole TrainState by orbax; going on is bitwise as if nothing had happened.

<workdir>/checkpoints/<step>/ holds the items params, buffers, ema, optimizer and meta (step, key,
halted). Saves run in the background and appear under their step only when they are whole.
"""

import concurrent.futures
import pathlib

import jax
import orbax.checkpoint as ocp

from genjax import core
from genjax.training import loop

ITEMS = ("params", "buffers", "ema", "optimizer", "meta")


def _items(state: core.TrainState) -> dict:
  """A tree for each item; the step keeps an item without arrays from being empty."""
  meta = {"step": state.step, "key": state.key, "halted": state.halted}
  trees = (state.params, state.buffers, state.ema, state.opt_state, meta)
  return {name: {"step": state.step, "tree": tree} for name, tree in zip(ITEMS, trees)}


class Checkpoints:
  """The checkpoints of one run directory.

  keep: how many of the newest stay; milestone_every: and those at its multiples, 0 for none.
  """

  def __init__(self, workdir: pathlib.Path, keep: int = 1, milestone_every: int = 0):
    self.directory = pathlib.Path(workdir).absolute() / "checkpoints"
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      keep_period=milestone_every or None,
      enable_async_checkpointing=True,
      create=False,
    )
    self.options, self._manager = options, None
    self._writer, self._last = concurrent.futures.ThreadPoolExecutor(1), None

  @property
  def manager(self) -> ocp.CheckpointManager:
    """Made when it is first needed: looking at a directory must not create it."""
    if self._manager is None:
      self.directory.mkdir(parents=True, exist_ok=True)
      handlers = {name: ocp.StandardCheckpointHandler() for name in ITEMS}
      self._manager = ocp.CheckpointManager(
        self.directory, options=self.options, item_handlers=handlers
      )
    return self._manager

  def latest(self) -> int | None:
    """The newest step that is there, None without any."""
    return self.manager.latest_step() if self.directory.is_dir() else None

  def save(self, state: core.TrainState, wait: bool = False) -> None:
    """Saves in the background, unless that step is there already; `wait` for it to be whole.

    A halted state takes the place of the same step saved before it was known to halt. Raises what
    went wrong with a save before.
    """
    if jax.process_count() > 1:  # hosts wait for each other in orbax, so all keep to one order
      self._save(state)
    else:  # orbax' own preparations take half a millisecond an array
      self._join()
      self._last = self._writer.submit(self._save, loop.copy(state))
    if wait:
      self.wait()

  def _save(self, state):
    step, halted = int(state.step), int(state.halted) >= 0
    there = step in self.manager.all_steps()
    if there and halted:
      self.manager.wait_until_finished()
      self.manager.delete(step)
    if not there or halted:
      items = {name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()}
      self.manager.save(step, args=ocp.args.Composite(**items), force=True)

  def _join(self):
    if self._last is not None:
      last, self._last = self._last, None
      last.result()

  def wait(self) -> None:
    """Until all that is being saved is whole."""
    self._join()
    if self._manager is not None:
      self._manager.wait_until_finished()

  def restore(self, like: core.TrainState, step: int | None = None) -> core.TrainState:
    """The state of a step (the newest), with the shapes, dtypes and sharding of `like`.

    UserError if there is none, or if an array there has another shape or dtype: nothing is cast.
    """
    step = self.latest() if step is None else step
    if step is None:
      raise core.UserError(f"{self.directory} holds no checkpoint")
    wanted = jax.tree.map(_abstract, _items(like))
    self._check(step, wanted)
    args = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
    items = self.manager.restore(step, args=ocp.args.Composite(**args))
    trees = {name: items[name]["tree"] for name in ITEMS}
    meta = trees.pop("meta")
    return core.TrainState(opt_state=trees.pop("optimizer"), **trees, **meta)

  def steps(self) -> list[int]:
    """Those that are there, in order."""
    return sorted(self.manager.all_steps()) if self.directory.is_dir() else []

  def averages(self, like: core.TrainState, step: int) -> dict[str, core.Params]:
    """state.ema of a step, and nothing else of it."""
    wanted = jax.tree.map(_abstract, _items(like)["ema"])
    args = ocp.args.Composite(ema=ocp.args.StandardRestore(wanted))
    return self.manager.restore(step, args=args)["ema"]["tree"]

  def groups(self) -> frozenset[str]:
    """The parameter groups in the newest checkpoint; none if there is none."""
    step = self.latest()
    if step is None:
      return frozenset()
    return frozenset(self.manager.item_metadata(step)["params"].tree["tree"])

  def _check(self, step, wanted):
    """Orbax casts dtypes silently, and reports another shape by a traceback."""
    metadata = self.manager.item_metadata(step)
    for name in ITEMS:
      compare(f"checkpoint {step}: {name}", metadata[name].tree["tree"], wanted[name]["tree"])

  def close(self) -> None:
    """Waits for what is being saved."""
    self.wait()
    self._writer.shutdown()
    if self._manager is not None:
      self._manager.close()


def compare(what: str, have, want) -> None:
  """UserError that names the array where two trees differ in structure, shape or dtype."""
  have, want = _leaves(have), _leaves(want)
  for path in sorted({*have, *want}):
    if have.get(path) != want.get(path):
      raise core.UserError(
        f"{what}{path} is {have.get(path, 'missing')} there, expected {want.get(path, 'nothing')}"
      )


def _abstract(a):
  return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding)


def _leaves(tree) -> dict[str, str]:
  """{path: "dtype[shape]"}, alike for our containers and orbax's plain ones."""
  leaves = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if leaf is None:
      continue
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):  # orbax stores its words
      leaf = jax.eval_shape(jax.random.key_data, leaf)
    keys = (str(getattr(k, "name", getattr(k, "key", getattr(k, "idx", k)))) for k in path)
    shape = ",".join(map(str, leaf.shape))
    leaves["/".join(["", *keys])] = f"{leaf.dtype}[{shape}]"
  return leaves
