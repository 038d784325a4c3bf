"""The files of a run directory that are not a table, a picture or a checkpoint.

    config.json   run.json                              what the run is
    eval.json     eval-<digest>.json                    metrics, of the run and of a look at it
    generated/seed<S>_num<N>[-<digest>]/                samples, likewise

A look asks a finished run for something with other settings than its own, such as fewer sampler
steps. What was asked for is part of a result's name, by a digest, and of its record.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from genjax import core
from genjax.runs import build, recorded
from genjax.training import provenance, writers

# What run.json keeps of each session of a training.
KEPT = ("started", "command", "versions", "git", "devices", "processes")


def begin(
  workdir: pathlib.Path,
  setup: build.Setup,
  state: core.TrainState,
  overrides: Mapping[str, Any],
  command: str,
  console: writers.Console,
) -> None:
  """Writes the first files of a run directory, once nothing can be refused any more."""
  if not console.main:
    return
  parameters = {group: size(tree) for group, tree in state.params.items()}
  facts = provenance.facts(setup.data, parameters, overrides, command)
  facts["data"]["spec"] = recorded.plain(setup.data.spec)
  writers.write_json(workdir / "config.json", setup.config)

  if not (workdir / "run.json").is_file():
    seed = setup.config["seed"]
    first = {"name": workdir.name, "seed": seed, **facts, "sessions": []}
    writers.write_json(workdir / "run.json", first)
  session = {"step": int(state.step)} | {key: facts[key] for key in KEPT}
  note(workdir, sessions=[*_run(workdir)["sessions"], session])

  # The page that may be there is of an earlier step.
  (workdir / "report.html").unlink(missing_ok=True)
  console.open(workdir)


def note(workdir: pathlib.Path, **facts: Any) -> None:
  """Adds facts to run.json."""
  writers.write_json(workdir / "run.json", {**_run(workdir), **facts})


def _run(workdir: pathlib.Path) -> dict[str, Any]:
  return json.loads((workdir / "run.json").read_text(encoding="utf-8"))


def place(text: str | os.PathLike, flag: str) -> pathlib.Path:
  """Returns the directory that a person names, after trying whether it can be written to.

  "~" is the home directory, and a link is what it points to. Nothing is made yet. Raises UserError
  for a file, or for a directory that cannot be made or written to.
  """
  given = os.path.expanduser(text)
  if str(given).startswith("~"):
    raise core.UserError(f"{flag}={text}: there is no such home directory")
  try:
    path = pathlib.Path(given)
    real = path.resolve()
    there = next(parent for parent in (real, *real.parents) if parent.exists())
    usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
  except (OSError, RuntimeError) as e:
    raise core.UserError(f"{flag}={text}: {getattr(e, 'strerror', None) or e}") from None

  if not there.is_dir():
    what = "" if there == path.absolute() else f": {there}"
    raise core.UserError(f"{flag}={text}{what} is a file; expected a directory")
  if not usable:
    raise core.UserError(f"{flag}={text}: {there} may not be written to; choose another directory")
  return real if path.absolute() != real else path


def digest(*asked: Any) -> str:
  """Returns six hex digits of what was asked for, "" if that is nothing."""
  if not any(asked):
    return ""
  text = json.dumps(asked, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:6]


def generated(
  workdir: pathlib.Path, seed: int, num: int, said: str, settings: Mapping[str, Any]
) -> pathlib.Path:
  """Returns where samples lie.

  said: a digest of what they were drawn for, "" if a person said nothing.
  settings: in what they differ from the run's own.
  """
  parts = [f"seed{seed}_num{num}", said, digest(settings)]
  return workdir / "generated" / "-".join(filter(None, parts))


def evaluation(workdir: pathlib.Path, settings: Mapping[str, Any]) -> pathlib.Path:
  """Returns where metrics lie that were measured with these settings."""
  return workdir / f"{'-'.join(filter(None, ['eval', digest(settings)]))}.json"


def size(tree: Any) -> int:
  """Returns the number of parameters."""
  return sum(a.size for a in jax.tree.leaves(tree))
