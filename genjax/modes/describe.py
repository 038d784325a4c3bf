"""--mode=describe: what a configuration would train."""

import math
from collections.abc import Mapping
from typing import Any

import jax

from genjax import core
from genjax.runs import build
from genjax.training import sharding
from genjax.training import step as step_lib

ABILITIES = ("sample", "trajectory", "encode", "decode", "reconstruct", "energy", "classify")


def describe(config: Mapping[str, Any]) -> str:
  """Parameters by module, FLOPs of a step, abilities, shapes of a batch."""
  setup = build.assemble(config)
  over = sharding.mesh()
  batch, state = setup.pipeline.at(0), setup.abstract(over)
  lines = [f"data       {setup.data.origin}"]
  lines += [f"batch      {k}: {a.dtype}{list(a.shape)}" for k, a in _arrays(batch)]
  for group, tree in state.params.items():
    rows = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      name = "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path[:-1])
      rows[name or "."] = rows.get(name or ".", 0) + leaf.size
    lines += [f"{group}  {sum(rows.values()):,} parameters"]
    lines += [f"  {name:40} {size:>12,}" for name, size in rows.items()]
  program = setup.program(over)
  for due in sorted({step_lib.due_at(setup.model, step) for step in range(config["steps"])}):
    names = " + ".join(setup.model.objectives[i].name for i in due) or "refresh"
    cost = program.once.lower(state, batch, due=due).cost_analysis()
    lines += [f"step       {names}: {(cost or {}).get('flops', math.nan):.4g} FLOPs"]
  told = ", ".join(getattr(setup.model, "conditions", ()))
  lines += [f"told       {told}"] if told else []
  return "\n".join([*lines, f"abilities  {', '.join(abilities(setup.model))}"])


def abilities(model: core.GenerativeModel) -> list[str]:
  """What a model can do beyond being trained; likelihoods with their kinds."""
  likelihoods = getattr(model, "likelihoods", {})
  return [n for n in ABILITIES if hasattr(model, n)] + [
    f"log_prob[{name}: {likelihood.kind}]" for name, likelihood in likelihoods.items()
  ]


def _arrays(batch):
  """(name, array) of a batch; of a partial field its value."""
  for name, a in batch.items():
    yield name, a.value if isinstance(a, core.Partial) else a
