"""What the loop costs beside the step, as a worker of run.py: one JSON line.

    overhead.py loop CONFIG STEPS [overrides]     loop.fit against the bare compiled step
    overhead.py stalls CONFIG [overrides]         the waits of a whole run for saves, logs, pictures

loop: milliseconds a step of both, medians of REPEATS turns of STEPS steps each, and the share of
the loop's time that it waits for data. stalls: milliseconds of each kind of call, on the thread
that trains, and all of them as a share of the seconds of training.
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

import jax

from genjax import config as config_lib
from genjax.modes import train
from genjax.runs import build
from genjax.training import checkpoints, loop, runtime, sharding, writers

REPEATS = 5


def overhead(path: str, steps: str, *overrides) -> dict:
  config, _ = config_lib.from_file(path, list(overrides))
  setup, over, n = build.assemble(config), sharding.mesh(), int(steps)
  program = setup.program(over)
  state = loop.copy(setup.initial(over, {}))
  batch = sharding.place(setup.pipeline.at(0), over)
  waits = record(loop, "ahead", waiting)
  most = program.most(state, batch)
  program.most = lambda *_: most  # found once a run, which is longer than these

  def bare(state):
    for _ in range(n):
      state, _ = program.once(state, batch, due=(0,))
    return state

  def fit(state):
    log, stop = (config["log_every"], lambda *_: None), int(state.step) + n
    return loop.fit(program, state, setup.batches, stop, log, (), loop.Interrupt())

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


def waiting(items, waits):
  """The same items; notes the seconds that each lets wait."""
  while True:
    begin = time.perf_counter()
    item = next(items, None)
    waits.append(time.perf_counter() - begin)
    if item is None:
      return
    yield item


def record(owner, name: str, how) -> list:
  """Puts how(result, seconds) in the place of what owner.name returns."""
  seconds, function = [], getattr(owner, name)
  setattr(owner, name, lambda *args, **kwargs: how(function(*args, **kwargs), seconds))
  return seconds


def stalls(path: str, *overrides) -> dict:
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
  train._finish = lambda *args: None  # the end is no training
  train.train(config, workdir, values, "overhead.py")
  total = json.loads((workdir / "run.json").read_text())["seconds"]
  shutil.rmtree(workdir)
  share = sum(map(sum, seconds.values())) / total
  medians = {f"{kind}_ms": round(1e3 * statistics.median(t), 2) for kind, t in seconds.items()}
  return {**medians, "seconds": total, "stalled": round(share, 5)}


def timed(function, seconds):
  """Notes how long each call takes, on the main thread: orbax has threads of its own."""

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
  runtime.keep_memory()
  what, *args = sys.argv[1:]
  print(json.dumps({"loop": overhead, "stalls": stalls}[what](*args)))


if __name__ == "__main__":
  main()
