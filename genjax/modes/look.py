"""A run's samples and reconstructions as pictures, drawn by the kinds of its fields."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax import core
from genjax.kinds import shown, table
from genjax.runs.open import Run


def visible(model: core.GenerativeModel) -> bool:
  """Returns whether there is something to look at: samples, or reconstructions."""
  return hasattr(model, "sample") or hasattr(model, "reconstruct")


def of_samples(run: Run, samples: Mapping[str, Any]) -> shown.Shown:
  """Returns what is to be drawn of samples 0 ... N - 1, with what they were drawn for."""
  kind = table.KINDS[run.spec.kind]
  reference = run.data.splits["valid"]["x"][: kind.behind] if kind.behind else samples["x"][:0]
  return shown.Shown(
    x=samples["x"],
    spec=run.spec,
    reference=reference,
    told=_told(run, samples),
    truth=run.truth(len(samples["x"])),
  )


def _told(run: Run, samples: Mapping[str, Any]) -> tuple[shown.Asked, ...]:
  """Returns the conditions that stand beside the samples."""
  fields = run.spec.fields
  names = run.conditions.names
  # Numbers that are taken in turn need not be read beside each sample; names of classes do.
  if names == ("label",) and not fields["label"].names:
    return ()
  return tuple(
    shown.Asked(name, fields[name], table.KINDS[fields[name].kind], samples[name]) for name in names
  )


def picture(run: Run, what: shown.Shown) -> np.ndarray:
  """Returns samples as one image, uint8 [H, W, C]."""
  return table.KINDS[run.spec.kind].picture(what)


def legend(run: Run, what: shown.Shown) -> list[str]:
  """Returns what stands side by side in the picture, from the left; [] for samples alone."""
  return table.KINDS[run.spec.kind].legend(what)


def pairs(run: Run, both: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
  """Returns examples and their reconstructions, both [N, *event] in stored units, as one image."""
  return table.KINDS[run.spec.kind].pairs(*both, run.spec)


def strip(run: Run, film: np.ndarray) -> np.ndarray:
  """Returns a film [frames, N, *event] as one image in which time runs to the right."""
  return table.KINDS[run.spec.kind].strip(film, run.spec)
