"""What checkpoints hold: the state of a run, or single groups of another one.

    newest      the newest checkpoint of a run, with the groups that config.load brings beside it
    groups      the groups of config.load, for a run that begins or that is guided after training
    mixed       averages of a width that was not kept, from those that were

A group is taken from a run's own checkpoint, never from what that run has itself loaded since.
"""

import functools
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from genjax import config as config_lib
from genjax import core
from genjax.runs import build
from genjax.training import averages, checkpoints, sharding


def restore(setup: build.Setup, workdir: pathlib.Path) -> core.TrainState:
  """The newest checkpoint of a run directory, on every device."""
  same_data(setup, workdir)
  return newest(setup, checkpoints.Checkpoints(workdir))


def newest(setup: build.Setup, saved: checkpoints.Checkpoints) -> core.TrainState:
  """The newest of the checkpoints, on every device.

  Groups that it lacks, since the run was trained without what now guides it, come from config.load.
  """
  state, missing = _stored(setup, saved)
  loaded = groups(setup, sharding.mesh(), missing)
  place = lambda i, tree: {**tree, **{group: loaded[group][i] for group in missing}}
  return state._replace(params=place(0, state.params), buffers=place(1, state.buffers))


def _stored(setup, saved):
  """(the newest checkpoint, the pretrained groups that it lacks)."""
  like, held = setup.abstract(sharding.mesh()), saved.groups()
  missing = [group for group in setup.model.pretrained if held and group not in held]
  own = lambda tree: {name: a for name, a in tree.items() if name not in missing}
  state = saved.restore(like._replace(params=own(like.params), buffers=own(like.buffers)))
  return state, missing


def averaged(config: Any, state: core.TrainState) -> core.Params:
  """The parameters, with the average that config.eval_ema names in the place of the raw ones."""
  average = config["eval_ema"]
  return {**state.params, **(state.ema[average] if average else {})}


def mixed(setup: build.Setup, workdir: pathlib.Path, state: core.TrainState) -> core.TrainState:
  """The state, with the average of the width that config.eval_ema asks for, if it asks for one.

  It is made of all "power" averages in the checkpoints that are there; see training/averages.py.
  UserError if there are fewer than two.
  """
  name = setup.config["eval_ema"]
  if not name.startswith("@"):
    return state
  saved = checkpoints.Checkpoints(workdir)
  profiles = {n: a for n, a in setup.averages.items() if a.profile == "power"}
  have = [(step, profile.width) for step in saved.steps() for profile in profiles.values()]
  if len(have) < 2:
    raise core.UserError(
      f"eval_ema={name!r} needs averages of profile 'power' at two widths, or of several steps "
      f"(milestone_every); {workdir} holds {len(have)}"
    )
  shares = iter(averages.mixture(have, (int(state.step), averages.width(name))))
  total = None
  for step in saved.steps():
    kept = saved.averages(state, step)
    for profile in profiles:
      part = jax.tree.map(functools.partial(jnp.multiply, next(shares)), kept[profile])
      total = part if total is None else jax.tree.map(jnp.add, total, part)
  return state._replace(ema={name: total})


def same_data(setup: build.Setup, workdir: pathlib.Path) -> None:
  """UserError if a run was trained on other data than the same configuration finds now."""
  if (workdir / "run.json").is_file():
    before = json.loads((workdir / "run.json").read_text())["data"]
    if before["hash"] != setup.data.hash:
      raise core.UserError(
        f"{workdir} was trained on other data ({before['origin']}); now there is "
        f"{setup.data.origin}"
      )


def groups(setup: build.Setup, over, wanted: Iterable[str] | None = None) -> dict[str, tuple]:
  """{group: (params, buffers)} of config.load. UserError unless they are this model's arrays.

  wanted: the groups to bring; all that config.load names if not said.
  """
  where = setup.config["load"]
  where = {name: where[name] for name in (where if wanted is None else wanted)}
  if not where:
    return {}
  loaded = {name: group(path) for name, path in where.items()}
  params = setup.abstract(over).params
  for name, (own, _) in loaded.items():
    if name not in params:
      raise core.unknown("group in load", name, params)
    checkpoints.compare(f"load.{name}: ", own, params[name])
  return loaded


def group(where: str) -> tuple[Any, Any]:
  """(params, buffers) of "runs/NAME:group", averaged, or "runs/NAME:group@raw"."""
  path, _, name = where.rpartition(":")
  name, _, raw = name.partition("@")
  if raw not in ("", "raw"):
    raise core.UserError(f"load: {where!r} ends in @{raw}, expected @raw or nothing")
  if not path:
    raise core.UserError(f"load: {where!r} names no group, expected runs/NAME:GROUP")
  try:
    config = config_lib.of_run(path)
  except core.UserError as e:
    raise core.UserError(f"load: {e}") from None
  workdir = pathlib.Path(path)
  setup = build.assemble({**config, "eval_ema": ""} if raw else config)
  same_data(setup, workdir)
  state, _ = _stored(setup, checkpoints.Checkpoints(workdir))
  params = averaged(setup.config, mixed(setup, workdir, state))
  if name not in params:
    raise core.unknown(f"group in {path}", name, params)
  return params[name], state.buffers.get(name, {})
