"""What samples are drawn for: the condition of sample i.

Each field that the model is told comes from the first of these that applies:

    a person    The values given on the command line are taken in turn.
    labels      If the label is all that is left to tell, sample i gets the label i mod classes.
    examples    Otherwise sample i gets the fields of example i of the split that the run is
                measured on. All fields are then of one example, so that they agree, and the x of
                this example is the truth that the sample can be compared with.
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
  """The conditions of the samples of one model.

  names: the fields that the model is told.
  batches: the batches of its data.
  said: {field: values [K, *shape], or a core.Partial of them} that a person gave, in model units.
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
    """Whether each sample has a truth: the x that belongs to the fields it is drawn for."""
    fields = self.batches.dataset.spec.fields
    return self.of_examples and not self.said and all(fields[n].paired for n in self.names)

  def at(self, index: np.ndarray, split: str) -> core.Batch:
    """Returns {field: values [N, *shape]} for the samples with the numbers `index` [N].

    split: the split whose examples are used, where examples are.
    """
    cond = {}
    if self.of_examples:
      # A column shorter than x starts again at its own end.
      batch = self.batches.examples(split, index)
      cond = {name: batch[name] for name in self.names}
    elif "label" in self.names:
      cond = {"label": (index % self.batches.dataset.spec.classes).astype(np.int32)}

    # What a person says replaces the values above.
    for name, values in self.said.items():
      cond[name] = jax.tree.map(lambda a: a[index % len(a)], values)
    return {name: cond[name] for name in self.names}

  def truth(self, index: np.ndarray, split: str) -> np.ndarray:
    """Returns x [N, *event], in model units, of the examples that samples `index` are drawn for."""
    return self.batches.examples(split, index)["x"]
