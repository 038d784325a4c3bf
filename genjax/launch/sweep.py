"""Runs a configuration once for every combination of values of some of its settings.

    python -m genjax.launch.sweep --config=configs/ddpm_mnist.py \\
        --sweep.optim.denoiser.lr=1e-4,3e-4 --sweep.seed=0,1 --config.steps=2000

    --sweep.KEY=A,B      sweeps config.KEY over these values; commas inside brackets do not separate
                         values
    --config.KEY=VALUE   sets config.KEY in every trial
    --workdir=DIR        the directory of the trials; by default runs/sweep_<config>, with a digest
                         of the --config.KEY=VALUE arguments if there are any
    --sort_by=NAME       sorts the results by a metric, smallest first; -NAME sorts largest first
    --dry                lists trials and commands and runs nothing
    --print=tpu_vm       prints a gcloud command for each trial and runs nothing. Run such a command
                         where TPU_NAME and ZONE are set: the trial starts on every worker of that
                         TPU VM, in ~/genjax, where this repository must be installed

The trials run one after another as `python -m genjax.main`. Each has a directory named by its
values, with its output in <directory>.log beside it. A trial that fails is reported, and the others
still run. The same command again resumes the sweep: a trial that is finished ends at once.
sweep.json and results.md are written again after every trial.

Exit code: 0, or 1 if a trial failed, 2 if the command is wrong, 130 if the sweep was interrupted,
143 if it was terminated.
"""

import difflib
import hashlib
import itertools
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from genjax.launch import results

PROGRAM = (sys.executable, "-m", "genjax.main")
FLAGS = ("--config", "--workdir", "--sort_by", "--dry", "--print")


class Sweep(NamedTuple):
  """What a command asks for.

  config: the configuration file, with its argument if it has one: FILE[:ARGUMENT].
  axes: {swept key: its values, as text}.
  given: the --config.KEY=VALUE arguments, unchanged.
  workdir: the directory of the trials.
  sort_by: the metric that the results are sorted by, see `results.order`.
  action: "run", "dry" or "tpu_vm".
  """

  config: str
  axes: dict[str, list[str]]
  given: list[str]
  workdir: str
  sort_by: str = ""
  action: str = "run"


class Trial(NamedTuple):
  """One combination of values.

  name: the name of its directory inside the directory of the sweep.
  values: {swept key: value, as text}.
  workdir: the path of its directory.
  arguments: the command-line arguments of genjax.main.
  """

  name: str
  values: dict[str, str]
  workdir: str
  arguments: list[str]


def refuse(message: str) -> NoReturn:
  """Prints what is wrong with the command, in one line, and ends with exit code 2."""
  # Not core.UserError, since core imports jax, which is slow to load and not needed here.
  print(f"sweep: {message}", file=sys.stderr)
  raise SystemExit(2)


def parse(argv: Sequence[str]) -> Sweep:
  """Returns what the command-line arguments ask for. Refuses arguments that make no sense."""
  axes, given, flags = _sorted_out(argv)
  config = flags.get("--config") or refuse("no configuration; expected --config=FILE")
  if not axes:
    refuse("nothing to sweep; expected --sweep.KEY=VALUE,VALUE")

  for argument in given:
    key = argument.partition("=")[0].removeprefix("--config.")
    if key in axes:
      refuse(f"{key} is both swept and given; drop --config.{key} or --sweep.{key}")

  if flags.get("--print", "tpu_vm") != "tpu_vm":
    refuse(f"unknown --print={flags['--print']}; expected tpu_vm")
  action = "dry" if "--dry" in flags else flags.get("--print", "run")
  workdir = (flags.get("--workdir") or _workdir(config, given)).rstrip("/")
  if action == "run" and "://" in workdir:
    refuse(f"trials run here need a local --workdir, not {workdir}")
  return Sweep(config, axes, given, workdir, flags.get("--sort_by", ""), action)


