"""The loop: batches in, updates, and hooks at their cadence. It knows no family and writes no file.

Nothing waits for the device between two log lines: metrics stay there until they are logged, and a
step that is not finite halts in the graph (step.py), so the host finds out when it next looks.
"""

import collections
import contextlib
import functools
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from genjax import core
from genjax.training import program as program_lib
from genjax.training import sharding
from genjax.training import step as step_lib

Hook = tuple[int, Callable[[int, core.TrainState], None]]  # (every, function(step, state))


class Diverged(Exception):
  """The first step whose metrics were not finite, and their names."""

  def __init__(self, step: int, names: Sequence[str]):
    super().__init__(
      f"diverged at step {step}: {', '.join(names)} not finite; the state before it is saved"
    )
    self.step, self.names = step, tuple(names)


class Interrupt:
  """Turns the first SIGTERM or Ctrl-C into a flag, read between steps; the second one kills."""

  def __init__(self):
    self.name = ""

  def __enter__(self):
    self.before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
    return self

  def __exit__(self, *_):
    for number, handler in self.before.items():
      signal.signal(number, handler)

  def _note(self, number, _):
    self.name = signal.Signals(number).name
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)

  def everywhere(self) -> bool:
    """Whether to stop now: all hosts must answer alike, so they agree on the flag."""
    if jax.process_count() == 1:
      return bool(self.name)
    from jax.experimental import multihost_utils

    stop = np.any(multihost_utils.process_allgather(np.array(bool(self.name))))
    if stop and not self.name:
      self.name = "a signal to another host"
    return bool(stop)


def fit(
  program: program_lib.Program,
  state: core.TrainState,
  batches: Callable[[int, int], Iterator[core.Batch]],
  steps: int,
  log: tuple[int, Callable[[int, Mapping[str, float]], None]],
  hooks: Sequence[Hook],
  interrupt: Interrupt,
) -> core.TrainState:
  """Trains from `state.step` to `steps`, or until interrupted.

  batches: (start, stop) -> this host's rows of the batches of these steps, a pure function. log:
  (every, write(step, metrics)), the metrics being means since the last line. Hooks also run after
  the last step; a cadence of 0 is never. Raises Diverged, whose attribute `state` is the last good
  one.
  """
  start, recent = int(state.step), []
  if start >= steps:
    return state
  placed = lambda step: sharding.place(next(batches(step, step + 1)), program.over)
  cadences = [every for every, _ in (log, *hooks) if every]
  plan = functools.partial(
    program_lib.stretches, program.model, stop=steps, cadences=cadences,
    most=program.most(state, placed(start)),
  )  # fmt: skip
  sizes = {}
  for stretch in plan(0):
    sizes[stretch.due] = max(stretch.count, sizes.get(stretch.due, 0))
  fed = program_lib.feed(batches(start, steps), plan(start), sizes, program.over)
  with contextlib.closing(ahead(fed)) as ready:
    for (first, count, now), batch in ready:
      if sizes[now] == 1:
        state, metrics = program.once(state, batch, due=now)
      else:
        state, metrics = program.several(state, batch, count, due=now)
      recent.append((count, metrics))
      done = first + count
      end = done == steps
      due = [hook for every, hook in hooks if every and (done % every == 0 or end)]
      logging = done % log[0] == 0 or end
      stop = (logging or jax.process_count() == 1) and interrupt.everywhere()
      if logging or due or stop:
        _check(state, program, placed)
      if logging:
        log[1](done, mean(recent))
        recent = []
      for hook in due:
        hook(done, state)
      if stop:
        break
  return state


def _check(state, program, placed):
  """Raises Diverged if the state has halted; the step is made again to see which metric it was."""
  halted = int(state.halted)
  if halted < 0:
    return
  due = step_lib.due_at(program.model, halted)
  _, metrics = program.once(copy(state), placed(halted), due=due)
  names = sorted(k for k, v in metrics.items() if not np.isfinite(v))
  error = Diverged(halted, names or ["parameters"])
  error.state = state
  raise error


@jax.jit
def copy(state: core.TrainState) -> core.TrainState:
  """The same state in arrays of its own, which may be donated."""
  return jax.tree.map(lambda a: a.copy(), state)


def mean(recent: Sequence[tuple[int, Mapping[str, jax.Array]]]) -> dict[str, float]:
  """The mean of each metric over the steps that have it, from (count, sums) of some steps each."""
  counts, sums = collections.Counter(), collections.Counter()
  for count, metrics in jax.device_get(recent):
    for name, value in metrics.items():
      counts[name] += count
      sums[name] += value
  return {name: float(sums[name] / counts[name]) for name in sums}


def ahead(batches: Iterator, depth: int = 2) -> Iterator:
  """The same items, made `depth` ahead in a thread; its errors are raised here, in their turn."""
  ready, stop = queue.Queue(depth), threading.Event()

  def work():
    try:
      for batch in batches:
        _put(ready, (batch, None), stop)
        if stop.is_set():
          return
      _put(ready, (None, StopIteration()), stop)
    except BaseException as e:  # whatever it was, the consumer must hear of it
      _put(ready, (None, e), stop)

  thread = threading.Thread(target=work, daemon=True)
  thread.start()
  try:
    while True:
      batch, error = ready.get()
      if isinstance(error, StopIteration):
        return
      if error is not None:
        raise error
      yield batch
  finally:
    stop.set()
    thread.join()


def _put(ready, item, stop):
  while not stop.is_set():
    try:
      return ready.put(item, timeout=0.1)
    except queue.Full:
      continue
