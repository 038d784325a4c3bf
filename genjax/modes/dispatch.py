"""The function of a --mode, with what all modes need before: cache, hosts, paths, configuration.

    train      from configuration to a finished run directory, or on from where it was interrupted
    sample     pictures and arrays of a run's samples
    evaluate   the configured metrics on its newest checkpoint -> eval.json
    report     the run as one HTML page -> report.html
    describe   what would be trained, and what it costs here; nothing is written

What cannot be done is a core.UserError before anything is written.
"""

import os
import pathlib
import shlex
from collections.abc import Sequence

import jax
from absl import flags as absl_flags
from absl import logging

from genjax import config as config_lib
from genjax.modes import changes, describe, evaluate, folder, sample, train
from genjax.modes import said as said_lib
from genjax.report import page
from genjax.training import runtime, sharding, writers


def run_mode(
  flags: absl_flags.FlagValues,
  overrides: Sequence[str],
  said: Sequence[tuple[str, str]],
  argv: Sequence[str],
) -> int | None:
  """Calls the function of flags.mode; returns the exit code, None for 0.

  overrides: "key=value" of the configuration.
  said: (name, value) of the conditions of samples.
  argv: the command line.
  """
  _prepare(flags)
  new = flags.mode == "train" or (flags.mode == "describe" and flags.config)
  workdir = _workdir(flags, overrides if new else [])
  if new and flags.config:
    config, values = config_lib.from_file(flags.config, overrides)
  else:
    config, values = config_lib.from_run(workdir, overrides)
  if not new:
    changes.check_view(config, values)

  if flags.mode == "train":
    command = shlex.join(["python", "-m", "genjax.main", *argv[1:]])
    return train.train(config, workdir, values, command)
  if flags.mode == "evaluate":
    return evaluate.evaluate(config, workdir)
  if flags.mode == "describe":
    return writers.say(describe.describe(config))
  if flags.mode == "report":
    return writers.say(str(page.write(workdir)))
  out = folder.place(flags.out, "--out").absolute() if flags.out else None
  words = said_lib.Words(said, tuple(flags))
  return writers.say(str(sample.sample(config, workdir, flags.num, flags.seed, out, words)))


def _prepare(flags: absl_flags.FlagValues) -> None:
  """Sets up memory, hosts, logging and the cache of compiled programs."""
  runtime.keep_memory()
  if flags.distributed:
    sharding.join(flags.distributed)
  # orbax and tensorflow_datasets warn of what is no one's concern.
  logging.set_verbosity(logging.ERROR)
  if flags.cache != "off":
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "genjax")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(flags.cache or cache))


def _workdir(flags: absl_flags.FlagValues, overrides: Sequence[str]) -> pathlib.Path:
  """Returns the run directory, after trying whether this mode can write where it wants to."""
  path = flags.workdir or config_lib.workdir(flags.config, overrides)
  writes = flags.mode in ("train", "report") or (flags.mode == "sample" and not flags.out)
  return folder.place(path, "--workdir") if writes else pathlib.Path(os.path.expanduser(path))
