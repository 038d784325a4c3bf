"""--mode=sample: a run's samples as pictures, animation and arrays."""

import itertools
import pathlib
import shutil
import sys
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
# Most samples in one file.
SHARD = 10_000
# Frames of an animation, and the samples in it: noise makes large files.
FRAMES = 24
FILMED = 32


def sample(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  num: int,
  seed: int,
  out: pathlib.Path | None,
  words: said.Words = NOTHING,
) -> pathlib.Path:
  """Writes grid.png, samples.npz and animation.gif of samples 0 ... num - 1 of a seed.

  out: another place than <workdir>/generated/.
  words: what the samples are drawn for.

  Returns the place. Raises UserError if it is taken, or if the model cannot do what is asked.
  """
  if out and out.exists() and any(out.iterdir()):
    raise core.UserError(f"--out={out} is not empty; choose another place")
  if out:
    # The files are made beside their place, and moved there whole.
    folder.place(out.parent, "--out")
  sharding.check("sample_batch", config["sample_batch"])

  run = runs.Run.open(workdir, config)
  if not hasattr(run.model, "sample"):
    raise core.UserError(f"{workdir}: this model has no samples")
  wanted = said.read(words, run.conditions.names, run.spec)
  sharding.check_alike("what samples are asked for", said.digest(wanted))
  if wanted:
    run = run.told(wanted)

  console = writers.Console()
  run.progress = writers.Progress(console)
  place = out or folder.generated(workdir, seed, num, said.digest(wanted), run.settings)
  return generate(run, place.absolute(), seed, num, console)


def generate(
  run: runs.Run, place: pathlib.Path, seed: int, num: int, console: writers.Console
) -> pathlib.Path:
  """Writes the files of --mode=sample. They are made beside their place and moved there whole."""
  part = place.with_name(f".{place.name}.part")
  if console.main:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

  # One file, or one for each SHARD samples.
  size = max(1, SHARD // run.config["sample_batch"])  # chunks in a file
  many = num > size * run.config["sample_batch"]
  first, faulty = None, 0
  for i, samples in enumerate(_shards(run.chunks(seed, num), size)):
    faulty += int(np.sum(samples.pop(runs.FAULTY)))
    first = samples if first is None else first
    if console.main:
      name = f"samples_{i:05d}.npz" if many else "samples.npz"
      np.savez_compressed(part / name, **_flat(samples, run.spec))

  if console.main:
    shown = jax.tree.map(lambda a: a[: run.config["samples"]], first)
    what = look.of_samples(run, shown)
    pictures.save_png(part / "grid.png", look.picture(run, what))
    _about(run, part, seed, num, faulty, look.legend(run, what))
  if hasattr(run.model, "trajectory"):
    _film(run, part, seed, min(num, FILMED, run.config["sample_batch"]), first)

  if console.main:
    shutil.rmtree(place, ignore_errors=True)
    part.replace(place)
    if faulty:
      # The path alone goes to the standard output, for scripts to read.
      writers.say(f"warning    {faulty:,} of {num:,} samples are not finite numbers", sys.stderr)
  return place


def _about(
  run: runs.Run, part: pathlib.Path, seed: int, num: int, faulty: int, legend: list[str]
) -> None:
  """Writes about.json: what these samples are, and what was asked for."""
  about = {"step": run.step, "seed": seed, "num": num, "settings": dict(run.settings)}
  about |= {"legend": legend, "not_finite": faulty}
  writers.write_json(part / "about.json", about)


def _film(
  run: runs.Run, part: pathlib.Path, seed: int, num: int, samples: Mapping[str, Any]
) -> None:
  """Writes animation.gif and strip.png of the first `num` samples."""
  film = run.trajectory(seed, num, FRAMES)
  if jax.process_index():
    return
  what = look.of_samples(run, jax.tree.map(lambda a: a[:num], samples))
  frames = np.stack([look.picture(run, what._replace(x=frame)) for frame in film])
  pictures.save_gif(part / "animation.gif", frames, ms=120, scale=1)
  pictures.save_png(part / "strip.png", look.strip(run, film))


def _shards(chunks: Iterator[dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
  """Yields samples joined from `size` chunks each: memory does not grow with their number."""
  while parts := list(itertools.islice(chunks, size)):
    yield runs.joined(parts)


def _flat(samples: Mapping[str, Any], spec: core.DataSpec) -> dict[str, np.ndarray]:
  """Returns samples as named arrays.

  NAME_there says where a partial field NAME is known, and NAME_names what the integers of a field
  are called, such as the classes of a folder of pictures.
  """
  arrays = {}
  for name, a in samples.items():
    if isinstance(a, core.Partial):
      arrays |= {name: a.value, f"{name}_there": a.there}
    else:
      arrays[name] = a
    if name in spec.fields and spec.fields[name].names:
      arrays[f"{name}_names"] = np.array(spec.fields[name].names)
  return arrays
