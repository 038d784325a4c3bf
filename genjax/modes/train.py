"""--mode=train: from a configuration to a finished run directory, or on from an interruption."""

import concurrent.futures
import contextlib
import json
import pathlib
import traceback
from collections.abc import Mapping
from typing import Any

import jax

from genjax import core
from genjax.evaluation import metrics as metric_table
from genjax.modes import changes, evaluate, folder, look, sample
from genjax.report import page, pictures
from genjax.runs import build, load
from genjax.runs import open as runs
from genjax.training import checkpoints, loop, sharding, writers

# Held-out examples shown with their reconstructions.
PAIRS = 32
# The exit code that says: run me again.
INTERRUPTED = 75


def train(
  config: Mapping[str, Any], workdir: pathlib.Path, overrides: Mapping[str, Any], command: str
) -> int | None:
  """Trains, or resumes; ends with samples, metrics and the report in the run directory.

  Returns 75 if it was interrupted.

  Raises UserError before anything is written, loop.Diverged after the last good state has been
  saved, and loop.Failed if something beside the numbers went wrong, after the state has been saved.
  """
  console = writers.Console()
  setup = build.assemble(config)
  sharding.check("batch", config["batch"], config["accumulate"])
  sharding.check("sample_batch", config["sample_batch"])
  sharding.check_alike("data", json.dumps(setup.data.hash))
  splits = ("test", "valid") if config["evaluate_every"] else ("test",)
  metric_table.check(config["metrics"], setup.model, setup.data, config["num"], splits)

  # A new state, or that of the newest checkpoint.
  saved = checkpoints.Checkpoints(workdir, config["keep"], config["milestone_every"])
  start, changed = changes.resumed(workdir, setup, saved)
  over = sharding.mesh()
  sharding.check_alike("the step to go on from", str(start))
  if start is None:
    state = setup.initial(over, load.groups(setup, over))
  else:
    state = load.newest(setup, saved)
    if int(state.halted) >= 0:
      raise core.UserError(f"{workdir} diverged at step {int(state.halted)}; start anew elsewhere")
  if int(state.step) >= config["steps"] and (workdir / "report.html").is_file():
    _say_finished(state, workdir, config, changed, console)
    return None

  folder.begin(workdir, setup, state, overrides, command, console)
  _banner(setup, state, workdir, changed, console)
  with loop.Interrupt() as interrupt:
    state, run = _fit(setup, state, over, workdir, saved, console, interrupt)
  if interrupt.everywhere():
    console.say(f"stopped by {interrupt.name} at step {int(state.step)}; go on with:\n  {command}")
    return INTERRUPTED
  try:
    _finish(run, workdir, console)
  except Exception as error:
    raise _failed(loop.Failed(int(state.step), state), error, workdir, console) from error
  return None


def _say_finished(
  state: core.TrainState,
  workdir: pathlib.Path,
  config: Mapping[str, Any],
  changed: Mapping[str, tuple[Any, Any]],
  console: writers.Console,
) -> None:
  """Says that there is nothing to train, and which of the settings therefore had no effect."""
  console.say(f"{workdir} is finished: {int(state.step)} of {config['steps']} steps")
  for key, (old, new) in changed.items():
    console.say(f"ignored    {key}={new!r} (the run has {old!r})")
  if changed:
    console.say(f"to look at it otherwise: --mode=sample or evaluate, --workdir={workdir}")


def _finish(run: runs.Run, workdir: pathlib.Path, console: writers.Console) -> None:
  """Makes what a run ends with: samples, reconstructions, metrics and the report."""
  run.progress = writers.Progress(console)
  if hasattr(run.model, "sample"):
    num = run.config["samples"]
    sample.generate(run, folder.generated(workdir, 0, num, "", {}), 0, num, console)
  if hasattr(run.model, "reconstruct"):
    picture = look.pairs(run, run.reconstructions(PAIRS))
    if console.main:
      pictures.save_png(workdir / "generated" / "reconstructions" / "grid.png", picture)
  evaluate.measure(run, workdir, console)
  if console.main:
    console.say(f"report     {page.write(workdir)}")


