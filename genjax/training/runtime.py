"""What makes XLA run well on CPUs; no result changes beyond rounding, and accelerators not at all.

Measured in experiments/speed. XLA hands fused operations to the YNNPACK library, which is quick at
sums and elementwise work, and slow at convolutions of few channels and at softmax. And a program's
scratch memory is taken from the system anew for each call: for a step of 1 GB that is a quarter of
a million page faults, a fifth of the time.
"""

import ctypes
import functools
import sys
from collections.abc import Callable

import jax

_FUSION = "xla_cpu_experimental_ynn_fusion_type"
_SUMS, _ELEMENTS = "LIBRARY_FUSION_TYPE_REDUCE", "LIBRARY_FUSION_TYPE_ELTWISE"
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of mallopt(3)


class Jit:
  """jax.jit, on CPUs with the compiler options that suit the program; what is static is named.

  calls: what is compiled, one for each set of static arguments.
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
  """For a program in StableHLO. The library's elementwise work gains a fifth where maps are large,
  and costs twice the time where they are small; and what LAPACK returns, matrices in column order,
  it refuses when it is run."""
  elements = "stablehlo.convolution" in text and "lapack" not in text
  return {_FUSION: f"{_SUMS},{_ELEMENTS}" if elements else _SUMS}


@functools.cache
def known() -> bool:
  """Whether these are CPUs, and an XLA that knows the option."""
  if jax.default_backend() != "cpu":
    return False
  try:
    jax.jit(lambda: 0, compiler_options={_FUSION: _SUMS}).lower().compile()
  except RuntimeError:
    return False
  return True


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
