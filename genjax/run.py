"""One function a --mode: the only place that joins training, evaluation, data and report.

    train      from configuration to a finished run directory, or on from where it was interrupted
    sample     pictures and arrays of a run's samples
    evaluate   the configured metrics on its newest checkpoint -> eval.json
    report     the run as one HTML page -> report.html
    describe   what would be trained: parameters, FLOPs, abilities, shapes; nothing is written

What cannot be done is a core.UserError before anything is written.
"""

import concurrent.futures
import itertools
import json
import math
import os
import pathlib
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from genjax import config as config_lib
from genjax import core, restored
from genjax.evaluation import metrics as metric_table
from genjax.report import page, pictures
from genjax.training import checkpoints, loop, provenance, runtime, sharding, writers
from genjax.training import step as step_lib

# What a resumed run may change: how long, how often it looks, and how it draws.
RESUMABLE = (
  "steps", "log_every", "sample_every", "evaluate_every", "save_every", "keep", "milestone_every",
  "sample_batch", "samples", "metrics", "num", "eval_ema", "model.sampler", "model.guidance",
)  # fmt: skip
# What the modes that only look may override.
VIEW = (
  "sample_batch", "samples", "metrics", "num", "eval_ema", "load", "model.sampler",
  "model.guidance", "model.clip", "model.flow_steps", "model.probes", "model.terms",
  "model.importance",
)  # fmt: skip
SHARD = 10_000  # most samples in one file
COLUMNS = 8
PAIRS = 32  # held-out examples shown with their reconstructions
FRAMES, FILMED = 24, 32  # of an animation, and the samples in it: noise makes large files
INTERRUPTED = 75  # the exit code that says: run me again


def run_mode(flags, overrides: list[str], argv: list[str]) -> int | None:
  """Calls the function of flags.mode; returns the exit code, None for 0."""
  runtime.keep_memory()
  if flags.distributed:
    sharding.join(flags.distributed)
  logging.set_verbosity(logging.ERROR)  # orbax and tfds warn of what is no one's concern
  if flags.cache != "off":
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "genjax")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(flags.cache or cache))
  new = flags.mode == "train" or (flags.mode == "describe" and flags.config)
  default = config_lib.workdir(flags.config, overrides if new else [])
  workdir = pathlib.Path(flags.workdir or default)
  if new and flags.config:
    config, values = config_lib.from_file(flags.config, overrides)
  else:
    config, values = config_lib.from_run(workdir, overrides)
  if not new:
    check_view(values)
  if flags.mode == "train":
    return train(config, workdir, values, shlex.join(["python", "-m", "genjax.main", *argv[1:]]))
  if flags.mode == "evaluate":
    return evaluate(config, workdir)
  if flags.mode == "describe":
    return print(describe(config))
  if flags.mode == "report":
    return print(report(workdir))
  out = pathlib.Path(flags.out) if flags.out else None
  return print(sample(config, workdir, flags.num, flags.seed, out))


def train(
  config: Mapping[str, Any], workdir: pathlib.Path, overrides: Mapping[str, Any], command: str
) -> int | None:
  """Trains, or resumes; ends with samples, metrics and the report in the run directory.

  Returns 75 if it was interrupted. Raises UserError before anything is written, loop.Diverged
  after the last good state has been saved.
  """
  console = writers.Console()
  setup = restored.assemble(config)
  sharding.check("batch", config["batch"], config["accumulate"])
  sharding.check("sample_batch", config["sample_batch"])
  sharding.check_alike("data", json.dumps(setup.data.hash))
  metric_table.check(config["metrics"], setup.model, setup.data, config["num"])
  saved = checkpoints.Checkpoints(workdir, config["keep"], config["milestone_every"])
  start, changes = _resume(workdir, setup, saved)
  over = sharding.mesh()
  sharding.check_alike("the step to go on from", str(start))
  if start is None:
    state = setup.initial(over, restored.load(setup, over))
  else:
    state = restored.newest(setup, saved)
    if int(state.halted) >= 0:
      raise core.UserError(f"{workdir} diverged at step {int(state.halted)}; start anew elsewhere")
  if int(state.step) >= config["steps"] and (workdir / "report.html").is_file():
    console.say(f"{workdir} is finished: {int(state.step)} of {config['steps']} steps")
    return None
  _open(workdir, setup, state, overrides, command, console)
  _banner(setup, state, workdir, changes, console)
  with loop.Interrupt() as interrupt:
    state, run = _fit(setup, state, over, workdir, saved, console, interrupt)
  if interrupt.everywhere():
    console.say(f"stopped by {interrupt.name} at step {int(state.step)}; go on with:\n  {command}")
    return INTERRUPTED
  if hasattr(run.model, "sample"):
    _generate(run, _folder(workdir, 0, config["samples"]), 0, config["samples"])
  if hasattr(run.model, "reconstruct"):
    picture = _pairs(run, run.reconstructions(PAIRS))
    if console.main:
      pictures.save_png(workdir / "generated" / "reconstructions" / "grid.png", picture)
  _evaluate(run, workdir, console)
  if console.main:
    console.say(f"report     {page.write(workdir)}")
  return None


