"""(seed, step) -> batch.

Training reads one infinite stream of examples: position p belongs to epoch e = p // n and is
example perm_e[p % n], where perm_e is the permutation drawn from (seed, e). Step k holds the
positions k B, ..., (k + 1) B - 1, also across the end of an epoch: every epoch shows every example
exactly once. What is random about an example (flip, noise, binarization) is a function of (seed, p)
too. So a batch needs no memory of the ones before: a run resumes from its step number, and hosts
that load disjoint rows of a batch load together what one host would.
"""

import dataclasses
import functools
import sys
from collections.abc import Iterator

import numpy as np

from genjax import core
from genjax.data import sources, transforms

FLIP, NOISE, BERNOULLI = 1, 2, 3  # streams of uniform numbers under one seed
THREADS, AHEAD = 8, 8  # batches being decoded, and kept ready


@functools.lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
  """The order of an epoch, int64 [n]; the cache spares most batches its cost."""
  return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch]))).permutation(n)


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """Batches of a data set, as models see them: "x" float32 in spec.range, "label" int32.

  dataset: what to read.
  source: the configuration it came from, which says what training adds (flip, noise, one_hot).
  split: read by `at` and `iterate`; never "test", which is measured and not learned from.
  batch: rows of the global batch.
  seed: of order and randomness.
  """

  dataset: sources.Dataset
  source: sources.Source
  split: str = "train"
  batch: int = 64
  seed: int = 0

  def __post_init__(self) -> None:
    if self.split not in ("train", "valid"):
      raise ValueError(f"batches are drawn from train or valid, not from {self.split!r}")

  def at(self, step: int, rows: slice = slice(None)) -> core.Batch:
    """The batch of a step as numpy arrays, or those `rows` of it that this host loads."""
    positions = np.arange(step * self.batch, (step + 1) * self.batch)[rows]
    columns = self.dataset.splits[self.split]
    epochs, places = np.divmod(positions, len(columns["x"]))
    index = np.empty_like(places)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      index[here] = permutation(len(columns["x"]), self.seed, int(epoch))[places[here]]
    fixed = "x" if "intensity" in columns else ""  # a dynamic draw takes the place of the fixed one
    chunk = {name: column[index] for name, column in columns.items() if name != fixed}
    if fixed:
      share = chunk.pop("intensity")
      u = transforms.uniforms(self.seed, BERNOULLI, positions, share.shape[1:])
      chunk["x"] = transforms.bernoulli(share, 2, u)
    return self._augment(self._scale(chunk), positions)

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
    columns = self.dataset.splits[split]
    size = batch or self.batch
    for first in range(0, len(columns["x"]), size):
      index = np.arange(first, min(first + size, len(columns["x"])))
      yield self._scale({k: column[index] for k, column in columns.items() if k != "intensity"})

  def _scale(self, chunk: dict[str, np.ndarray]) -> core.Batch:
    spec = self.dataset.spec
    if spec.levels is not None and spec.range is not None:
      chunk["x"] = transforms.scale(chunk["x"], spec.levels, spec.range)
    if "label" in chunk and self.source.one_hot:
      chunk["label"] = transforms.one_hot(chunk["label"], spec.classes)
    return chunk

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
