"""What a run writes while it trains: the console, log.txt, metrics.jsonl and TensorBoard events.

Only process 0 writes. On a terminal there is one progress bar; elsewhere there is one line for each
log step.
"""

import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import jax


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file atomically; numbers that are not finite become null (JSON has no NaN)."""
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f".{path.name}.part")
  part.write_text(json.dumps(_finite(value), indent=2) + "\n", encoding="utf-8")
  # The old file or the new one is there at any time, never half of one.
  os.replace(part, path)


def _finite(value: Any) -> Any:
  """Returns the value with None in place of every number that is not finite."""
  if isinstance(value, Mapping):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


class Console:
  """Prints lines to the terminal and, once there is a run directory, also to its log.txt.

  A terminal that goes away, such as a pipe into `head`, never ends a training: the console falls
  silent and the files go on. Does nothing on processes other than 0.
  """

  def __init__(self):
    self.file = None
    self.main = jax.process_index() == 0

  def open(self, workdir: pathlib.Path) -> None:
    """Opens log.txt: from here on, lines go to it too."""
    if self.main:
      # Without a buffer, which would be written once more, and fail once more, at the end.
      self.file = (workdir / "log.txt").open("ab", buffering=0)

  def say(self, text: str) -> None:
    """Prints one or more lines, above the progress bar if there is one."""
    if not self.main:
      return
    say(text)
    self.note(text)

  def note(self, text: str) -> None:
    """Writes one or more lines to log.txt only; a log that cannot be written ends no training."""
    if not self.file:
      return
    try:
      # Names of files may hold bytes that are no text.
      self.file.write(f"{text}\n".encode(errors="backslashreplace"))
    except OSError as e:
      self.file = None
      say(f"warning    log.txt cannot be written any more: {e.strerror}", sys.stderr)


def say(text: str, stream: TextIO | None = None) -> None:
  """Prints lines above the progress bar; survives a terminal that is gone or knows no Unicode.

  stream: the standard output if not said.
  """
  from tqdm import tqdm

  stream = sys.stdout if stream is None else stream
  if stream is None or stream.closed:
    return
  encoding = stream.encoding or "utf-8"
  known = text.encode(encoding, errors="replace").decode(encoding)
  try:
    tqdm.write(known, file=stream)
    stream.flush()
  except OSError:
    # Nobody reads any more. What Python still holds would raise again when it exits.
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stdout = nowhere if stream is sys.stdout else sys.stdout
    sys.stderr = nowhere if stream is sys.stderr else sys.stderr


class Progress:
  """Shows how far a piece of work is: a bar on a terminal, else a line every ten seconds.

  Both go to the standard error: what is asked for goes to the standard output.

  Calling it (done, total, what) tells that `done` of `total` items of the work `what` are made.
  """

  EVERY = 10.0

  def __init__(self, console: Console):
    self.console = console
    self.what = ""
    self.bar = None
    self.said = time.monotonic()

  def __call__(self, done: int, total: int, what: str) -> None:
    """Shows the progress; the bar goes away when the work is complete."""
    if not self.console.main:
      return
    if _terminal():
      self._draw(done, total, what)
    elif time.monotonic() - self.said > self.EVERY and done < total:
      say(f"{what} {done:,} of {total:,}", sys.stderr)
      self.said = time.monotonic()

  def _draw(self, done: int, total: int, what: str) -> None:
    from tqdm import tqdm

    if self.bar is None or self.what != what:
      self.close()
      self.bar = tqdm(total=total, desc=what, leave=False, dynamic_ncols=True)
      self.what = what
    self.bar.update(done - self.bar.n)
    if done >= total:
      self.close()

  def close(self) -> None:
    """Takes the bar away."""
    if self.bar is not None:
      self.bar.close()
    self.bar = None


class Metrics:
  """Writes metrics.jsonl and the TensorBoard events in tb/, and shows the progress.

  start: the step at which this session begins. Lines of later steps, from an earlier session whose
    work after its last checkpoint is lost, are cut off: each step stands in the file once.
  steps: the step at which training ends.
  rate: steps per second between the last two log lines, 0 before there are two.
  """

  def __init__(self, workdir: pathlib.Path, start: int, steps: int, console: Console):
    self.console = console
    self.steps = steps
    self.main = jax.process_index() == 0
    self.clock = time.monotonic()
    self.before = 0.0  # seconds of training in earlier sessions
    self.first = None  # the time of the last log line
    self.seen = start  # the step of the last log line
    self.rate = 0.0
    if not self.main:
      return
    from tensorboardX import SummaryWriter
    from tqdm import tqdm

    self.before = _cut(workdir / "metrics.jsonl", start)
    self.file = (workdir / "metrics.jsonl").open("a", encoding="utf-8")
    self.board = SummaryWriter(str(workdir / "tb"), purge_step=start + 1)
    self.bar = tqdm(
      total=steps,
      initial=start,
      unit="step",
      disable=not _terminal(),
      dynamic_ncols=True,
    )

  @property
  def seconds(self) -> float:
    """Seconds of training so far, over all sessions."""
    return self.before + time.monotonic() - self.clock

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes one line of metrics.jsonl and one event for each metric, and shows the progress."""
    if not self.main:
      return

    now = time.monotonic()
    # No rate for the first interval, since it contains the compilation.
    if self.first is not None:
      self.rate = (step - self.seen) / (now - self.first)
      metrics = {**metrics, "steps_per_second": self.rate}
    self.first = now
    self.seen = step

    line = {"step": step, "time": round(self.seconds, 3), **metrics}
    self.file.write(json.dumps(_finite(line)) + "\n")
    self.file.flush()
    for name, value in metrics.items():
      self.board.add_scalar(name, value, step)
    self._show(step, metrics)

  def _show(self, step: int, metrics: Mapping[str, float]) -> None:
    """Moves the progress bar, or prints a line where there is no terminal."""
    # A name with "@" is a metric at one noise level: too many for one line.
    losses = {k: f"{v:.4g}" for k, v in metrics.items() if "@" not in k and _headline(k)}
    text = " ".join(f"{k} {v}" for k, v in losses.items())
    rate = metrics.get("steps_per_second")
    left = f", {(self.steps - step) / rate:.0f} s left" if rate else ""
    line = f"step {step}/{self.steps}  {text}" + (f"  {rate:.2f} steps/s{left}" if rate else "")

    if self.bar.disable:
      self.console.say(line)
    else:
      self.bar.update(step - self.bar.n)
      self.bar.set_postfix(losses)
      self.console.note(line)

  def close(self) -> None:
    """Closes the progress bar and the files."""
    if self.main:
      self.bar.close()
      self.file.close()
      self.board.close()


def _terminal() -> bool:
  """Returns whether a person looks at a terminal: both the lines and the bar go there."""
  return all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def _headline(name: str) -> bool:
  """Returns whether a metric is shown beside the progress."""
  return name.endswith(("/loss", "/nats", "/distance"))


def _cut(path: pathlib.Path, start: int) -> float:
  """Drops the lines of metrics.jsonl after step `start`, and lines that are not JSON.

  A process that is killed while it writes leaves half a line. Returns the seconds of training up
  to the last line that stays.
  """
  if not path.is_file():
    return 0.0

  kept = []
  seconds = 0.0
  for text in path.read_text(encoding="utf-8").splitlines():
    try:
      line = json.loads(text)
    except json.JSONDecodeError:
      continue
    if line["step"] <= start:
      kept.append(text + "\n")
      seconds = line["time"]

  part = path.with_name(f".{path.name}.part")
  part.write_text("".join(kept), encoding="utf-8")
  os.replace(part, path)
  return seconds
