"""A run directory that is there: for those who ask several questions of one model."""

import pathlib
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parents[2]  # of the repository: configs/, and runs/ that are loaded


def trained(config: str, workdir: pathlib.Path, overrides: Sequence[str] = ()) -> pathlib.Path:
  """`workdir`, once `python -m genjax.main` has finished it.

  config: FILE[:VARIANT], a name in configs/; overrides: "key=value" of the configuration.
  Raises subprocess.CalledProcessError where that fails; its words are on stderr.
  """
  if not (workdir / "report.html").is_file():
    file, _, variant = config.partition(":")
    command = [sys.executable, "-m", "genjax.main", f"--workdir={workdir.absolute()}"]
    command += [f"--config=configs/{file}.py{variant and ':'}{variant}"]
    command += [f"--config.{text}" for text in overrides]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
  return workdir
