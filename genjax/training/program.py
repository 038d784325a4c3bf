"""`train_step` compiled, to be made once or several times a call.

Calling a program costs the host some tenths of a millisecond, as much as a short step takes itself.
So the steps of a stretch (successive, with the same due objectives, up to the next thing that the
host has to do) are one call, in which the program loops over them. How many they are is an
argument: all go through the same program wherever the stretches are cut, so that a resumed run
stays bitwise the one that never stopped.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from genjax import core
from genjax.training import runtime, sharding
from genjax.training import step as step_lib

_CALL = 1e9  # FLOPs of one call: beside more than that, the cost of calling is nothing
_MOST = 32  # steps of one call


class Stretch(NamedTuple):
  """Steps first ... first + count - 1, in all of which the same objectives are due."""

  first: int
  count: int
  due: tuple[int, ...]


class Program:
  """The training step of one model on one mesh; it donates the states that it is called with.

  once: (state, batch, due) -> (state, metrics).
  several: (state, batches [most, ...], count, due) -> (state, sums of the metrics), of the first
    `count` batches, a step each.
  """

  def __init__(self, model, optimizers, averages, accumulate: int, over):
    self.model, self.over = model, over
    self._step = functools.partial(
      step_lib.train_step, model, optimizers, averages, accumulate=accumulate
    )
    whole = sharding.replicated(over)
    compiled = functools.partial(
      runtime.Jit,
      static_argnames="due",
      donate_argnums=0,
      out_shardings=(whole, whole),
    )
    self.once, self.several = compiled(self._step), compiled(self._several)

  def _several(self, state, batches, count, *, due):
    step = functools.partial(self._step, due=due)
    batch = lambda i: jax.tree.map(lambda a: a[i], batches)

    def one(i, carry):
      state, sums = carry
      state, metrics = step(state, batch(i))
      return state, jax.tree.map(jnp.add, sums, metrics)

    _, metrics = jax.eval_shape(step, state, batch(0))
    return lax.fori_loop(0, count, one, (state, jax.tree.map(jnp.zeros_like, metrics)))

  def most(self, state: core.TrainState, batch: core.Batch) -> int:
    """How many steps a call may hold; one with convolutions, which XLA runs slowly inside loops."""
    lowered = self.once.lower(state, batch, due=step_lib.due_at(self.model, 0))
    if "stablehlo.convolution" in lowered.as_text():
      return 1
    flops = (lowered.cost_analysis() or {}).get("flops", _CALL)
    return int(np.clip(_CALL / max(flops, 1), 1, _MOST))


def stretches(
  model: core.GenerativeModel, start: int, stop: int, most: int, cadences: Sequence[int]
) -> Iterator[Stretch]:
  """Cuts start ... stop - 1 into stretches of at most `most` steps that end at every cadence."""
  first, due = start, step_lib.due_at(model, start)
  for step in range(start + 1, stop + 1):
    now = step_lib.due_at(model, step)
    ends = step == stop or step - first == most or any(step % every == 0 for every in cadences)
    if ends or now != due:
      yield Stretch(first, step - first, due)
      first, due = step, now


def feed(
  batches: Iterator[core.Batch], plan: Iterable[Stretch], sizes: Mapping[tuple, int], over
) -> Iterator[tuple[Stretch, core.Batch]]:
  """Each stretch with what its call takes, on the devices: its batches in a stack of sizes[due]."""
  for stretch in plan:
    rows = list(itertools.islice(batches, stretch.count))
    size = sizes[stretch.due]
    if size == 1:
      yield stretch, sharding.place(rows[0], over)
      continue
    rows += rows[-1:] * (size - stretch.count)  # never looked at
    stack = jax.tree.map(lambda *parts: np.stack(parts), *rows)
    yield stretch, sharding.place(stack, over, axis=1)