def _fit(setup, state, over, workdir, saved, console, interrupt):
  """The loop with its hooks -> the last state and its Run; the last good state is always saved."""
  config = setup.config
  program = setup.program(over)
  metrics = writers.Metrics(workdir, int(state.step), config["steps"], console)
  drawer, drawn = concurrent.futures.ThreadPoolExecutor(1), []
  newest = {}

  def so_far(state):
    """Its Run, made once, so that its samples are drawn once."""
    if newest.get("state") is not state:
      newest.update(state=state, run=restored.Run.of_state(setup, state))
    return newest["run"]

  def evaluate(step, state):  # the test split is for what training ends in
    _evaluate(so_far(state).against("valid"), workdir, console)

  def look(step, state):
    run = so_far(state)
    samples = hasattr(run.model, "sample")
    x = run.samples(config["samples"])["x"] if samples else run.reconstructions(PAIRS)
    if console.main:
      path, picture = workdir / "samples" / f"step_{step:08d}.png", _picture if samples else _pairs
      drawn.append(drawer.submit(lambda: pictures.save_png(path, picture(run, x))))

  hooks = (
    (config["save_every"], lambda step, state: saved.save(state)),
    (config["sample_every"] if visible(setup.model) else 0, look),
    (config["evaluate_every"], evaluate),
  )
  try:
    log = (config["log_every"], metrics.write)
    state = loop.fit(program, state, setup.batches, config["steps"], log, hooks, interrupt)
    saved.save(state)
  except loop.Diverged as e:
    saved.save(e.state)
    raise
  finally:
    drawer.shutdown()
    metrics.close()
    saved.close()
  for picture in drawn:
    picture.result()  # raises what went wrong with it
  facts = {"seconds": round(metrics.seconds, 1), "steps": int(state.step)}
  if console.main:
    _note(workdir, **facts, **({"steps_per_second": metrics.rate} if metrics.rate else {}))
  return state, so_far(state)


def sample(
  config: Mapping[str, Any], workdir: pathlib.Path, num: int, seed: int, out: pathlib.Path | None
) -> pathlib.Path:
  """Writes grid.png, samples.npz and animation.gif of samples 0 ... num - 1 of a seed."""
  if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise core.UserError(f"--out={out} is not empty; choose another place")
  sharding.check("sample_batch", config["sample_batch"])
  run = restored.Run.open(workdir, config)
  if not hasattr(run.model, "sample"):
    raise core.UserError(f"{workdir}: this model has no samples")
  return _generate(run, (out or _folder(workdir, seed, num)).absolute(), seed, num)


def evaluate(config: Mapping[str, Any], workdir: pathlib.Path) -> None:
  """Writes the configured metrics to eval.json."""
  sharding.check("sample_batch", config["sample_batch"])
  run = restored.Run.open(workdir, config)
  metric_table.check(config["metrics"], run.model, run.data, run.num)
  _evaluate(run, workdir, writers.Console())


def report(workdir: pathlib.Path) -> pathlib.Path:
  """Writes report.html."""
  return page.write(workdir)


