"""What makes XLA run well on CPUs; no result changes beyond rounding, and accelerators not at all.

Measured in experiments/speed. XLA hands fused operations to the YNNPACK library, which is quick at
sums and elementwise work, and slow at convolutions of few channels and at softmax. And a program's
scratch memory is taken from the system anew for each call: for a step of 1 GB that is a quarter of
a million page faults, a fifth of the time.
"""

import ctypes
import functools
import sys
from typing import Any

import jax

_LIBRARY = "LIBRARY_FUSION_TYPE_REDUCE,LIBRARY_FUSION_TYPE_ELTWISE"
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of mallopt(3)


@functools.cache
def options() -> dict[str, Any]:
  """The `compiler_options` of jax.jit; none off CPUs, or where this XLA does not know them."""
  if jax.default_backend() != "cpu":
    return {}
  chosen = {"xla_cpu_experimental_ynn_fusion_type": _LIBRARY}
  try:
    jax.jit(lambda: 0, compiler_options=chosen).lower().compile()
  except RuntimeError:
    return {}
  return chosen


def keep_memory() -> None:
  """Lets a process keep the memory it once had; call before anything asks for devices.

  Only the heap of the main thread can keep it all, so that programs must run in the thread that
  calls them. Does nothing without the C library of Linux.
  """
  if sys.platform != "linux":
    return
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1):
    jax.config.update("jax_cpu_enable_async_dispatch", False)
