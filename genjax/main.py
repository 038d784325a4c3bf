"""Flags and wiring; nothing is decided here.

    python -m genjax.main                                             lists the configurations
    python -m genjax.main --config=configs/ddpm_mnist.py              trains, or goes on training
    python -m genjax.main --config=ddpm_mnist                         the same, from any directory
    python -m genjax.main --config=FILE.py:ARG --config.steps=100     a variant, with other values
    python -m genjax.main --mode=sample --workdir=runs/ddpm_mnist     looks at a finished run
    python -m genjax.main --mode=sample --workdir=DIR --label=7       what samples are drawn for:
                                  --image=FILE --mask=FILE --text="two words"

Mistakes give one line and exit code 2. Divergence gives 3, an interrupt 75, and 1 says that
something beside the training failed, such as a full disk.
"""

import sys

from absl import flags

from genjax import catalogue

MODES = ("train", "sample", "evaluate", "report", "describe")
FLAGS = flags.FlagValues()
flags.DEFINE_string("config", "", "FILE.py[:ARG] or NAME[:ARG]; --config.a.b=v sets a value", FLAGS)
flags.DEFINE_string("workdir", "", "run directory [runs/<config>-<arg>-<overrides>]", FLAGS)
flags.DEFINE_enum("mode", "train", MODES, "what to do", FLAGS)
flags.DEFINE_integer("num", 64, "sample: how many", 1, None, FLAGS)
flags.DEFINE_integer("seed", 0, "sample: of the draws", 0, 2**32 - 1, FLAGS)
flags.DEFINE_string("out", "", "sample: another folder than <workdir>/generated/...", FLAGS)
flags.DEFINE_string("cache", "", "of compiled programs [~/.cache/genjax], or 'off'", FLAGS)
flags.DEFINE_string("distributed", "", "several hosts: auto or ADDRESS:PORT,COUNT,INDEX", FLAGS)
flags.DEFINE_bool("help", False, "this text", FLAGS)


def split(arguments: list[str]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
  """(flags of this file, "key=value" of the configuration, (name, value) of what is told)."""
  own, overrides, said = [], [], []
  sampling = "--mode=sample" in arguments or "--mode sample" in " ".join(arguments)
  for argument in arguments:
    name, equals, value = argument.removeprefix("--").partition("=")
    if name.startswith("config."):
      overrides.append(argument.removeprefix("--config."))
    elif sampling and argument.startswith("--") and equals and name not in FLAGS:
      said.append((name, value))
    else:
      own.append(argument)
  return own, overrides, said


def main(argv: list[str]) -> int:
  """Parses the command line and calls one function of modes/; returns the exit code."""
  own, overrides, said = split(argv[1:])
  try:
    stray = FLAGS([argv[0], *own])[1:]
  except flags.Error as e:
    return _fail(" ".join(str(e).split()))
  if stray:
    return _fail(f"unexpected argument {stray[0]!r}; flags are written --name=value")
  if FLAGS.help:
    print(__doc__, FLAGS.main_module_help(), sep="\n")
    return 0
  if not (FLAGS.config or FLAGS.workdir):
    if said:
      return _fail(f"unknown flag '--{said[0][0]}', or no --workdir whose samples it is for")
    print(catalogue.listing())
    return 0
  # Here, because they import jax: the list and --help answer at once.
  from genjax import core
  from genjax.modes import dispatch, train
  from genjax.training import loop

  try:
    return dispatch.run_mode(FLAGS, overrides, said, argv) or 0
  except core.UserError as e:
    return _fail(str(e))
  except loop.Diverged as e:
    return _fail(str(e), 3)
  except loop.Failed as e:
    begin = "from the beginning" if e.kept is None else f"from step {e.kept}"
    return _fail(f"step {e.step}: {_cause(e)}; the same command goes on {begin}", 1)
  except KeyboardInterrupt:
    return _fail("interrupted; the same command goes on", train.INTERRUPTED)


def _cause(error: Exception) -> str:
  """What went wrong in one line; the traceback of a fault in the program stands in log.txt."""
  from genjax import core

  cause = error.__cause__
  text = " ".join(str(cause).split())
  if isinstance(cause, core.UserError):
    return text
  return f"{type(cause).__name__}: {text} (log.txt tells where)"


def _fail(message: str, code: int = 2) -> int:
  print(f"genjax: {message}", file=sys.stderr)
  return code


if __name__ == "__main__":
  sys.exit(main(sys.argv))
