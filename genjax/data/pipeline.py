"""(seed, step) -> batch.

Training reads one infinite stream of examples: position p belongs to epoch e = p // n and is
example perm_e[p % n], where perm_e is the permutation drawn from (seed, e). Step k holds the
positions k B, ..., (k + 1) B - 1, also across the end of an epoch: every epoch shows every example
exactly once. What is random about an example (flip, noise, binarization) is a function of (seed, p)
too, as are the fields that a task adds. So a batch needs no memory of the ones before: a run
resumes from its step number, and hosts that load disjoint rows of a batch load together what one
host would.
"""

import dataclasses
import functools
import sys
import zlib
from collections.abc import Iterator

import numpy as np

from genjax import core
from genjax.data import tasks, transforms
from genjax.data.sources import base as sources

FLIP, NOISE, BERNOULLI, TASK = 1, 2, 3, 4  # streams of uniform numbers under one seed
HELD = {"train": 11, "valid": 12, "test": 13}  # and under sources.SEED, of splits read in order
THREADS, AHEAD = 8, 8  # batches being decoded, and kept ready


@functools.lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int, *field: int) -> np.ndarray:
  """The order of an epoch, int64 [n]; the cache spares most batches its cost.

  field: a number that tells an unpaired field's order from that of x.
  """
  sequence = np.random.SeedSequence([seed, epoch, *field])
  return np.random.Generator(np.random.PCG64(sequence)).permutation(n)


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """Batches of a data set, as models see them: "x" in spec.range, and the fields beside it.

  dataset: what to read.
  source: the configuration it came from, which says what training adds (flip, noise).
  split: read by `at` and `iterate`; never "test", which is measured and not learned from.
  batch: rows of the global batch.
  seed: of order and randomness.
  task: what adds fields of its own; dataset.spec names them already.
  """

  dataset: sources.Dataset
  source: sources.Source
  split: str = "train"
  batch: int = 64
  seed: int = 0
  task: tasks.Task = tasks.Nothing()

  def __post_init__(self) -> None:
    if self.split not in ("train", "valid"):
      raise ValueError(f"batches are drawn from train or valid, not from {self.split!r}")

  def at(self, step: int, rows: slice = slice(None)) -> core.Batch:
    """The batch of a step as numpy arrays, or those `rows` of it that this host loads."""
    positions = np.arange(step * self.batch, (step + 1) * self.batch)[rows]
    columns = self.dataset.splits[self.split]
    index = self._shuffled(len(columns["x"]), positions)
    fixed = "x" if "intensity" in columns else ""  # a dynamic draw takes the place of the fixed one
    chunk = {}
    for name, column in columns.items():
      if name in self._unpaired:
        own = zlib.crc32(name.encode())
        chunk[name] = column[self._shuffled(len(column), positions, own)]
      elif name != fixed:
        chunk[name] = column[index]
    if fixed:
      share = chunk.pop("intensity")
      u = transforms.uniforms(self.seed, BERNOULLI, positions, share.shape[1:])
      chunk["x"] = transforms.bernoulli(share, 2, u)
    return self._told(self._augment(self._scale(chunk), positions), self.seed, TASK, positions)

  def _shuffled(self, n, positions, *field):
    """The rows of a column of length n that stand at these positions of the stream."""
    epochs, places = np.divmod(positions, n)
    index = np.empty_like(places)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      index[here] = permutation(n, self.seed, int(epoch), *field)[places[here]]
    return index

  @functools.cached_property
  def _unpaired(self):
    """The fields with epochs of their own."""
    return {name for name, field in self.dataset.spec.fields.items() if not field.paired}

  def iterate(
    self, start: int = 0, stop: int | None = None, rows: slice = slice(None)
  ) -> Iterator[core.Batch]:
    """The batches of the steps start, start + 1, ..., stop - 1 (endless if None).

    Arrays in memory are gathered when asked for (tens of microseconds). Otherwise threads decode
    ahead, and an exception in one of them is raised here, in its batch's turn.
    """
    stop = sys.maxsize if stop is None else stop
    if all(isinstance(c, np.ndarray) for c in self.dataset.splits[self.split].values()):
      yield from (self.at(step, rows) for step in range(start, stop))
      return
    import grain

    # An element of grain's source is a whole batch: per-record grain is 50 times slower for arrays,
    # and its own shuffling would hide which step has which examples. Its default buffer is 500
    # elements, which here would be 500 batches. Threads, not processes: those need parsed absl
    # flags and a guarded main module, and decoders release the interpreter's lock anyway.
    read = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
    yield from grain.MapDataset.source(_Steps(self, start, stop, rows)).to_iter_dataset(read)

  def sequential(self, split: str, batch: int | None = None) -> Iterator[core.Batch]:
    """All of a split once, in order, without flip or noise; the last batch may be short."""
    size, n = batch or self.batch, len(self.dataset.splits[split]["x"])
    for first in range(0, n, size):
      yield self.examples(split, np.arange(first, min(first + size, n)))

  def examples(self, split: str, index: np.ndarray) -> core.Batch:
    """The examples of these numbers, without flip or noise; the same for every seed."""
    chunk = {}
    for name, column in self.dataset.splits[split].items():
      if name != "intensity":
        chunk[name] = column[index % len(column)]
    return self._told(self._scale(chunk), sources.SEED, HELD[split], index)

  def _scale(self, chunk: dict[str, np.ndarray]) -> core.Batch:
    spec = self.dataset.spec
    for name, field in {"x": spec, **spec.fields}.items():
      if name in chunk and field.levels is not None and field.range is not None:
        chunk[name] = transforms.scale(chunk[name], field.levels, field.range)
    if "label" in chunk and not spec.fields["label"].integer:
      chunk["label"] = transforms.one_hot(chunk["label"], spec.classes)
    return chunk

  def _told(self, chunk: core.Batch, seed: int, stream: int, positions: np.ndarray) -> core.Batch:
    """With the fields of the task."""
    u = None
    if self.task.draws:
      u = transforms.uniforms(seed, stream, positions, (self.task.draws,))
    return {**chunk, **self.task(chunk, self.dataset.spec, u)}

  def _augment(self, chunk: core.Batch, positions: np.ndarray) -> core.Batch:
    x = chunk["x"]
    if self.source.flip:
      x = transforms.flip(x, transforms.uniforms(self.seed, FLIP, positions))
    if self.source.noise:
      u = transforms.uniforms(self.seed, NOISE, positions, (*x.shape[1:], 2))
      x = transforms.noise(x, self.source.noise, u)
    return {**chunk, "x": x}


class _Steps:
  """Steps start..stop-1 as a random-access sequence of batches."""

  def __init__(self, pipeline: Pipeline, start: int, stop: int, rows: slice):
    self.pipeline, self.start, self.stop, self.rows = pipeline, start, stop, rows

  def __len__(self) -> int:
    return self.stop - self.start

  def __getitem__(self, k: int) -> core.Batch:
    return self.pipeline.at(self.start + k, self.rows)
