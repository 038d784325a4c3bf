"""Batches of a data set, as a pure function (seed, step) -> batch.

Training reads one infinite stream of examples. Position p of the stream belongs to epoch e = p // n
of a split with n examples, and shows example perm_e[p % n], where the permutation perm_e is drawn
from (seed, e). The batch of step k holds the positions k B, ..., (k + 1) B - 1, and may cross the
end of an epoch: every epoch shows every example exactly once.

Whatever is random about an example (mirroring, noise, binarization, the fields that a task adds) is
a function of (seed, p). So a batch needs no memory of earlier batches: a run resumes from its step
number alone, and several hosts that each load some rows of a batch load together exactly what one
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

# Streams of uniform numbers under one seed, for training batches.
FLIP, NOISE, BERNOULLI, TASK = 1, 2, 3, 4
# Streams under sources.SEED, for the tasks' random numbers where a split is read in order.
HELD = {"train": 11, "valid": 12, "test": 13}
# Batches that are decoded at the same time.
THREADS = 8
# Batches that are kept ready.
AHEAD = 8


@functools.lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int, *field: int) -> np.ndarray:
  """Returns the order of the examples in an epoch, int64 [n].

  A cache spares most batches the cost of drawing it.

  field: a number for an unpaired field, whose order is then independent of that of x.
  """
  sequence = np.random.SeedSequence([seed, epoch, *field])
  return np.random.Generator(np.random.PCG64(sequence)).permutation(n)


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """Batches of a data set as models see them: "x" in spec.range, and the fields beside it.

  dataset: the data to read; dataset.spec already names the fields of the task.
  source: the configuration of the data, which says what training adds (flip, noise).
  split: the split that `at` and `iterate` read, "train" or "valid".
  batch: number of rows of the global batch.
  seed: of the order and of all randomness.
  task: adds fields to every batch.

  Raises ValueError if the split is "test", which is measured and never learned from.
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
    """Returns the batch of a step as numpy arrays [B, ...], or some `rows` of it."""
    positions = np.arange(step * self.batch, (step + 1) * self.batch)[rows]
    columns = self.dataset.splits[self.split]
    index = self._shuffled(len(columns["x"]), positions)
    # With dynamic binarization x is drawn anew below, so the stored binary x is not read.
    fixed = "x" if "intensity" in columns else ""

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
      # With 2 levels, `bernoulli` gives 1 with probability `share`.
      chunk["x"] = transforms.bernoulli(share, 2, u)

    chunk = self._augment(self._scale(chunk), positions)
    return self._told(chunk, self.seed, TASK, positions)

  def _shuffled(self, n: int, positions: np.ndarray, *field: int) -> np.ndarray:
    """Returns the rows, of a column of length n, that stand at these positions of the stream."""
    epochs, places = np.divmod(positions, n)
    index = np.empty_like(places)
    # A batch may cross the end of an epoch, or of several if n is small.
    for epoch in np.unique(epochs):
      here = epochs == epoch
      index[here] = permutation(n, self.seed, int(epoch), *field)[places[here]]
    return index

  @functools.cached_property
  def _unpaired(self) -> set[str]:
    """The names of the fields that do not belong to the x beside them."""
    return {name for name, field in self.dataset.spec.fields.items() if not field.paired}

  def iterate(
    self, start: int = 0, stop: int | None = None, rows: slice = slice(None)
  ) -> Iterator[core.Batch]:
    """Yields the batches of the steps start, start + 1, ..., stop - 1; endlessly if stop is None.

    Arrays in memory are gathered when a batch is asked for, which takes tens of microseconds.
    Columns on disk are decoded ahead by threads; an exception in a thread is raised here, when it
    is the turn of its batch.

    rows: the rows of every batch that this host loads.
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
    steps = _Steps(self, start, stop, rows)
    yield from grain.MapDataset.source(steps).to_iter_dataset(read)

  def blank(self) -> core.Batch:
    """Returns a batch of zeros with the names, shapes and dtypes of every batch; reads no data."""
    spec = self.dataset.spec
    fields = {"x": spec, **spec.fields}
    chunk = {name: np.zeros((self.batch, *f.shape), f.dtype) for name, f in fields.items()}
    return self._told(chunk, self.seed, TASK, np.arange(self.batch))

  def sequential(self, split: str, batch: int | None = None) -> Iterator[core.Batch]:
    """Yields a whole split once, in order, without flip or noise.

    split: any split, also "test".
    batch: rows of a batch, self.batch if None; the last batch may be shorter.
    """
    size = batch or self.batch
    n = len(self.dataset.splits[split]["x"])
    for first in range(0, n, size):
      yield self.examples(split, np.arange(first, min(first + size, n)))

  def examples(self, split: str, index: np.ndarray) -> core.Batch:
    """Returns the examples with these numbers, without flip or noise; equal for every seed."""
    chunk = {}
    for name, column in self.dataset.splits[split].items():
      if name != "intensity":
        # An unpaired column may be shorter than x: it then starts again.
        chunk[name] = column[index % len(column)]
    return self._told(self._scale(chunk), sources.SEED, HELD[split], index)

  def _scale(self, chunk: dict[str, np.ndarray]) -> core.Batch:
    """Turns stored examples into the units that models see, in place."""
    spec = self.dataset.spec
    for name, field in {"x": spec, **spec.fields}.items():
      if name in chunk and field.levels is not None and field.range is not None:
        chunk[name] = transforms.scale(chunk[name], field.levels, field.range)

    if "label" in chunk and not spec.fields["label"].integer:
      chunk["label"] = transforms.one_hot(chunk["label"], spec.classes)
    return chunk

  def _told(self, chunk: core.Batch, seed: int, stream: int, positions: np.ndarray) -> core.Batch:
    """Adds the fields of the task, whose random numbers depend on (seed, stream, position)."""
    u = None
    if self.task.draws:
      u = transforms.uniforms(seed, stream, positions, (self.task.draws,))
    return {**chunk, **self.task(chunk, self.dataset.spec, u)}

  def _augment(self, chunk: core.Batch, positions: np.ndarray) -> core.Batch:
    """Mirrors x and adds noise to it, as the source says."""
    x = chunk["x"]
    if self.source.flip:
      x = transforms.flip(x, transforms.uniforms(self.seed, FLIP, positions))
    if self.source.noise:
      u = transforms.uniforms(self.seed, NOISE, positions, (*x.shape[1:], 2))
      x = transforms.noise(x, self.source.noise, u)
    return {**chunk, "x": x}


class _Steps:
  """The batches of the steps start..stop-1 as a random-access sequence, for grain."""

  def __init__(self, pipeline: Pipeline, start: int, stop: int, rows: slice):
    self.pipeline = pipeline
    self.start = start
    self.stop = stop
    self.rows = rows

  def __len__(self) -> int:
    return self.stop - self.start

  def __getitem__(self, k: int) -> core.Batch:
    return self.pipeline.at(self.start + k, self.rows)
