"""What a run was made with: the facts that run.json records beside the configuration."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "genjax-research")


def facts(
  data: Any, parameters: Mapping[str, int], overrides: Mapping[str, Any], command: str
) -> dict[str, Any]:
  """Returns the command, versions, commit, devices and data of a run, ready for JSON.

  data: the Dataset that the run trains on.
  parameters: {group: number of parameters}.
  overrides: the settings that were given on the command line.
  command: the command that makes the run.
  """
  cores = f"{os.cpu_count()} cores"
  system = platform.system()
  return {
    "command": command,
    "argv": sys.argv,
    "overrides": dict(overrides),
    "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "python": platform.python_version(),
    "machine": ", ".join(filter(None, [_processor(), platform.machine(), cores, system])),
    "versions": {name: version for name in PACKAGES if (version := _version(name))},
    "git": _git(),
    "devices": [f"{d.device_kind} ({d.platform}:{d.id})" for d in jax.devices()],
    "processes": jax.process_count(),
    "data": {
      "name": data.name,
      "origin": data.origin,
      "licence": data.licence,
      "hash": data.hash,
      "counts": {split: len(columns["x"]) for split, columns in data.splits.items()},
    },
    "parameters": dict(parameters),
  }


def _version(package: str) -> str:
  """Returns the installed version of a package, "" if it is not installed."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return ""


def _processor() -> str:
  """Returns the name of the processor, "" if the system does not tell it."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    return platform.processor()
  named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
  return next(named, "")


def _git() -> dict[str, Any]:
  """Returns the commit of this code and whether it has changes since; {} outside a checkout."""
  here = pathlib.Path(__file__).parent
  ask = lambda *words: subprocess.run(
    ["git", *words], cwd=here, capture_output=True, text=True, check=True
  ).stdout.strip()

  try:
    # An installed package may lie inside the checkout of something else.
    ask("ls-files", "--error-unmatch", pathlib.Path(__file__).name)
    return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
  except (OSError, subprocess.CalledProcessError):
    return {}  # no checkout, or no git
