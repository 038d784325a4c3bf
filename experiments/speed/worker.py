"""The loop of every worker of run.py: reads names, one a line, and prints the seconds each took."""

import sys
import time
from collections.abc import Callable
from typing import Any


def serve(work: Any, wait: Callable[[Any], Any] = lambda result: result) -> None:
  """Calls the method of `work` that each line of stdin names, and prints how long it took.

  wait: called with the result of the method; returns when the result is computed.
  """
  for name in map(str.strip, sys.stdin):
    start = time.perf_counter()
    wait(getattr(work, name)())
    print(time.perf_counter() - start, flush=True)