def _sorted_out(argv: Sequence[str]) -> tuple[dict[str, list[str]], list[str], dict[str, str]]:
  """Returns (axes, --config.KEY=VALUE arguments, {own flag: value})."""
  axes: dict[str, list[str]] = {}
  given: list[str] = []
  flags: dict[str, str] = {}

  for argument in argv:
    flag, equals, value = argument.partition("=")
    if flag.startswith("--sweep.") and flag != "--sweep.":
      key = flag.removeprefix("--sweep.")
      if key in axes:
        refuse(f"{flag} is given twice; expected one list of values")
      axes[key] = _values(flag, value)
    elif flag.startswith("--config.") and equals:
      given.append(argument)
    # --dry takes no value; every other flag needs one.
    elif flag in FLAGS and (not equals if flag == "--dry" else value):
      flags[flag] = value
    elif flag in FLAGS:
      refuse(f"cannot read {argument!r}; expected {flag}" + "=VALUE" * (flag != "--dry"))
    else:
      near = difflib.get_close_matches(flag, [*FLAGS, "--sweep.KEY", "--config.KEY=VALUE"], n=1)
      hint = f"did you mean {near[0]}?" if near else "see --help"
      refuse(f"cannot read {argument!r}; {hint}")
  return axes, given, flags


def _values(flag: str, text: str) -> list[str]:
  """Returns the values in a text, cut at commas outside brackets: "1,(2,3)" -> ["1", "(2,3)"].

  flag: the flag of these values, for the message that refuses empty and repeated values.
  """
  values = [""]
  depth = 0  # how many brackets are open
  for c in text:
    depth += (c in "([{") - (c in ")]}")
    if c == "," and depth == 0:
      values.append("")
    else:
      values[-1] += c

  values = [value.strip() for value in values]
  if not all(values):
    refuse(f"{flag}={text} has an empty value; expected {flag}=VALUE,VALUE")
  if len(set(values)) < len(values):
    refuse(f"{flag}={text} has the same value twice")
  return values


def _workdir(config: str, given: Sequence[str]) -> str:
  """Returns the default directory, runs/sweep_<config>[-<argument>][-<digest of `given`>]."""
  path, _, argument = config.partition(":")
  parts = [pathlib.PurePath(path).stem, *filter(None, [argument])]
  # Sorted, so that the same settings in another order resume the same sweep.
  if given:
    parts.append(hashlib.sha256("\n".join(sorted(given)).encode()).hexdigest()[:6])
  return f"runs/sweep_{_plain('-'.join(parts))}"


def _plain(name: str) -> str:
  """Returns a name made fit for a directory: special characters replaced, at most 157 characters.

  A name that had to be changed ends in a digest of the original, so that no two become the same.
  """
  plain = re.sub(r"[^\w.,=+-]+", "_", name, flags=re.ASCII)[:150]
  digest = hashlib.sha256(name.encode()).hexdigest()[:6]
  return plain if plain == name else f"{plain}-{digest}"


def trials(sweep: Sweep) -> list[Trial]:
  """Returns a trial for every combination of values; the last axis varies fastest."""
  out = []
  for combination in itertools.product(*sweep.axes.values()):
    values = dict(zip(sweep.axes, combination))
    # Sorted, so that the order of the axes in the command does not matter for the name.
    name = _plain(",".join(f"{key}={values[key]}" for key in sorted(values)))
    workdir = f"{sweep.workdir}/{name}"

    own = [f"--config.{key}={value}" for key, value in values.items()]
    arguments = [f"--config={sweep.config}", f"--workdir={workdir}", *sweep.given, *own]
    out.append(Trial(name, values, workdir, arguments))
  return out


