"""What a run says while it trains: the console, log.txt, metrics.jsonl and TensorBoard events.

Only process 0 writes. On a terminal there is one progress bar; elsewhere one line per log step.
"""

import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes JSON atomically; what is not finite becomes null, as JSON knows no NaN."""
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f".{path.name}.part")
  part.write_text(json.dumps(_finite(value), indent=2) + "\n")
  os.replace(part, path)


def _finite(value):
  if isinstance(value, Mapping):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


class Console:
  """Lines to the terminal and, once there is a run directory, to its log.txt."""

  def __init__(self):
    self.file = None
    self.main = jax.process_index() == 0

  def open(self, workdir: pathlib.Path) -> None:
    """From here on, lines go to log.txt too."""
    if self.main:
      self.file = (workdir / "log.txt").open("a")

  def say(self, text: str) -> None:
    """One or more lines; above the progress bar if there is one."""
    if not self.main:
      return
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
    self.note(text)

  def note(self, text: str) -> None:
    """To log.txt only."""
    if self.file:
      self.file.write(text + "\n")
      self.file.flush()


class Metrics:
  """metrics.jsonl and tb/ of a run, and the progress shown.

  start, steps: of this session. What an earlier session wrote beyond `start` was lost with it and
  will be made again, so it is cut off: each step stands in the file once.
  """

  def __init__(self, workdir: pathlib.Path, start: int, steps: int, console: Console):
    self.console, self.steps, self.main = console, steps, jax.process_index() == 0
    self.clock, self.before, self.first, self.seen = time.monotonic(), 0.0, None, start
    self.rate = 0.0  # steps per second between the last two lines
    if not self.main:
      return
    from tensorboardX import SummaryWriter
    from tqdm import tqdm

    self.before = _cut(workdir / "metrics.jsonl", start)
    self.file = (workdir / "metrics.jsonl").open("a")
    self.board = SummaryWriter(str(workdir / "tb"), purge_step=start + 1)
    self.bar = tqdm(
      total=steps, initial=start, unit="step", disable=not sys.stdout.isatty(), dynamic_ncols=True
    )

  @property
  def seconds(self) -> float:
    """Of training, all sessions together."""
    return self.before + time.monotonic() - self.clock

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """One line of metrics.jsonl, one event each, and the progress."""
    if not self.main:
      return
    now = time.monotonic()
    if self.first is not None:  # the first interval holds the compilation
      self.rate = (step - self.seen) / (now - self.first)
      metrics = {**metrics, "steps_per_second": self.rate}
    self.first, self.seen = now, step
    line = {"step": step, "time": round(self.seconds, 3), **metrics}
    self.file.write(json.dumps(_finite(line)) + "\n")
    self.file.flush()
    for name, value in metrics.items():
      self.board.add_scalar(name, value, step)
    self._show(step, metrics)

  def _show(self, step, metrics):
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
    if self.main:
      self.bar.close()
      self.file.close()
      self.board.close()


def _headline(name: str) -> bool:
  return name.endswith(("/loss", "/nats", "/distance"))


def _cut(path: pathlib.Path, start: int) -> float:
  """Drops the lines beyond step `start` and a last one cut short; returns the seconds before."""
  if not path.is_file():
    return 0.0
  kept, seconds = [], 0.0
  for text in path.read_text().splitlines():
    try:
      line = json.loads(text)
    except json.JSONDecodeError:
      continue
    if line["step"] <= start:
      kept.append(text + "\n")
      seconds = line["time"]
  part = path.with_name(f".{path.name}.part")
  part.write_text("".join(kept))
  os.replace(part, path)
  return seconds
