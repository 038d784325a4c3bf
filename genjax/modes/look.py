"""A run's samples and reconstructions as pictures, drawn by the kinds of its fields."""

from typing import Any

import numpy as np

from genjax.kinds import shown, table
from genjax.runs.open import Run


def visible(model: Any) -> bool:
  """Whether there is something to look at: samples, or reconstructions."""
  return hasattr(model, "sample") or hasattr(model, "reconstruct")


def of_samples(run: Run, samples: dict[str, Any]) -> shown.Shown:
  """What is to be drawn of samples 0 ... N - 1, with what they were drawn for."""
  fields, told = run.spec.fields, []
  for name in run.conditions.names:
    if run.conditions.names != ("label",):  # labels alone are taken in turn
      field = fields[name]
      told.append(shown.Asked(name, field, table.KINDS[field.kind], samples[name]))
  kind = table.KINDS[run.spec.kind]
  reference = run.data.splits["valid"]["x"][: kind.behind]
  truth = run.truth(len(samples["x"]))
  return shown.Shown(samples["x"], run.spec, reference, tuple(told), truth)


def picture(run: Run, what: shown.Shown) -> np.ndarray:
  """Samples as one image, uint8 [H, W, C]."""
  return table.KINDS[run.spec.kind].picture(what)


def legend(run: Run, what: shown.Shown) -> list[str]:
  """What stands beside each other in the picture of samples, from the left; [] if nothing does."""
  return table.KINDS[run.spec.kind].legend(what)


def pairs(run: Run, both: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
  """Examples and their reconstructions, both [N, *event] in stored units, as one image."""
  return table.KINDS[run.spec.kind].pairs(*both, run.spec)


def strip(run: Run, film: np.ndarray) -> np.ndarray:
  """A film [frames, N, *event] as one image, time running to the right."""
  return table.KINDS[run.spec.kind].strip(film, run.spec)
