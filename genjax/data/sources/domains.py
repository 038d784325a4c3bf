"""Two data sets that nothing pairs: horses and zebras, one hand and another.

A batch has "x" of the first and "y" of the second; which y stands beside which x is chance. Each is
seen once in each of its own epochs, whose lengths may differ.
"""

import dataclasses

from genjax import core
from genjax.data.sources import base as sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domains:
  """first, second: data sets; x, its labels and all that metrics measure are the first's.

  What training adds to a batch (flip, noise, bits drawn anew) the first says of x; y has none.
  """

  first: core.Data
  second: core.Data

  def __post_init__(self):
    if isinstance(self.first, Domains) or isinstance(self.second, Domains):
      raise core.UserError("a domain is one data set, not two")
    anew = self.second.flip or self.second.noise
    if anew or getattr(self.second, "binarize", "") == "dynamic":
      raise core.UserError("second: flip, noise and dynamic bits are for the first domain alone")

  @property
  def flip(self) -> bool:
    return self.first.flip

  @property
  def noise(self) -> float:
    return self.first.noise

  def load(self) -> sources.Dataset:
    first, second = self.first.load(), self.second.load()
    splits = {}
    for name in sources.SPLITS:
      splits[name] = {**first.splits[name], "y": second.splits[name]["x"]}
    whole = second.spec
    y = core.Field(
      shape=whole.shape,
      dtype=whole.dtype,
      range=whole.range,
      levels=whole.levels,
      kind=whole.kind,
      paired=False,
    )
    return first._replace(
      spec=first.spec.beside(y=y),
      splits=splits,
      origin=f"x: {first.origin}; y: {second.origin}",
      licence=f"{first.licence}; {second.licence}",
      hash=sources.hashes(splits),
    )
