"""--mode=train: from a configuration to a finished run directory, or on from an interruption."""

import concurrent.futures
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from genjax import core
from genjax.evaluation import metrics as metric_table
from genjax.modes import changes, evaluate, folder, look, sample
from genjax.report import page, pictures
from genjax.runs import build, load
from genjax.runs.open import Run
from genjax.training import checkpoints, loop, sharding, writers

PAIRS = 32  # held-out examples shown with their reconstructions
INTERRUPTED = 75  # the exit code that says: run me again


def train(
  config: Mapping[str, Any], workdir: pathlib.Path, overrides: Mapping[str, Any], command: str
) -> int | None:
  """Trains, or resumes; ends with samples, metrics and the report in the run directory.

  Returns 75 if it was interrupted. Raises UserError before anything is written, loop.Diverged
  after the last good state has been saved.
  """
  console = writers.Console()
  setup = build.assemble(config)
  sharding.check("batch", config["batch"], config["accumulate"])
  sharding.check("sample_batch", config["sample_batch"])
  sharding.check_alike("data", json.dumps(setup.data.hash))
  metric_table.check(config["metrics"], setup.model, setup.data, config["num"])

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
    console.say(f"{workdir} is finished: {int(state.step)} of {config['steps']} steps")
    return None

  folder.begin(workdir, setup, state, overrides, command, console)
  _banner(setup, state, workdir, changed, console)
  with loop.Interrupt() as interrupt:
    state, run = _fit(setup, state, over, workdir, saved, console, interrupt)
  if interrupt.everywhere():
    console.say(f"stopped by {interrupt.name} at step {int(state.step)}; go on with:\n  {command}")
    return INTERRUPTED
  _finish(run, workdir, console)
  return None


def _finish(run, workdir, console):
  """What a run ends with: samples, reconstructions, metrics and the report."""
  if hasattr(run.model, "sample"):
    num = run.config["samples"]
    sample.generate(run, folder.generated(workdir, 0, num), 0, num)
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
    self.setup, self.workdir, self.console = setup, workdir, console
    self._pool, self._drawn = concurrent.futures.ThreadPoolExecutor(1), []
    self._newest: tuple[Any, Run | None] = None, None

  def run_of(self, state: core.TrainState) -> Run:
    """Its Run, made once, so that its samples are drawn once."""
    if self._newest[0] is not state:
      self._newest = state, Run.of_state(self.setup, state)
    return self._newest[1]

  def evaluate(self, step: int, state: core.TrainState) -> None:
    """The metrics against the valid split: the test split is for what training ends in."""
    evaluate.measure(self.run_of(state).against("valid"), self.workdir, self.console)

  def draw(self, step: int, state: core.TrainState) -> None:
    """A picture of samples, or else of reconstructions."""
    run = self.run_of(state)
    if hasattr(run.model, "sample"):
      own = run.against("valid")
      samples = own.samples(run.config["samples"])
      picture = lambda: look.picture(own, look.of_samples(own, samples))
    else:
      both = run.reconstructions(PAIRS)
      picture = lambda: look.pairs(run, both)
    if self.console.main:
      path = self.workdir / "samples" / f"step_{step:08d}.png"
      self._drawn.append(self._pool.submit(lambda: pictures.save_png(path, picture())))

  def close(self) -> None:
    """Waits for the pictures."""
    self._pool.shutdown()

  def check(self) -> None:
    """Raises what went wrong with one of them."""
    for picture in self._drawn:
      picture.result()


def _fit(setup, state, over, workdir, saved, console, interrupt):
  """The loop with its hooks -> the last state and its Run; the last good state is always saved."""
  config = setup.config
  program = setup.program(over)
  metrics = writers.Metrics(workdir, int(state.step), config["steps"], console)
  drawer = Drawer(setup, workdir, console)
  hooks = (
    (config["save_every"], lambda step, state: saved.save(state)),
    (config["sample_every"] if look.visible(setup.model) else 0, drawer.draw),
    (config["evaluate_every"], drawer.evaluate),
  )
  try:
    log = (config["log_every"], metrics.write)
    state = loop.fit(program, state, setup.batches, config["steps"], log, hooks, interrupt)
    saved.save(state)
  except loop.Diverged as e:
    saved.save(e.state)
    raise
  finally:
    drawer.close()
    metrics.close()
    saved.close()
  drawer.check()
  facts = {"seconds": round(metrics.seconds, 1), "steps": int(state.step)}
  if console.main:
    rate = {"steps_per_second": metrics.rate} if metrics.rate else {}
    folder.note(workdir, **facts, **rate)
  return state, drawer.run_of(state)


def _banner(setup, state, workdir, changed, console):
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
  console.say("\n".join(lines))