class Drawer:
  """Looks at a state that is being trained: metrics, and pictures drawn beside the training."""

  def __init__(self, setup: build.Setup, workdir: pathlib.Path, console: writers.Console):
    self.setup = setup
    self.workdir = workdir
    self.console = console
    self._pool = concurrent.futures.ThreadPoolExecutor(1)
    self._drawn: list[concurrent.futures.Future] = []
    self._newest: tuple[Any, runs.Run | None] = None, None

  def run_of(self, state: core.TrainState) -> runs.Run:
    """Returns the Run of a state, made once, so that its samples are drawn once."""
    if self._newest[0] is not state:
      self._newest = state, runs.Run.of_state(self.setup, state)
    return self._newest[1]

  def evaluate(self, step: int, state: core.TrainState) -> None:
    """Measures against the valid split: the test split is for what training ends in."""
    evaluate.measure(self.run_of(state).against("valid"), self.workdir, self.console)

  def draw(self, step: int, state: core.TrainState) -> None:
    """Draws samples, or else reconstructions."""
    run = self.run_of(state)
    if hasattr(run.model, "sample"):
      picture = self._samples(run.against("valid"))
    else:
      both = run.reconstructions(PAIRS)
      picture = lambda: look.pairs(run, both)
    if self.console.main:
      path = self.workdir / "samples" / f"step_{step:08d}.png"
      self._drawn.append(self._pool.submit(lambda: pictures.save_png(path, picture())))

  def _samples(self, run: runs.Run) -> Any:
    """Draws samples now; returns the function that makes a picture of them, for the thread."""
    samples, faulty = run.drawn(0, run.config["samples"])
    if faulty:
      self.console.say(f"warning    {faulty:,} samples are not finite numbers")
    return lambda: look.picture(run, look.of_samples(run, samples))

  def close(self) -> None:
    """Waits for the pictures; raises what went wrong with one of them."""
    self._pool.shutdown()
    for picture in self._drawn:
      picture.result()


def _fit(
  setup: build.Setup,
  state: core.TrainState,
  over: jax.sharding.Mesh,
  workdir: pathlib.Path,
  saved: checkpoints.Checkpoints,
  console: writers.Console,
  interrupt: loop.Interrupt,
) -> tuple[core.TrainState, runs.Run]:
  """Trains with all hooks; returns the last state and its Run.

  The last good state is always saved, whatever goes wrong.
  """
  config = setup.config
  metrics = writers.Metrics(workdir, int(state.step), config["steps"], console)
  drawer = Drawer(setup, workdir, console)
  hooks = (
    (config["save_every"], lambda step, state: saved.save(state)),
    (config["sample_every"] if look.visible(setup.model) else 0, drawer.draw),
    (config["evaluate_every"], drawer.evaluate),
  )
  try:
    state = loop.fit(
      program=setup.program(over),
      state=state,
      batches=setup.batches,
      steps=config["steps"],
      log=(config["log_every"], metrics.write),
      hooks=hooks,
      interrupt=interrupt,
    )
    saved.save(state)
    saved.wait()
    drawer.close()
    if console.main:
      rate = {"steps_per_second": metrics.rate} if metrics.rate else {}
      seconds = round(metrics.seconds, 1)
      folder.note(workdir, seconds=seconds, steps=int(state.step), **rate)
    return state, drawer.run_of(state)
  except loop.Diverged as e:
    saved.save(e.state, wait=True)
    raise
  except Exception as error:
    failed = error if isinstance(error, loop.Failed) else loop.Failed(int(state.step), state)
    _save(saved, failed.state)
    cause = error.__cause__ if failed is error else error
    raise _failed(failed, cause, workdir, console) from cause
  finally:
    # What else fails here is of no more interest than what has failed before.
    for close in (drawer.close, metrics.close, saved.close):
      with contextlib.suppress(Exception):
        close()


def _save(saved: checkpoints.Checkpoints, state: core.TrainState) -> None:
  """Saves a state if that can still be done; saving may be what has failed.

  Several hosts save together, so that one which fails alone cannot.
  """
  if jax.process_count() == 1:
    # The error of an earlier save is raised once; the next may succeed.
    with contextlib.suppress(Exception):
      saved.wait()
    with contextlib.suppress(Exception):
      saved.save(state, wait=True)


def _failed(
  failed: loop.Failed, cause: Exception, workdir: pathlib.Path, console: writers.Console
) -> loop.Failed:
  """Adds to the error which step the run goes on from, as the disk says, and logs the cause."""
  with contextlib.suppress(Exception):
    failed.kept = checkpoints.Checkpoints(workdir).latest()
  with contextlib.suppress(Exception):
    console.note("".join(traceback.format_exception(cause)))
  return failed


def _banner(
  setup: build.Setup,
  state: core.TrainState,
  workdir: pathlib.Path,
  changed: Mapping[str, tuple[Any, Any]],
  console: writers.Console,
) -> None:
  """Says what is trained, on what, and what is otherwise than before."""
  device = jax.devices()[0]
  lines = [
    f"devices    {jax.device_count()} x {device.device_kind} ({device.platform})",
    f"parameters {folder.size(state.params):,} in {', '.join(state.params)}",
    f"data       {setup.data.origin}",
    f"step       {int(state.step)} of {setup.config['steps']}, batch {setup.config['batch']}",
    f"workdir    {workdir}",
    f"cache      {jax.config.jax_compilation_cache_dir or 'off'}",
  ]
  lines += [f"changed    {key}={now!r} (was {old!r})" for key, (old, now) in changed.items()]
  if "steps" in changed:
    lines += changes.stretched(setup, changed["steps"][0], int(state.step))
  console.say("\n".join(lines))
