"""Run directories for those who ask several questions of one model, and what they were told."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from genjax import config as config_lib
from genjax import core

ROOT = pathlib.Path(__file__).parents[2]  # of the repository: configs/, and runs/ that are loaded


def trained(config: str, workdir: pathlib.Path, overrides: Sequence[str] = ()) -> pathlib.Path:
  """`workdir`, once `python -m genjax.main` has finished it.

  config: FILE[:VARIANT], a name in configs/; overrides: "key=value" of the configuration.
  Raises UserError for a finished run of another configuration, subprocess.CalledProcessError where
  training fails; its words are on stderr.
  """
  file, _, variant = config.partition(":")
  path = f"configs/{file}.py{variant and ':'}{variant}"
  if (workdir / "report.html").is_file():
    asked, _ = config_lib.from_file(f"{ROOT}/{path}", overrides)
    had, _ = config_lib.from_run(workdir)
    for key, (old, new) in config_lib.difference(had, asked).items():
      raise core.UserError(f"{workdir} was trained with {key}={old}, not {new}; delete it first")
    return workdir
  command = [sys.executable, "-m", "genjax.main", f"--workdir={workdir.absolute()}"]
  command += [f"--config={path}", *(f"--config.{text}" for text in overrides)]
  subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
  return workdir


def record(file: pathlib.Path, results: Any, workdir: pathlib.Path) -> None:
  """results.json: what was measured; of which data, by which commit and where, as a run says."""
  run = json.loads((workdir / "run.json").read_text())
  known = {key: run[key] for key in ("data", "git", "versions", "machine", "devices")}
  known["data"].pop("origin")  # where this machine had them from
  file.write_text(json.dumps({**known, "results": results}, indent=1) + "\n")


def recorded(file: pathlib.Path) -> list[dict[str, Any]]:
  """The results of `record`, [] if there are none."""
  return json.loads(file.read_text())["results"] if file.is_file() else []
