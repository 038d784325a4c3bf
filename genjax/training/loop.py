"""The training loop: takes batches, makes updates and calls hooks at regular steps.

The loop knows no family of models and writes no file.

Between two log lines the host does not wait for the device. Metrics stay on the device until they
are logged. A step whose result is not finite halts the training inside the compiled step (see
step.py), and the host finds out when it next reads `state.halted`.
"""

import collections
import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from genjax import core
from genjax.training import program as program_lib
from genjax.training import sharding
from genjax.training import step as step_lib

# How many steps are looked at before training, to find the longest stretches.
HORIZON = 200_000
# (every, function(step, state)): the function is called after every `every` steps, 0 for never.
Hook = tuple[int, Callable[[int, core.TrainState], None]]


class Diverged(Exception):
  """Training has reached a step whose metrics or parameters are not finite.

  step: the first such step.
  names: the metrics that are not finite, or ("parameters",) if all metrics are.
  state: the last good state, from before that step; set by `fit`.
  """

  def __init__(self, step: int, names: Sequence[str]):
    super().__init__(
      f"diverged at step {step}: {', '.join(names)} not finite; "
      "the state from before this step is saved"
    )
    self.step = step
    self.names = tuple(names)


class Failed(Exception):
  """Something else than the numbers has failed: a hook, a writer, the console or the data.

  step: the updates that were made before.
  state: the state after them, which is good.
  kept: the step of the newest checkpoint, None if there is none; set by whoever saves the state.
  """

  def __init__(self, step: int, state: core.TrainState):
    super().__init__(f"stopped at step {step}")
    self.step = step
    self.state = state
    self.kept: int | None = None


class Interrupt:
  """Turns the first SIGTERM or Ctrl-C into a flag that the loop reads between steps.

  A second signal ends the process at once, as usual. Use as a context manager.

  name: the signal that has arrived, "" if none has.
  """

  def __init__(self):
    self.name = ""

  def __enter__(self):
    self.before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
    return self

  def __exit__(self, *_):
    for number, handler in self.before.items():
      signal.signal(number, handler)

  def _note(self, number: int, _: Any) -> None:
    self.name = signal.Signals(number).name
    # From now on a signal has its usual effect.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)

  def everywhere(self) -> bool:
    """Returns whether to stop now, the same answer on all hosts.

    With several hosts this is a collective operation: every host must call it at the same step.
    """
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
  """Trains from `state.step` to `steps`, or until interrupted, and returns the last state.

  batches: (start, stop) -> this host's rows of the batches of steps start ... stop - 1. A pure
    function, so that a resumed run sees the batches that it would have seen.
  log: (every, write(step, metrics)) with every > 0. Each metric is its mean over the steps since
    the last log line that have it.
  hooks: called at their steps, and all but those of `every` = 0 also after the last step.

  Raises Diverged, whose attribute `state` is the last good state. Raises Failed, with the last
  state, from whatever `log`, a hook or `batches` raises.
  """
  start = int(state.step)
  recent = []
  if start >= steps:
    return state

  placed = lambda step: sharding.place(next(batches(step, step + 1)), program.over)
  cadences = [every for every, _ in (log, *hooks) if every]
  most = program.most(state, placed(start))
  plan, sizes = _plan(program.model, start, steps, most, cadences)
  fed = program_lib.feed(batches(start, steps), plan, sizes, program.over)

  done = start
  try:
    with contextlib.closing(ahead(fed)) as ready:
      for stretch, batch in ready:
        state, metrics = program(state, batch, stretch, sizes[stretch.due])
        recent.append((stretch.count, metrics))

        done = stretch.first + stretch.count
        end = done == steps
        due = [hook for every, hook in hooks if every and (done % every == 0 or end)]
        logging = done % log[0] == 0 or end
        # Several hosts agree on a stop at log lines only: asking waits for the device.
        stop = (logging or jax.process_count() == 1) and interrupt.everywhere()

        # A state that has diverged is neither logged nor handed to a hook.
        if logging or due or stop:
          _check(state, program, placed)
        if logging:
          log[1](done, mean(recent))
          recent = []
        for hook in due:
          hook(done, state)
        if stop:
          break
  except Diverged:
    raise
  except Exception as error:
    raise Failed(done, state) from error
  return state


def _plan(
  model: core.GenerativeModel, start: int, steps: int, most: int, cadences: Sequence[int]
) -> tuple[Iterator[program_lib.Stretch], Mapping[tuple[int, ...], int]]:
  """Returns (the stretches from `start` to `steps`, {due objectives: size of their stacks}).

  The stacks of batches have the sizes that a run from step 0 needs, so that a resumed run compiles
  the same programs as a run that never stopped: the number of steps of the longest stretch, or
  `most` for what is due beyond the HORIZON alone.
  """
  sizes = collections.defaultdict(lambda: most)
  longest: dict[tuple[int, ...], int] = {}
  for stretch in program_lib.stretches(model, 0, min(steps, HORIZON), most, cadences):
    # Where the HORIZON cuts a stretch, a longer one of its kind may follow.
    cut = stretch.first + stretch.count == HORIZON < steps
    longest[stretch.due] = max(most if cut else stretch.count, longest.get(stretch.due, 0))
  sizes.update(longest)
  return program_lib.stretches(model, start, steps, most, cadences), sizes


def _check(
  state: core.TrainState,
  program: program_lib.Program,
  placed: Callable[[int], core.Batch],
) -> None:
  """Raises Diverged if the state has halted.

  The state is still the one from before the step that failed, so that step is made again to see
  which of its metrics are not finite. placed: step -> the batch of that step on the devices.
  """
  halted = int(state.halted)
  if halted < 0:
    return

  due = step_lib.due_at(program.model, halted)
  # A copy, since the program donates its state and the caller still wants this one.
  _, metrics = program.once(copy(state), placed(halted), due=due)
  names = sorted(k for k, v in metrics.items() if not np.isfinite(v))
  error = Diverged(halted, names or ["parameters"])
  error.state = state
  raise error


@jax.jit
def copy(state: core.TrainState) -> core.TrainState:
  """Returns the same state in new arrays, which a compiled program may overwrite."""
  return jax.tree.map(lambda a: a.copy(), state)


def mean(recent: Sequence[tuple[int, Mapping[str, jax.Array]]]) -> dict[str, float]:
  """Returns the mean of each metric over the steps that have it.

  recent: pairs (count, metrics), each metric being its sum over `count` steps.
  """
  counts = collections.Counter()
  sums = collections.Counter()
  for count, metrics in jax.device_get(recent):
    for name, value in metrics.items():
      counts[name] += count
      sums[name] += value
  return {name: float(sums[name] / counts[name]) for name in sums}


def ahead(batches: Iterator, depth: int = 2) -> Iterator:
  """Yields the items of `batches`, which a thread prepares up to `depth` items in advance.

  An error of `batches` is raised here, after the items that came before it. Closing this iterator
  ends the thread.
  """
  ready = queue.Queue(depth)  # of (item, None), or (None, error) at the end
  stop = threading.Event()

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


def _put(ready: queue.Queue, item: tuple, stop: threading.Event) -> None:
  """Puts an item into the queue, or gives up once `stop` is set."""
  while not stop.is_set():
    try:
      # A timeout, so that a full queue which nobody reads any more does not hold the thread.
      return ready.put(item, timeout=0.1)
    except queue.Full:
      continue
