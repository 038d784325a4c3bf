"""What does the training loop cost beside the step? A program of run.py; prints one JSON line.

    overhead.py loop CONFIG STEPS [overrides]     loop.fit against the bare compiled step
    overhead.py stalls CONFIG [overrides]         waits of a whole run for saves, logs, pictures

loop: milliseconds a step, in the loop and bare, medians of REPEATS turns of STEPS steps each; and
the share of the loop's time for which it waits for data.

stalls: milliseconds of each kind of call, on the thread that trains; and all such calls as a share
of the seconds of training.
"""

import collections
import concurrent.futures
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from genjax import config as config_lib
from genjax.modes import train
from genjax.runs import build
from genjax.training import checkpoints, loop, runtime, sharding, writers

REPEATS = 5


def overhead(path: str, steps: str, *overrides: str) -> dict:
  """Times the loop against the bare step: {"bare_ms", "loop_ms", "overhead", "data_wait"}."""
  config, _ = config_lib.from_file(path, list(overrides))
  setup = build.assemble(config)
  over = sharding.mesh()
  n = int(steps)

  program = setup.program(over)
  state = loop.copy(setup.initial(over, {}))
  batch = sharding.place(setup.pipeline.at(0), over)
  waits = record(loop, "ahead", waiting)

  # A run looks for this number once. A turn is much shorter than a run, so here it is fixed.
  most = program.most(state, batch)
  program.most = lambda *_: most

  def bare(state):
    for _ in range(n):
      state, _ = program.once(state, batch, due=(0,))
    return state

  def fit(state):
    log = (config["log_every"], lambda *_: None)
    stop = int(state.step) + n
    return loop.fit(program, state, setup.batches, stop, log, (), loop.Interrupt())

  # The first turn compiles and is not counted.
  times = {bare: [], fit: []}
  for turn in range(REPEATS + 1):
    for work in times:
      waits.clear()
      begin = time.perf_counter()
      state = jax.block_until_ready(work(state))
      if turn:
        times[work].append(time.perf_counter() - begin)

  a, b = (statistics.median(t) for t in times.values())
  return {
    "bare_ms": round(1e3 * a / n, 3),
    "loop_ms": round(1e3 * b / n, 3),
    "overhead": round(b / a - 1, 4),
    "data_wait": round(sum(waits) / times[fit][-1], 4),
  }


def waiting(items: Iterator, waits: list[float]) -> Iterator:
  """Yields the same items, and notes in `waits` how many seconds each took to come."""
  while True:
    begin = time.perf_counter()
    item = next(items, None)
    waits.append(time.perf_counter() - begin)
    if item is None:
      return
    yield item


def record(owner: Any, name: str, how: Callable) -> list:
  """Replaces the function owner.name: it now returns how(result, seconds).

  Returns the list `seconds`, to which `how` may add.
  """
  seconds = []
  function = getattr(owner, name)
  setattr(owner, name, lambda *args, **kwargs: how(function(*args, **kwargs), seconds))
  return seconds


def stalls(path: str, *overrides: str) -> dict:
  """Runs a whole training and times its calls: {"KIND_ms", ..., "seconds", "stalled"}."""
  config, values = config_lib.from_file(path, list(overrides))
  calls = {
    "log": (writers.Metrics, "write"),
    "save": (checkpoints.Checkpoints, "save"),
    "picture": (concurrent.futures.ThreadPoolExecutor, "submit"),
  }

  seconds = collections.defaultdict(list)
  for kind, (owner, name) in calls.items():
    setattr(owner, name, timed(getattr(owner, name), seconds[kind]))

  workdir = pathlib.Path(tempfile.mkdtemp())
  train._finish = lambda *args: None  # metrics and report at the end are no part of training
  train.train(config, workdir, values, "overhead.py")
  total = json.loads((workdir / "run.json").read_text())["seconds"]
  shutil.rmtree(workdir)

  share = sum(map(sum, seconds.values())) / total
  medians = {f"{kind}_ms": round(1e3 * statistics.median(t), 2) for kind, t in seconds.items()}
  return {**medians, "seconds": total, "stalled": round(share, 5)}


def timed(function: Callable, seconds: list[float]) -> Callable:
  """Returns the same function, which now notes in `seconds` how long each call takes.

  Only calls on the main thread count, since orbax has threads of its own.
  """

  def wrapped(*args, **kwargs):
    if threading.current_thread() is not threading.main_thread():
      return function(*args, **kwargs)
    begin = time.perf_counter()
    try:
      return function(*args, **kwargs)
    finally:
      seconds.append(time.perf_counter() - begin)

  return wrapped


def main() -> None:
  """Does what the first argument names and prints the result."""
  runtime.keep_memory()
  what, *args = sys.argv[1:]
  print(json.dumps({"loop": overhead, "stalls": stalls}[what](*args)))


if __name__ == "__main__":
  main()
