"""What may still be changed: of a run that goes on, and of one that is finished."""

import pathlib
from collections.abc import Mapping
from typing import Any

from genjax import config as config_lib
from genjax import core, registry
from genjax.runs import build, load
from genjax.training import checkpoints

# How a run draws and measures, of no consequence to its parameters. What the model says of itself
# may be changed too (registry.view).
LOOKING = ("sample_batch", "samples", "metrics", "num", "eval_ema")
# What a run that goes on may change beside that: how long, how often it looks, and what it keeps.
GOING_ON = (
  "steps", "log_every", "sample_every", "evaluate_every", "save_every", "keep", "milestone_every",
)  # fmt: skip


def resumed(
  workdir: pathlib.Path, setup: build.Setup, saved: checkpoints.Checkpoints
) -> tuple[int | None, Mapping[str, Any]]:
  """(step to go on from, what the configuration changes: {key: (there, now)}).

  UserError if the directory holds anything but this run, on these data.
  """
  if not (workdir / "config.json").is_file():
    if workdir.exists() and any(workdir.iterdir()):
      raise core.UserError(f"{workdir} is not empty and holds no run; choose another --workdir")
    return None, {}
  changed = config_lib.difference(config_lib.from_run(workdir)[0], setup.config)
  allowed = (*LOOKING, *GOING_ON, *registry.view("model", setup.config["model"], training=True))
  fixed = {k: v for k, v in changed.items() if not _within(k, allowed)}
  if fixed:
    listed = ", ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in list(fixed.items())[:5])
    raise core.UserError(
      f"{workdir} holds a run of another configuration ({listed}); use --workdir"
    )
  load.same_data(setup, workdir)
  return saved.latest(), changed


def check_view(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
  """UserError for an override that would make another model of a finished run."""
  allowed = (*LOOKING, "load", *registry.view("model", config["model"], training=False))
  for key in overrides:
    if not _within(key, allowed):
      raise core.UserError(
        f"{key} belongs to training; here one may override: {', '.join(allowed)}"
      )


def _within(key: str, allowed: tuple[str, ...]) -> bool:
  return any(key == name or key.startswith(name + ".") for name in allowed)
