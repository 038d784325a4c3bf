"""What samples are drawn for: where the cond of sample i comes from.

a person's word    the fields given on the command line, their values in turn
labels in turn     i mod classes, for a model that is told nothing but the label
examples           otherwise example i of the split that the run is measured on, with all its
                   fields, so that they agree; that example's x is then the truth
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from genjax import core
from genjax.data import pipeline


@dataclasses.dataclass(frozen=True)
class Conditions:
  """The cond of samples for a model.

  names: the fields that it is told. batches: of the data. said: {field: [K, *shape], or a
  core.Partial of such}, by a person.
  """

  names: tuple[str, ...]
  batches: pipeline.Pipeline
  said: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def of_examples(self) -> bool:
    """Whether samples are drawn for examples of a split."""
    return not set(self.names) - set(self.said) <= {"label"}

  @property
  def true(self) -> bool:
    """Whether there is a truth: an x that belongs to what the samples are drawn for."""
    fields = self.batches.dataset.spec.fields
    return self.of_examples and not self.said and all(fields[n].paired for n in self.names)

  def at(self, index: np.ndarray, split: str) -> core.Batch:
    """cond of the samples of these numbers [N]."""
    cond = {}
    if self.of_examples:
      batch = self.batches.examples(split, index)  # each field in turn from its own end
      cond = {name: batch[name] for name in self.names}
    elif "label" in self.names:
      cond = {"label": (index % self.batches.dataset.spec.classes).astype(np.int32)}
    for name, values in self.said.items():
      cond[name] = jax.tree.map(lambda a: a[index % len(a)], values)
    return {name: cond[name] for name in self.names}

  def truth(self, index: np.ndarray, split: str) -> np.ndarray:
    """The x of the examples that samples of these numbers are drawn for, in model units."""
    return self.batches.examples(split, index)["x"]
