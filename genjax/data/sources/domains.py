"""Two unpaired data sets, such as horses and zebras, for translation from one to the other.

A batch has "x" from the first set and "y" from the second. Which y stands beside which x is random:
the two sets are shuffled independently, and each has its own epochs, of its own length, in which
every example is seen once.
"""

import dataclasses

from genjax import core
from genjax.data.sources import base as sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domains:
  """A data set with fields "x" and "y" that are not paired.

  first: the data of x. The labels, and all that metrics measure, belong to this set; so does what
    training adds to a batch (flip, noise, binary draws).
  second: the data of y, which must not ask for flip, noise or dynamic binarization.

  Raises core.UserError if one of them is itself a Domains, or for such a second set.
  """

  first: core.Data
  second: core.Data

  def __post_init__(self) -> None:
    if isinstance(self.first, Domains) or isinstance(self.second, Domains):
      raise core.UserError("data: a domain must be one data set, not another pair of domains")

    # The pipeline draws these for x only.
    anew = self.second.flip or self.second.noise
    if anew or getattr(self.second, "binarize", "") == "dynamic":
      raise core.UserError(
        "data.second: flip, noise and binarize='dynamic' are for the first domain alone"
      )

  @property
  def flip(self) -> bool:
    """Whether training mirrors x."""
    return self.first.flip

  @property
  def noise(self) -> float:
    """The standard deviation of the noise that training adds to x."""
    return self.first.noise

  def load(self) -> sources.Dataset:
    """Returns the first data set with the x of the second beside it, as the field "y"."""
    first = self.first.load()
    second = self.second.load()
    # The two columns may differ in length.
    splits = {}
    for name in sources.SPLITS:
      splits[name] = {**first.splits[name], "y": second.splits[name]["x"]}

    # What describes y is what the second set says of its x.
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
