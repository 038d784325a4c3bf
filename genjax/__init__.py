"""Every kind of generative model, trained, sampled, measured and compared by the same functions.

import genjax
run = genjax.open_run("runs/ddpm_moons")
run.samples(100)["x"]
"""

from typing import Any


def open_run(workdir: Any, overrides: Any = ()) -> Any:
  """The trained model of a run directory; see genjax.runs.open.Run."""
  from genjax.runs import open as runs  # here, because it imports jax

  return runs.open_run(workdir, overrides)
