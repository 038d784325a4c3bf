"""Random pictures of any shape, to try a configuration in seconds without its data."""

import dataclasses

import numpy as np

from genjax import core
from genjax.data.sources import base as sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fake(sources.Pictures):
  """Uniformly random grey levels and labels, the same on every machine; nothing can be learnt.

  shape: (height, width, channels) of a picture.
  levels: number of grey levels, 2 to 256.
  classes: number of labels, 0 for none.
  n: number of training pictures; valid and test have half as many each.
  """

  shape: tuple[int, ...] = (28, 28, 1)
  levels: core.Size = 256
  classes: core.Count = 10
  n: core.Size = 256

  def load(self) -> sources.Dataset:
    """Draws the pictures; raises core.UserError for a shape or levels that pictures cannot have."""
    if len(self.shape) != 3 or min(self.shape) < 1:
      raise core.UserError(f"data.shape={self.shape}: expected (height, width, channels)")
    if not 2 <= self.levels <= 256:
      raise core.UserError(f"data.levels={self.levels}: expected 2 to 256")

    # Rounded up, so that no split is empty.
    half = (self.n + 1) // 2
    splits = {}
    for i, (name, n) in enumerate(zip(sources.SPLITS, (self.n, half, half))):
      # One generator for each split, so that `n` does not change the others' draws.
      rng = sources.generator(i)
      splits[name] = {"x": rng.integers(0, self.levels, (n, *self.shape), dtype=np.uint8)}
      if self.classes:
        splits[name]["label"] = rng.integers(0, self.classes, n, dtype=np.int32)

    origin = f"fake: {self.n:,} random training pictures, for trying out; nothing to learn"
    return self.pictures("fake", splits, self.shape, self.classes, origin, "none", self.levels)
