"""The function of a --mode, with what all modes need before: cache, hosts, configuration.

    train      from configuration to a finished run directory, or on from where it was interrupted
    sample     pictures and arrays of a run's samples
    evaluate   the configured metrics on its newest checkpoint -> eval.json
    report     the run as one HTML page -> report.html
    describe   what would be trained: parameters, FLOPs, abilities, shapes; nothing is written

What cannot be done is a core.UserError before anything is written.
"""

import os
import pathlib
import shlex
from collections.abc import Sequence

import jax
from absl import logging

from genjax import config as config_lib
from genjax.modes import changes, describe, evaluate, sample, train
from genjax.modes import said as said_lib
from genjax.report import page
from genjax.training import runtime, sharding


def run_mode(
  flags, overrides: list[str], said: Sequence[tuple[str, str]], argv: list[str]
) -> int | None:
  """Calls the function of flags.mode; returns the exit code, None for 0.

  overrides: "key=value" of the configuration; said: (name, value) of the conditions of samples.
  """
  runtime.keep_memory()
  if flags.distributed:
    sharding.join(flags.distributed)
  logging.set_verbosity(logging.ERROR)  # orbax and tfds warn of what is no one's concern
  if flags.cache != "off":
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "genjax")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(flags.cache or cache))

  new = flags.mode == "train" or (flags.mode == "describe" and flags.config)
  default = config_lib.workdir(flags.config, overrides if new else [])
  workdir = pathlib.Path(flags.workdir or default)
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
    return print(describe.describe(config))
  if flags.mode == "report":
    return print(page.write(workdir))
  out = pathlib.Path(flags.out) if flags.out else None
  words = said_lib.Words(said, tuple(flags))
  return print(sample.sample(config, workdir, flags.num, flags.seed, out, words))
