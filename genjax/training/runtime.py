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
  """jax.jit, for CPUs with the compiler options that suit the program, chosen at its first call."""

  def __init__(self, fun: Callable, **how):
    self._plain = jax.jit(fun, **how)
    self._compiled = lambda **chosen: jax.jit(fun, compiler_options=chosen, **how)
    self.lower = self._plain.lower
    self._call = None

  def __call__(self, *args, **kwargs):
    if self._call is None:
      fusions = _fusions(self.lower(*args, **kwargs).as_text()) if known() else None
      self._call = self._compiled(**{_FUSION: fusions}) if fusions else self._plain
    return self._call(*args, **kwargs)


def _fusions(text: str) -> str:
  """What the library shall do of a program. Its elementwise work gains a fifth where maps are large
  and costs twice the time where they are small; and it refuses, when run, the matrices in column
  order that LAPACK returns."""
  elements = "stablehlo.convolution" in text and "lapack" not in text
  return f"{_SUMS},{_ELEMENTS}" if elements else _SUMS


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