def describe(config: Mapping[str, Any]) -> str:
  """Parameters by module, FLOPs of a step, abilities, shapes of a batch."""
  setup = restored.assemble(config)
  over = sharding.mesh()
  batch, state = setup.pipeline.at(0), setup.abstract(over)
  lines = [f"data       {setup.data.origin}"]
  lines += [f"batch      {k}: {v.dtype}{list(v.shape)}" for k, v in batch.items()]
  for group, tree in state.params.items():
    rows = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      name = "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path[:-1])
      rows[name or "."] = rows.get(name or ".", 0) + leaf.size
    lines += [f"{group}  {sum(rows.values()):,} parameters"]
    lines += [f"  {name:40} {size:>12,}" for name, size in rows.items()]
  program = setup.program(over)
  for due in sorted({step_lib.due_at(setup.model, step) for step in range(config["steps"])}):
    names = " + ".join(setup.model.objectives[i].name for i in due) or "refresh"
    cost = program.once.lower(state, batch, due=due).cost_analysis()
    lines += [f"step       {names}: {(cost or {}).get('flops', math.nan):.4g} FLOPs"]
  return "\n".join([*lines, f"abilities  {', '.join(abilities(setup.model))}"])


def abilities(model: core.GenerativeModel) -> list[str]:
  """What a model can do beyond being trained; likelihoods with their kinds."""
  names = ("sample", "trajectory", "encode", "decode", "reconstruct", "infill", "score", "energy",
           "classify")  # fmt: skip
  likelihoods = getattr(model, "likelihoods", {})
  return [n for n in names if hasattr(model, n)] + [
    f"log_prob[{name}: {likelihood.kind}]" for name, likelihood in likelihoods.items()
  ]


def visible(model: core.GenerativeModel) -> bool:
  """Whether there is something to look at: samples, or reconstructions."""
  return hasattr(model, "sample") or hasattr(model, "reconstruct")


def _resume(workdir, setup, saved) -> tuple[int | None, Mapping[str, Any]]:
  """(step to go on from, what the configuration changes: {key: (there, now)}).

  UserError if the directory holds anything but this run, on these data.
  """
  if not (workdir / "config.json").is_file():
    if workdir.exists() and any(workdir.iterdir()):
      raise core.UserError(f"{workdir} is not empty and holds no run; choose another --workdir")
    return None, {}
  changes = config_lib.difference(config_lib.from_run(workdir)[0], setup.config)
  fixed = {k: v for k, v in changes.items() if not _within(k, RESUMABLE)}
  if fixed:
    listed = ", ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in list(fixed.items())[:5])
    raise core.UserError(
      f"{workdir} holds a run of another configuration ({listed}); use --workdir"
    )
  restored.same_data(setup, workdir)
  return saved.latest(), changes


def _within(key: str, allowed: tuple[str, ...]) -> bool:
  return any(key == name or key.startswith(name + ".") for name in allowed)


def check_view(overrides: Mapping[str, Any]) -> None:
  """UserError for an override that would make another model of a finished run."""
  for key in overrides:
    if not _within(key, VIEW):
      raise core.UserError(f"{key} belongs to training; here one may override: {', '.join(VIEW)}")


def _open(workdir, setup, state, overrides, command, console):
  """The first files of a run directory, once nothing can be refused any more."""
  if not console.main:
    return
  parameters = {group: _size(tree) for group, tree in state.params.items()}
  facts = provenance.facts(setup.data, parameters, overrides, command)
  writers.write_json(workdir / "config.json", setup.config)
  if not (workdir / "run.json").is_file():
    seed = setup.config["seed"]
    first = {"name": workdir.name, "seed": seed, **facts, "sessions": []}
    writers.write_json(workdir / "run.json", first)
  kept = ("started", "command", "versions", "git", "devices", "processes")
  sessions = json.loads((workdir / "run.json").read_text())["sessions"]
  _note(workdir, sessions=[*sessions, {"step": int(state.step)} | {k: facts[k] for k in kept}])
  (workdir / "report.html").unlink(missing_ok=True)  # it is of an earlier step
  console.open(workdir)


