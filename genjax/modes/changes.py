"""What may still be changed: of a run that goes on, and of one that is finished."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from genjax import config as config_lib
from genjax import core, registry
from genjax.runs import build, load
from genjax.training import checkpoints
from genjax.training import step as step_lib

# How a run draws and measures, which does not touch its parameters. What the model says of itself
# may be changed too (registry.view), and where the data lie.
LOOKING = ("sample_batch", "samples", "metrics", "num", "eval_ema")
# What a run that goes on may change beside that: how long, how often it looks, and what it keeps.
GOING_ON = (
  "steps",
  "log_every",
  "sample_every",
  "evaluate_every",
  "save_every",
  "keep",
  "milestone_every",
)


def resumed(
  workdir: pathlib.Path, setup: build.Setup, saved: checkpoints.Checkpoints
) -> tuple[int | None, Mapping[str, Any]]:
  """Returns (the step to go on from, {key: (there, now)} of what the configuration changes).

  The step is None for a run that begins.

  Raises UserError if the directory holds anything but this run, on these data.
  """
  if not (workdir / "config.json").is_file():
    if workdir.exists() and any(workdir.iterdir()):
      raise core.UserError(f"{workdir} is not empty and holds no run; choose another --workdir")
    return None, {}

  changed = config_lib.difference(config_lib.from_run(workdir)[0], setup.config)
  allowed = (*LOOKING, *GOING_ON, *_view(setup.config, training=True))
  fixed = {key: pair for key, pair in changed.items() if not _within(key, allowed)}
  if fixed:
    listed = ", ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in list(fixed.items())[:5])
    raise core.UserError(
      f"{workdir} holds a run of another configuration ({listed}); choose another --workdir"
    )
  load.same_data(setup, workdir)
  return saved.latest(), changed


def check_view(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
  """Raises UserError for an override that would make another model of a finished run."""
  allowed = (*LOOKING, "load", *_view(config, training=False))
  for key in overrides:
    if not _within(key, allowed):
      raise core.UserError(
        f"{key} belongs to training; here one may override: {', '.join(allowed)}"
      )


def _view(config: Mapping[str, Any], training: bool) -> list[str]:
  """Returns the keys that the model and the data allow to be changed."""
  model = registry.view("model", config["model"], training)
  return [*model, *registry.view("data", config["data"], training)]


def _within(key: str, allowed: Sequence[str]) -> bool:
  return any(key == name or key.startswith(name + ".") for name in allowed)


def stretched(setup: build.Setup, before: int, step: int) -> list[str]:
  """Returns one line for each group whose learning rate jumps when a run is made longer.

  A schedule spans all updates of a run, so that with another number of steps it has another rate
  at the same step.

  before: the number of steps that the run was to have until now.
  step: where it goes on.
  """
  lines = []
  done = step_lib.updates(setup.model, step)
  old = step_lib.updates(setup.model, before)
  new = step_lib.updates(setup.model, setup.config["steps"])
  for group, rule in setup.rules.items():
    rates = [rule.schedule(rule.lr, count[group]) for count in (old, new)]
    was, now = (float(rate(done[group])) for rate in rates)
    # Within a warm-up both rates are the same; at the old end they are not.
    ends = [float(rate(old[group] - 1)) for rate in rates]
    if max(abs(now - was), abs(ends[1] - ends[0])) > 1e-3 * rule.lr:
      lines.append(
        f"schedule   the learning rate of {group} goes from {was:.3g} to {now:.3g}: its schedule "
        f"now spans {new[group]:,} updates instead of {old[group]:,}"
      )
  return lines
