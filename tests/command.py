"""The command line, run in this process or in one of its own."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys

import jax

from genjax import main

ROOT = pathlib.Path(__file__).parents[1]
MOONS = "--config=configs/ddpm_moons.py:smoke"
TINY = [
  "--config.model.network.widths=16,16",
  "--config.model.sampler.steps=5",
  "--config.metrics=",
]
FLAGS = [MOONS, *TINY, f"--cache={ROOT}/.jax_cache"]


def start(*arguments, devices=1, **kwargs):
  """Starts the program in a process of its own."""
  env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
  options = {"cwd": ROOT, "env": env, "text": True}
  options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
  command = [sys.executable, "-m", "genjax.main", *map(str, arguments)]
  return subprocess.Popen(command, **options)


def program(*arguments, code=0, **kwargs):
  """Runs the program in a process of its own; returns what it prints, (stdout, stderr)."""
  started = start(*arguments, **kwargs)
  out, err = started.communicate(timeout=300)
  assert started.returncode == code, f"{out}\n{err}"
  return out, err


def run(*arguments, code=0):
  """Runs the program in this process, which has imported everything; returns (stdout, stderr)."""
  for name in main.FLAGS:
    main.FLAGS[name].unparse()
  cache = jax.config.jax_compilation_cache_dir
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(ROOT):
    got = main.main(["genjax", *map(str, arguments)])
  jax.config.update("jax_compilation_cache_dir", cache)
  assert got == code, f"{out.getvalue()}\n{err.getvalue()}"
  return out.getvalue(), err.getvalue()
