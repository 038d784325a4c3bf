"""The compiled training step, which makes one step or several steps in a call.

Calling a compiled program costs the host some tenths of a millisecond, as much as a short step
takes itself. So successive steps are grouped into stretches, and a stretch is one call in which the
program loops over its steps. All steps of a stretch have the same due objectives, and a stretch
ends wherever the host has something to do, such as writing a log line.

The number of steps is an argument of the compiled program. So all steps go through the same program
wherever the stretches are cut, and a resumed run stays bitwise the same as one that never stopped.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from genjax import core
from genjax.training import runtime, sharding
from genjax.training import step as step_lib

# A call of this many FLOPs takes so long that the cost of calling no longer matters.
_CALL = 1e9
# The largest number of steps in one call.
_MOST = 32


class Stretch(NamedTuple):
  """Successive steps that are made in one call.

  first: the first step.
  count: the number of steps; the last one is first + count - 1.
  due: the indices of the objectives that are due, the same in all these steps.
  """

  first: int
  count: int
  due: tuple[int, ...]


class Program:
  """The compiled training step of one model on one mesh of devices.

  Both functions donate the state that they are called with: its arrays are overwritten.

  once: (state, batch, due) -> (state, metrics), one step.
  several: (state, batches, count, due) -> (state, sums of the metrics), one step for each of the
    first `count` batches. `batches` is a stack [size, ...] of at least `count` batches.
  """

  def __init__(
    self,
    model: core.GenerativeModel,
    optimizers: Mapping[str, optax.GradientTransformation],
    averages: Mapping[str, Callable[[jax.Array], jax.Array]],
    accumulate: int,
    over: jax.sharding.Mesh,
  ):
    self.model = model
    self.over = over
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
    self.once = compiled(self._step)
    self.several = compiled(self._several)

  def _several(
    self,
    state: core.TrainState,
    batches: core.Batch,
    count: jax.Array,
    *,
    due: tuple[int, ...],
  ) -> tuple[core.TrainState, core.Metrics]:
    step = functools.partial(self._step, due=due)
    batch = lambda i: jax.tree.map(lambda a: a[i], batches)

    def one(i, carry):
      state, sums = carry
      state, metrics = step(state, batch(i))
      return state, jax.tree.map(jnp.add, sums, metrics)

    # The names and shapes of the metrics, to begin their sums at zero.
    _, metrics = jax.eval_shape(step, state, batch(0))
    zeros = jax.tree.map(jnp.zeros_like, metrics)
    return lax.fori_loop(0, count, one, (state, zeros))

  def __call__(
    self, state: core.TrainState, batch: core.Batch, stretch: Stretch, size: int
  ) -> tuple[core.TrainState, core.Metrics]:
    """Makes the steps of a stretch; returns (state, sums of the metrics).

    batch: one batch if `size` is 1, else a stack of `size` batches, as `feed` gives them.
    """
    if size == 1:
      return self.once(state, batch, due=stretch.due)
    return self.several(state, batch, stretch.count, due=stretch.due)

  def most(self, state: core.TrainState, batch: core.Batch) -> int:
    """Returns how many steps one call may make, from the cost of step 0."""
    lowered = self.once.lower(state, batch, due=step_lib.due_at(self.model, 0))
    # XLA runs convolutions slowly inside loops.
    if "stablehlo.convolution" in lowered.as_text():
      return 1
    # Without a cost estimate, a step counts as expensive.
    flops = (lowered.cost_analysis() or {}).get("flops", _CALL)
    return int(np.clip(_CALL / max(flops, 1), 1, _MOST))


def stretches(
  model: core.GenerativeModel, start: int, stop: int, most: int, cadences: Sequence[int]
) -> Iterator[Stretch]:
  """Cuts the steps start ... stop - 1 into stretches.

  most: the largest number of steps in a stretch.
  cadences: a stretch ends after every multiple of each of these numbers of steps.
  """
  first = start
  due = step_lib.due_at(model, start)

  for step in range(start + 1, stop + 1):
    now = step_lib.due_at(model, step)
    ends = step == stop or step - first == most or any(step % every == 0 for every in cadences)
    if ends or now != due:
      yield Stretch(first, step - first, due)
      first = step
      due = now


def feed(
  batches: Iterator[core.Batch],
  plan: Iterable[Stretch],
  sizes: Mapping[tuple, int],
  over: jax.sharding.Mesh,
) -> Iterator[tuple[Stretch, core.Batch]]:
  """Yields each stretch with the batches of its steps, placed on the devices.

  batches: this host's rows of the batch of every step.
  sizes: {due: size}. The batches of a stretch are stacked to [size, B, ...], since a compiled
    program takes one shape; for size 1 they are the one batch itself.
  """
  for stretch in plan:
    rows = list(itertools.islice(batches, stretch.count))
    size = sizes[stretch.due]
    if size == 1:
      yield stretch, sharding.place(rows[0], over)
      continue

    # A short stretch is filled up with copies of its last batch, which the program never reads.
    rows += rows[-1:] * (size - stretch.count)
    stack = jax.tree.map(lambda *parts: np.stack(parts), *rows)
    yield stretch, sharding.place(stack, over, axis=1)