def _banner(setup, state, workdir, changes, console):
  device = jax.devices()[0]
  lines = [
    f"devices    {jax.device_count()} x {device.device_kind} ({device.platform})",
    f"parameters {_size(state.params):,} in {', '.join(state.params)}",
    f"data       {setup.data.origin}",
    f"step       {int(state.step)} of {setup.config['steps']}, batch {setup.config['batch']}",
    f"workdir    {workdir}",
    f"cache      {jax.config.jax_compilation_cache_dir or 'off'}",
  ]
  lines += [f"changed    {key}={now!r} (was {old!r})" for key, (old, now) in changes.items()]
  console.say("\n".join(lines))


def _size(tree) -> int:
  return sum(a.size for a in jax.tree.leaves(tree))


def _note(workdir, **facts):
  """Adds to run.json."""
  run = json.loads((workdir / "run.json").read_text())
  writers.write_json(workdir / "run.json", {**run, **facts})


def _evaluate(run, workdir, console):
  """The configured metrics -> eval.json and the console."""
  if not run.config["metrics"]:
    return
  values = metric_table.measure(run)
  if run.config["eval_ema"]:
    values |= metric_table.beside(values, metric_table.measure(run.raw()))
  facts = {"step": run.step, "average": run.config["eval_ema"] or "raw", "num": run.num}
  facts |= {"seed": run.config["seed"], "split": run.split}
  facts["data"] = {**run.config["data"], "hash": run.data.hash}  # which, how made binary, how split
  if console.main:
    writers.write_json(workdir / "eval.json", {**facts, "metrics": values})
    console.say("\n".join(f"{name:40} {value:.4g}" for name, value in values.items()))


def _folder(workdir: pathlib.Path, seed: int, num: int) -> pathlib.Path:
  return workdir / "generated" / f"seed{seed}_num{num}"


def _generate(run, folder: pathlib.Path, seed: int, num: int) -> pathlib.Path:
  """The files of --mode=sample, made beside their place and moved there whole."""
  main, part = jax.process_index() == 0, folder.with_name(f".{folder.name}.part")
  if main:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
  size = max(1, SHARD // run.config["sample_batch"])  # chunks in a file
  many = num > size * run.config["sample_batch"]
  for i, arrays in enumerate(_shards(run.chunks(seed, num), size)):
    if main:
      np.savez_compressed(part / (f"samples_{i:05d}.npz" if many else "samples.npz"), **arrays)
      if i == 0:
        shown = arrays["x"][: run.config["samples"]]
        pictures.save_png(part / "grid.png", _picture(run, shown))
  if hasattr(run.model, "trajectory"):
    film = run.trajectory(seed, min(num, FILMED, run.config["sample_batch"]), FRAMES)
    if main:
      frames = np.stack([_picture(run, frame) for frame in film])
      pictures.save_gif(part / "animation.gif", frames, ms=120, scale=1)
      pictures.save_png(part / "strip.png", _strip(run, film))
  if main:
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
  return folder


def _shards(chunks, size):
  """Samples joined from `size` chunks each, so that memory does not grow with their number."""
  while parts := list(itertools.islice(chunks, size)):
    yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _picture(run, x: np.ndarray) -> np.ndarray:
  """Samples [N, *event] in stored units as one image, uint8 [H, W, C]."""
  if run.spec.kind == "points":
    reference = run.data.splits["valid"]["x"][:1000]
    return pictures.scatter(x, reference, pictures.box(reference))
  return pictures.grid(x, columns=COLUMNS, levels=run.spec.levels)


def _pairs(run, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
  """Examples and their reconstructions, both [N, *event] in stored units, below each other."""
  if run.spec.kind == "points":
    return pictures.scatter(pairs[1], pairs[0], pictures.box(pairs[0]))
  rows = [np.split(x, range(COLUMNS, len(x), COLUMNS)) for x in pairs]
  woven = np.concatenate([part for row in zip(*rows) for part in row])
  return pictures.grid(woven, columns=COLUMNS, levels=run.spec.levels)


def _strip(run, film: np.ndarray) -> np.ndarray:
  """A film [frames, N, *event] as one image, time running to the right."""
  if run.spec.kind == "points":
    return pictures.scatter(film[pictures.spread(len(film), 6)], limits=pictures.box(film[-1]))
  return pictures.strip(film, rows=6, columns=12, levels=run.spec.levels)
