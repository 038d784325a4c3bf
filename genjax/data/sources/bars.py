"""Bars and stripes: binary n x n pictures whose distribution and entropy are known exactly.

G. E. Hinton and T. J. Sejnowski, Learning and relearning in Boltzmann machines, 1986; D. MacKay,
Information Theory, Inference, and Learning Algorithms, 2003, section 43.

Each of n lines is lit with probability 1/2. In "bars" the lines are horizontal: 2^n pictures, all
equally likely. In "bars-and-stripes" they are all horizontal or all vertical, with probability 1/2
each: 2 * 2^n drawings, all equally likely, of which only the blank and the full picture can be
drawn in two ways. The entropies in nats are therefore

    H(bars) = n ln 2                                                                             (1)
    H(bars-and-stripes) = (n + 1) ln 2 - P(blank or full) ln 2 = (n + 1 - 2^(1-n)) ln 2          (2)

The entropy is the least mean negative log-likelihood that any model can reach.
"""

import dataclasses
import math

import numpy as np

from genjax import core
from genjax.data.sources import base as sources

KINDS = ("bars", "bars-and-stripes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bars(sources.Source):
  """Independent draws, uint8 [size, size, 1] with levels 0 and 1.

  kind: "bars" or "bars-and-stripes".
  size: number of lines, which is the height and the width of a picture.
  n: number of training pictures; valid and test have a fifth as many each. There are few distinct
    pictures, so the three splits hold the same ones.
  """

  kind: str = "bars-and-stripes"
  size: core.Size = 4
  n: core.Size = 10_000

  @property
  def entropy(self) -> float:
    """The entropy of a picture in nats, by (1) or (2)."""
    if self.kind == "bars":
      return self.size * math.log(2)
    return (self.size + 1 - 2.0 ** (1 - self.size)) * math.log(2)

  def load(self) -> sources.Dataset:
    """Draws the pictures; raises core.UserError for an unknown kind."""
    if self.kind not in KINDS:
      raise core.unknown("data.kind", self.kind, KINDS)

    splits = {}
    for i, (name, n) in enumerate(zip(sources.SPLITS, sources.draws(self.n))):
      rng = sources.generator(i)
      # One bit for each line, repeated along the line.
      lines = rng.integers(0, 2, (n, self.size, 1), dtype=np.uint8)
      x = np.broadcast_to(lines, (n, self.size, self.size))
      if self.kind == "bars-and-stripes":
        # Transposed, the lines are vertical.
        x = np.where(rng.random((n, 1, 1)) < 0.5, x, x.transpose(0, 2, 1))
      splits[name] = {"x": np.ascontiguousarray(x)[..., None]}  # [n, size, size, 1]

    shape = (self.size, self.size, 1)
    spec = core.DataSpec(shape=shape, range=(0.0, 1.0), levels=2, kind="binary")
    origin = f"{self.kind}: {self.n:,} training pictures of {self.size}x{self.size} pixels, drawn"
    hashes = sources.hashes(splits)
    return sources.Dataset(
      self.kind, spec, splits, origin, "none (synthetic)", hashes, self.entropy
    )
