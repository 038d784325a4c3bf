"""What checkpoints hold: the state of a run, or single groups of another run.

    newest      the newest checkpoint of a run, with the groups that config.load adds to it
    groups      the groups of config.load, for a run that begins or that is guided after training
    mixed       an average of a width that was not kept, from those that were

A group is always taken from the checkpoint of the run that has trained it, never from a run that
has only loaded it.
"""

import functools
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from genjax import config as config_lib
from genjax import core
from genjax.runs import build, recorded
from genjax.training import averages, checkpoints, sharding


def newest(setup: build.Setup, saved: checkpoints.Checkpoints) -> core.TrainState:
  """Returns the newest of the checkpoints, on every device.

  A run may be guided after training by a model that it was trained without. The groups that its
  checkpoint therefore lacks come from config.load.
  """
  state, missing = _stored(setup, saved)
  loaded = groups(setup, sharding.mesh(), missing)
  params = {group: loaded[group][0] for group in missing}
  buffers = {group: loaded[group][1] for group in missing}
  return state._replace(
    params={**state.params, **params},
    buffers={**state.buffers, **buffers},
  )


def _stored(
  setup: build.Setup, saved: checkpoints.Checkpoints
) -> tuple[core.TrainState, list[str]]:
  """Returns (the newest checkpoint, the pretrained groups that it lacks)."""
  like = setup.abstract(sharding.mesh())
  held = saved.groups()
  missing = [group for group in setup.model.pretrained if held and group not in held]

  own = lambda tree: {name: a for name, a in tree.items() if name not in missing}
  like = like._replace(params=own(like.params), buffers=own(like.buffers))
  return saved.restore(like), missing


def averaged(config: Mapping[str, Any], state: core.TrainState) -> core.Params:
  """Returns the parameters, averaged as config.eval_ema says; "" keeps the raw ones."""
  average = config["eval_ema"]
  return {**state.params, **(state.ema[average] if average else {})}


def mixed(setup: build.Setup, workdir: pathlib.Path, state: core.TrainState) -> core.TrainState:
  """Returns the state with the average that config.eval_ema="@WIDTH" asks for, if it does.

  The average is a mixture of all "power" averages in the checkpoints (training/averages.py).
  Raises UserError if there are fewer than two of them.
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

  # One share for each average of each checkpoint, in the order of `have`.
  shares = iter(averages.mixture(have, (int(state.step), averages.width(name))))
  total = None
  for step in saved.steps():
    kept = saved.averages(state, step)
    for profile in profiles:
      part = jax.tree.map(functools.partial(jnp.multiply, next(shares)), kept[profile])
      total = part if total is None else jax.tree.map(jnp.add, total, part)
  return state._replace(ema={name: total})


def same_data(setup: build.Setup, workdir: pathlib.Path) -> None:
  """Raises UserError if a run was trained on data of other contents than are there now."""
  if recorded.others(workdir, setup.data):
    raise core.UserError(
      f"{workdir} was trained on other data ({recorded.facts(workdir)['origin']}); now there is "
      f"{setup.data.origin}; give it the same data, or start anew in another --workdir"
    )


def groups(
  setup: build.Setup, over: jax.sharding.Mesh, wanted: Iterable[str] | None = None
) -> dict[str, tuple[Any, Any]]:
  """Returns {group: (params, buffers)} of config.load.

  wanted: the groups to load, by default all that config.load names.

  Raises UserError unless the arrays have the shapes that this model needs.
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
  """Returns (params, buffers) of "runs/NAME:group", averaged, or of "runs/NAME:group@raw"."""
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

  workdir = pathlib.Path(os.path.expanduser(path))
  setup = build.assemble({**config, "eval_ema": ""} if raw else config, workdir)
  state, _ = _stored(setup, checkpoints.Checkpoints(workdir))
  params = averaged(setup.config, mixed(setup, workdir, state))
  if name not in params:
    raise core.unknown(f"group in {path}", name, params)
  return params[name], state.buffers.get(name, {})
