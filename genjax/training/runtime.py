"""Settings that make XLA run well on CPUs.

Results change by rounding at most, and nothing changes on accelerators. The gains are measured in
experiments/speed.

XLA can hand fused operations to the YNNPACK library, which is quick at sums and elementwise
operations, and slow at softmax and at convolutions of few channels. `Jit` chooses what goes there.

XLA also takes the scratch memory of a program from the system anew at each call. For a step that
uses 1 GB this means a quarter of a million page faults, a fifth of the time; `keep_memory` avoids
them.
"""

import ctypes
import functools
import sys
from collections.abc import Callable

import jax

# The compiler option that says which operations go to YNNPACK, and two of its values.
_FUSION = "xla_cpu_experimental_ynn_fusion_type"
_SUMS = "LIBRARY_FUSION_TYPE_REDUCE"
_ELEMENTS = "LIBRARY_FUSION_TYPE_ELTWISE"
# The numbers of M_MMAP_MAX and M_TRIM_THRESHOLD, two parameters of mallopt(3).
_MMAP_MAX = -4
_TRIM_THRESHOLD = -1


class Jit:
  """jax.jit with the compiler options that suit the program, which it chooses on CPUs.

  Static arguments are given by keyword, all others by position.

  lower: lowers the function without such options, as the method of jax.jit does.
  calls: {static arguments: compiled function}.
  """

  def __init__(self, fun: Callable, **how):
    self._jit = functools.partial(jax.jit, fun, **how)
    self.lower = self._jit().lower
    self.calls = {}

  def __call__(self, *args, **static):
    which = tuple(static.items())

    if which not in self.calls:
      chosen = options(self.lower(*args, **static).as_text()) if known() else {}
      self.calls[which] = self._jit(compiler_options=chosen)
    return self.calls[which](*args, **static)


def options(text: str) -> dict[str, str]:
  """Returns the compiler options for a program.

  text: the program in StableHLO.
  """
  # YNNPACK's elementwise operations save a fifth of the time on large feature maps and double it on
  # small arrays. They fail at run time on the matrices in column order that LAPACK returns.
  elements = "stablehlo.convolution" in text and "lapack" not in text
  return {_FUSION: f"{_SUMS},{_ELEMENTS}" if elements else _SUMS}


@functools.cache
def known() -> bool:
  """Returns whether the devices are CPUs and this XLA knows the compiler option."""
  if jax.default_backend() != "cpu":
    return False

  try:
    jax.jit(lambda: 0, compiler_options={_FUSION: _SUMS}).lower().compile()
  except RuntimeError:
    return False
  return True


def keep_memory() -> None:
  """Makes the process keep memory that it has once taken, instead of giving it back.

  Call it before anything asks for devices. Does nothing where the C library has no mallopt.
  """
  if sys.platform != "linux":
    return

  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  # No allocation outside the heap, and no shrinking of the heap.
  if mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1):
    # Only the heap of the main thread keeps everything, so programs must run in that thread.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
