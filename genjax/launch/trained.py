"""Trained models for experiments, each trained once, and the results that experiments record."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from genjax import config as config_lib
from genjax import core

# The root of the repository, which holds configs/ and the runs/ that configurations load.
ROOT = pathlib.Path(__file__).parents[2]


def trained(config: str, workdir: pathlib.Path, overrides: Sequence[str] = ()) -> pathlib.Path:
  """Trains a model in `workdir`, unless a finished run is there, and returns `workdir`.

  config: NAME[:VARIANT], where configs/NAME.py is the configuration file.
  workdir: the run directory.
  overrides: settings as "key=value".

  Raises UserError if there is a finished run of another configuration, and
  subprocess.CalledProcessError if training fails; what went wrong is then on stderr.
  """
  file, _, variant = config.partition(":")
  path = f"configs/{file}.py{variant and ':'}{variant}"

  # The report is the last file that training writes.
  if (workdir / "report.html").is_file():
    asked, _ = config_lib.from_file(f"{ROOT}/{path}", overrides)
    had, _ = config_lib.from_run(workdir)
    # One difference is enough to refuse.
    for key, (old, new) in config_lib.difference(had, asked).items():
      raise core.UserError(f"{workdir} was trained with {key}={old}, not {new}; delete it first")
    return workdir

  command = [sys.executable, "-m", "genjax.main", f"--workdir={workdir.absolute()}"]
  command += [f"--config={path}", *(f"--config.{text}" for text in overrides)]
  subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
  return workdir


def record(file: pathlib.Path, results: Any, workdir: pathlib.Path) -> None:
  """Writes the results of an experiment as JSON, with facts from the run that was measured.

  file: the file to write.
  results: what was measured, anything that JSON can hold.
  workdir: the run directory whose run.json gives the data, commit, versions and machine.
  """
  run = json.loads((workdir / "run.json").read_text(encoding="utf-8"))
  known = {key: run[key] for key in ("data", "git", "versions", "machine", "devices")}
  # The origin may be a path on this machine.
  known["data"].pop("origin")
  file.write_text(json.dumps({**known, "results": results}, indent=1) + "\n", encoding="utf-8")


def recorded(file: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the results that `record` wrote into a file, [] if there is no such file."""
  return json.loads(file.read_text(encoding="utf-8"))["results"] if file.is_file() else []
