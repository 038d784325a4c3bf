"""--mode=sample: a run's samples as pictures, animation and arrays."""

import itertools
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from genjax import core
from genjax.modes import folder, look, said
from genjax.report import pictures
from genjax.runs import open as runs
from genjax.training import sharding, writers

NOTHING = said.Words(())
SHARD = 10_000  # most samples in one file
FRAMES, FILMED = 24, 32  # of an animation, and the samples in it: noise makes large files


def sample(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  num: int,
  seed: int,
  out: pathlib.Path | None,
  words: said.Words = NOTHING,
) -> pathlib.Path:
  """Writes grid.png, samples.npz and animation.gif of samples 0 ... num - 1 of a seed.

  words: what they are asked for.
  """
  if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise core.UserError(f"--out={out} is not empty; choose another place")
  sharding.check("sample_batch", config["sample_batch"])
  run = runs.Run.open(workdir, config)
  if not hasattr(run.model, "sample"):
    raise core.UserError(f"{workdir}: this model has no samples")
  wanted = said.read(words, run.conditions.names, run.spec)
  sharding.check_alike("what samples are asked for", said.digest(wanted))
  if wanted:
    run = run.told(wanted)
  place = out or folder.generated(workdir, seed, num, said.digest(wanted))
  return generate(run, place.absolute(), seed, num)


def generate(run: runs.Run, place: pathlib.Path, seed: int, num: int) -> pathlib.Path:
  """The files of --mode=sample, made beside their place and moved there whole."""
  main, part = jax.process_index() == 0, place.with_name(f".{place.name}.part")
  if main:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

  size = max(1, SHARD // run.config["sample_batch"])  # chunks in a file
  many, first = num > size * run.config["sample_batch"], None
  for i, samples in enumerate(_shards(run.chunks(seed, num), size)):
    first = samples if first is None else first
    if main:
      name = f"samples_{i:05d}.npz" if many else "samples.npz"
      np.savez_compressed(part / name, **_flat(samples))

  if main:
    shown = jax.tree.map(lambda a: a[: run.config["samples"]], first)
    what = look.of_samples(run, shown)
    pictures.save_png(part / "grid.png", look.picture(run, what))
    if legend := look.legend(run, what):
      writers.write_json(part / "about.json", {"legend": legend})
  if hasattr(run.model, "trajectory"):
    _film(run, part, seed, min(num, FILMED, run.config["sample_batch"]), first)
  if main:
    shutil.rmtree(place, ignore_errors=True)
    part.replace(place)
  return place


def _film(run, part, seed, num, samples):
  """animation.gif and strip.png of the first `num` samples."""
  film = run.trajectory(seed, num, FRAMES)
  if jax.process_index():
    return
  what = look.of_samples(run, jax.tree.map(lambda a: a[:num], samples))
  frames = np.stack([look.picture(run, what._replace(x=frame)) for frame in film])
  pictures.save_gif(part / "animation.gif", frames, ms=120, scale=1)
  pictures.save_png(part / "strip.png", look.strip(run, film))


def _shards(chunks: Iterator[dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
  """Samples joined from `size` chunks each, so that memory does not grow with their number."""
  while parts := list(itertools.islice(chunks, size)):
    yield runs.joined(parts)


def _flat(samples):
  """As arrays by name; of a partial field, where it is known is NAME_there."""
  arrays = {}
  for name, a in samples.items():
    if isinstance(a, core.Partial):
      arrays |= {name: a.value, f"{name}_there": a.there}
    else:
      arrays[name] = a
  return arrays
