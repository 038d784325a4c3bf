"""--mode=describe: what a configuration would train, and what that costs on this machine."""

import collections
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from genjax import catalogue, core
from genjax.runs import build, load
from genjax.training import loop, sharding
from genjax.training import step as step_lib

ABILITIES = ("sample", "trajectory", "encode", "decode", "reconstruct", "energy", "classify")
# A step of more FLOPs than this is not made to see how long it takes.
HEAVY = 1e12
# Calls of a step that are timed, of which the fastest counts: other work only slows them.
TIMED = 3


def describe(config: Mapping[str, Any]) -> str:
  """Returns parameters by module, the cost of a step, abilities and the shapes of a batch."""
  setup = build.assemble(config)
  over = sharding.mesh()
  batch = setup.pipeline.at(0)
  state = setup.abstract(over)

  lines = [f"data       {setup.data.origin}"]
  lines += [f"batch      {k}: {a.dtype}{list(a.shape)}" for k, a in _arrays(batch)]
  for group, tree in state.params.items():
    lines += _parameters(group, tree)
  lines += _cost(setup, over, batch, state)
  told = ", ".join(getattr(setup.model, "conditions", ()))
  lines += [f"told       {told}"] if told else []
  return "\n".join([*lines, f"abilities  {', '.join(abilities(setup.model))}"])


def _parameters(group: str, tree: Any) -> list[str]:
  """Returns the number of parameters of a group, in all and of each module."""
  rows = collections.Counter()
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path[:-1])
    rows[name or "."] += leaf.size
  head = f"{group}  {sum(rows.values()):,} parameters"
  return [head, *(f"  {name:40} {size:>12,}" for name, size in rows.items())]


def _cost(
  setup: build.Setup, over: jax.sharding.Mesh, batch: core.Batch, state: core.TrainState
) -> list[str]:
  """Returns FLOPs of each kind of step, peak memory, and the minutes that training would take."""
  program = setup.program(over)
  steps = min(setup.config["steps"], loop.HORIZON)
  often = collections.Counter(step_lib.due_at(setup.model, step) for step in range(steps))

  lines, flops, memory = [], 0.0, 0
  for due in sorted(often):
    lowered = program.once.lower(state, batch, due=due)
    one = (lowered.cost_analysis() or {}).get("flops", math.nan)
    names = " + ".join(setup.model.objectives[i].name for i in due) or "refresh"
    lines.append(f"step       {names}: {one:.4g} FLOPs")
    flops = max(flops, one)
    if one < HEAVY:
      memory = max(memory, _memory(lowered))

  if not flops < HEAVY:
    return [*lines, "time       not measured: a step is too much work to be tried"]
  try:
    seconds = _seconds(setup, over, program, batch, often) * setup.config["steps"] / steps
  except core.UserError as e:
    return [*lines, f"time       not measured: {e}"]
  known = f", {memory / 2**20:,.0f} MiB at its peak" if memory else ""
  lines.append(f"training   about {catalogue.duration(seconds)} on this machine{known}")
  return lines


def _memory(lowered: Any) -> int:
  """Returns the bytes that one step needs: state, batch, and what lies between; 0 if unknown."""
  analysis = lowered.compile().memory_analysis()
  parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
  shared = getattr(analysis, "alias_size_in_bytes", 0)
  return sum(getattr(analysis, part, 0) for part in parts) - shared


def _seconds(
  setup: build.Setup, over: jax.sharding.Mesh, program: Any, batch: core.Batch, often: Mapping
) -> float:
  """Returns how long `often` steps of each kind take, from some that are made."""
  placed = sharding.place(batch, over)
  state = setup.initial(over, load.groups(setup, over))
  many = program.most(state, placed)
  stack = jax.tree.map(lambda a: jnp.stack([a] * many), placed)

  total = 0.0
  for due, count in often.items():
    times = []
    for _ in range(TIMED + 1):  # the first call compiles
      begin = time.perf_counter()
      if many == 1:
        state, _ = program.once(state, placed, due=due)
      else:
        state, _ = program.several(state, stack, many, due=due)
      jax.block_until_ready(state)
      times.append((time.perf_counter() - begin) / many)
    total += count * min(times[1:])
  return total


def abilities(model: core.GenerativeModel) -> list[str]:
  """Returns what a model can do beyond being trained; likelihoods with their kinds."""
  likelihoods = getattr(model, "likelihoods", {})
  return [n for n in ABILITIES if hasattr(model, n)] + [
    f"log_prob[{name}: {likelihood.kind}]" for name, likelihood in likelihoods.items()
  ]


def _arrays(batch: core.Batch) -> Iterator[tuple[str, Any]]:
  """Yields (name, array) of a batch; of a partial field its value."""
  for name, a in batch.items():
    yield name, a.value if isinstance(a, core.Partial) else a