def tpu_vm(trial: Trial) -> str:
  """Returns the gcloud command that runs a trial on all workers of a TPU VM."""
  program = ("python3", "-m", "genjax.main", "--distributed=auto", *trial.arguments)
  there = "cd ~/genjax && " + shlex.join(program)
  # Quoted twice: once for the shell of the workers, once for the shell that runs gcloud.
  command = shlex.quote(there)
  return f"gcloud compute tpus tpu-vm ssh $TPU_NAME --zone=$ZONE --worker=all --command={command}"


def run(trial: Trial) -> int:
  """Runs a trial, with its output in <workdir>.log, and returns its exit code.

  An interrupted or terminated sweep waits for the trial, which saves its state before it ends.
  """
  # Beside the directory, not inside: a new run begins only in an empty directory.
  log = pathlib.Path(f"{trial.workdir}.log")
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open("ab") as out:
    process = subprocess.Popen(
      [*PROGRAM, *trial.arguments],
      stdin=subprocess.DEVNULL,
      stdout=out,
      stderr=out,
    )
    try:
      return process.wait()
    except KeyboardInterrupt:
      # Ctrl-C in a terminal reaches the trial too.
      process.wait()
      raise
    except SystemExit:
      # SIGTERM reaches this process only.
      process.terminate()
      process.wait()
      raise


def save(sweep: Sweep, outcomes: Sequence[tuple[Trial, str]]) -> str:
  """Writes sweep.json and results.md of the trials run so far, and returns the Markdown table.

  outcomes: pairs (trial, "done" or "failed (EXIT CODE)").
  """
  rows = [
    {"name": t.name, "values": t.values, "outcome": said, **results.read(t.workdir)}
    for t, said in outcomes
  ]
  rows = results.order(rows, sweep.sort_by)
  text = results.table(rows, sweep.sort_by)
  whole = json.dumps({**sweep._asdict(), "trials": rows}, indent=1)

  # Written beside the file and then renamed, so that nobody reads half of it.
  for name, content in (("sweep.json", whole), ("results.md", text)):
    part = pathlib.Path(sweep.workdir, f".{name}.part")
    part.write_text(content, encoding="utf-8")
    os.replace(part, part.with_name(name))
  return text


def run_all(sweep: Sweep) -> int:
  """Runs every trial and returns the exit code: 1 if a trial failed, else 0."""
  grid = trials(sweep)
  outcomes: list[tuple[Trial, str]] = []

  for i, trial in enumerate(grid, 1):
    print(f"[{i}/{len(grid)}] {trial.name}", flush=True)
    start = time.monotonic()
    code = run(trial)
    outcomes.append((trial, f"failed ({code})" if code else "done"))

    # The last line of its output says why a trial failed.
    last = results.text_of(f"{trial.workdir}.log").strip().rpartition("\n")[2]
    more = f": {textwrap.shorten(last, 300)}" if code else f" in {time.monotonic() - start:.0f} s"
    print(f"  {outcomes[-1][1]}{more}", flush=True)
    table = save(sweep, outcomes)

  if problem := results.unsorted([results.read(t.workdir) for t in grid], sweep.sort_by):
    print(f"sweep: {problem}", file=sys.stderr)
  print(f"\n{table}\n{sweep.workdir}/results.md, sweep.json")
  return int(any(said != "done" for _, said in outcomes))


def main(argv: Sequence[str]) -> int:
  """Does what the command-line arguments say and returns the exit code."""
  if {"-h", "--help"} & set(argv):
    print(__doc__)
    return 0

  sweep = parse(argv)
  if sweep.action == "run":
    try:
      return run_all(sweep)
    except KeyboardInterrupt:
      print("sweep: interrupted; the same command goes on from here", file=sys.stderr)
      return 130

  for trial in trials(sweep):
    if sweep.action == "tpu_vm":
      print(tpu_vm(trial))
    else:
      print(f"{trial.name}\n  {shlex.join(('python', *PROGRAM[1:], *trial.arguments))}")
  return 0


if __name__ == "__main__":
  # As an exception, SIGTERM can be passed on to the trial (see `run`).
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  sys.exit(main(sys.argv[1:]))
