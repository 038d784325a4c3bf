"""The files of a run directory that are not a table, a picture or a checkpoint."""

import json
import pathlib

import jax

from genjax.runs import build
from genjax.training import provenance, writers

KEPT = ("started", "command", "versions", "git", "devices", "processes")  # of each session


def begin(workdir: pathlib.Path, setup: build.Setup, state, overrides, command: str, console):
  """The first files of a run directory, once nothing can be refused any more."""
  if not console.main:
    return
  parameters = {group: size(tree) for group, tree in state.params.items()}
  facts = provenance.facts(setup.data, parameters, overrides, command)
  writers.write_json(workdir / "config.json", setup.config)
  if not (workdir / "run.json").is_file():
    seed = setup.config["seed"]
    first = {"name": workdir.name, "seed": seed, **facts, "sessions": []}
    writers.write_json(workdir / "run.json", first)
  sessions = json.loads((workdir / "run.json").read_text())["sessions"]
  note(workdir, sessions=[*sessions, {"step": int(state.step)} | {k: facts[k] for k in KEPT}])
  (workdir / "report.html").unlink(missing_ok=True)  # it is of an earlier step
  console.open(workdir)


def note(workdir: pathlib.Path, **facts) -> None:
  """Adds to run.json."""
  run = json.loads((workdir / "run.json").read_text())
  writers.write_json(workdir / "run.json", {**run, **facts})


def generated(workdir: pathlib.Path, seed: int, num: int, said: str = "") -> pathlib.Path:
  """Where the samples of a seed lie; said: a digest of what they were asked for."""
  return workdir / "generated" / f"seed{seed}_num{num}{said and '-'}{said}"


def size(tree) -> int:
  """The number of parameters."""
  return sum(a.size for a in jax.tree.leaves(tree))
