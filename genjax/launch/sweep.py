"""Runs a configuration once for every combination of some of its settings.

    python -m genjax.launch.sweep --config=configs/ddpm_mnist.py \\
        --sweep.optim.denoiser.lr=1e-4,3e-4 --sweep.seed=0,1 --config.steps=2000

    --sweep.KEY=A,B      an axis: config.KEY takes each value; commas in brackets do not separate
    --config.KEY=VALUE   handed on to every trial
    --workdir=DIR        where the trials go; else runs/sweep_<config>, and a digest of what is
                         handed on
    --sort_by=NAME       sorts the results by a metric, smallest first; -NAME largest first
    --dry                lists trials and commands and runs nothing
    --print=tpu_vm       prints a gcloud command for each trial and runs nothing. Run one where
                         TPU_NAME and ZONE are set, and the trial starts on every worker of that
                         TPU VM, in ~/genjax, where this repository must be installed

The trials run one after another as `python -m genjax.main`, each in a directory named by its
values, its output in <directory>.log beside it. One that fails is reported and the others go on.
The same command again resumes: a finished trial ends at once. sweep.json and results.md are
rewritten after every trial. Exit code: 0, or 1 if a trial failed, 2 if the command is wrong.
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
  """axes: key -> values, as text; given: the --config.KEY=VALUE arguments, as they are."""

  config: str
  axes: dict[str, list[str]]
  given: list[str]
  workdir: str
  sort_by: str = ""
  action: str = "run"  # "dry", "tpu_vm"


class Trial(NamedTuple):
  """One combination: its values, its directory's name and the arguments of the program."""

  name: str
  values: dict[str, str]
  workdir: str
  arguments: list[str]


def refuse(message: str) -> NoReturn:
  """Ends with one line for the person who typed the command (not `core.UserError`: no jax here)."""
  print(f"sweep: {message}", file=sys.stderr)
  raise SystemExit(2)


def parse(argv: Sequence[str]) -> Sweep:
  """The arguments -> what to run; `refuse` says what is wrong with them."""
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
  """(axes, arguments handed on, own flags)."""
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
    elif flag in FLAGS and (not equals if flag == "--dry" else value):
      flags[flag] = value
    elif flag in FLAGS:
      refuse(f"cannot read {argument!r}; expected {flag}" + "=VALUE" * (flag != "--dry"))
    else:
      near = difflib.get_close_matches(flag, [*FLAGS, "--sweep.KEY", "--config.KEY=VALUE"], n=1)
      refuse(f"cannot read {argument!r}; " + (f"did you mean {near[0]}?" if near else "see --help"))
  return axes, given, flags


def _values(flag: str, text: str) -> list[str]:
  """ "1,(2,3)" -> ["1", "(2,3)"]."""
  values, depth = [""], 0
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
  """runs/sweep_<config>[-<its argument>][-<6 hex of what is handed on>]."""
  path, _, argument = config.partition(":")
  parts = [pathlib.PurePath(path).stem, *filter(None, [argument])]
  if given:
    parts.append(hashlib.sha256("\n".join(sorted(given)).encode()).hexdigest()[:6])
  return f"runs/sweep_{_plain('-'.join(parts))}"


def _plain(name: str) -> str:
  """A name fit for a directory; a digest keeps apart what becomes alike."""
  plain = re.sub(r"[^\w.,=+-]+", "_", name, flags=re.ASCII)[:150]
  return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def trials(sweep: Sweep) -> list[Trial]:
  """The grid, the last axis fastest; names do not depend on the order of the axes."""
  out = []
  for combination in itertools.product(*sweep.axes.values()):
    values = dict(zip(sweep.axes, combination))
    name = _plain(",".join(f"{key}={values[key]}" for key in sorted(values)))
    workdir = f"{sweep.workdir}/{name}"
    own = [f"--config.{key}={value}" for key, value in values.items()]
    arguments = [f"--config={sweep.config}", f"--workdir={workdir}", *sweep.given, *own]
    out.append(Trial(name, values, workdir, arguments))
  return out


def tpu_vm(trial: Trial) -> str:
  """The command that runs a trial on all workers of a TPU VM."""
  there = "cd ~/genjax && " + shlex.join(("python3", "-m", "genjax.main", *trial.arguments))
  command = shlex.quote(there)
  return f"gcloud compute tpus tpu-vm ssh $TPU_NAME --zone=$ZONE --worker=all --command={command}"


def run(trial: Trial) -> int:
  """Runs a trial, its output in <workdir>.log -> exit code.

  The log lies beside the directory, which must be empty for a run to begin in it. An interrupt
  reaches the trial by itself; a termination is passed on. Both wait for it to save.
  """
  log = pathlib.Path(f"{trial.workdir}.log")
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open("ab") as out:
    process = subprocess.Popen(
      [*PROGRAM, *trial.arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out
    )
    try:
      return process.wait()
    except KeyboardInterrupt:
      process.wait()
      raise
    except SystemExit:
      process.terminate()
      process.wait()
      raise


def save(sweep: Sweep, outcomes: Sequence[tuple[Trial, str]]) -> str:
  """Writes sweep.json and results.md of the trials run so far; returns the table."""
  rows = [
    {"name": t.name, "values": t.values, "outcome": said, **results.read(t.workdir)}
    for t, said in outcomes
  ]
  rows = results.order(rows, sweep.sort_by)
  text = results.table(rows, sweep.sort_by)
  whole = json.dumps({**sweep._asdict(), "trials": rows}, indent=1)
  for name, content in (("sweep.json", whole), ("results.md", text)):
    part = pathlib.Path(sweep.workdir, f".{name}.part")
    part.write_text(content, encoding="utf-8")
    os.replace(part, part.with_name(name))
  return text


def run_all(sweep: Sweep) -> int:
  """Runs every trial -> exit code, 1 if one failed."""
  grid = trials(sweep)
  outcomes: list[tuple[Trial, str]] = []
  for i, trial in enumerate(grid, 1):
    print(f"[{i}/{len(grid)}] {trial.name}", flush=True)
    start = time.monotonic()
    code = run(trial)
    outcomes.append((trial, f"failed ({code})" if code else "done"))
    last = results.text_of(f"{trial.workdir}.log").strip().rpartition("\n")[2]
    more = f": {textwrap.shorten(last, 300)}" if code else f" in {time.monotonic() - start:.0f} s"
    print(f"  {outcomes[-1][1]}{more}", flush=True)
    table = save(sweep, outcomes)
  if problem := results.unsorted([results.read(t.workdir) for t in grid], sweep.sort_by):
    print(f"sweep: {problem}", file=sys.stderr)
  print(f"\n{table}\n{sweep.workdir}/results.md, sweep.json")
  return int(any(said != "done" for _, said in outcomes))


def main(argv: Sequence[str]) -> int:
  """Does what the arguments say -> exit code."""
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
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  sys.exit(main(sys.argv[1:]))
