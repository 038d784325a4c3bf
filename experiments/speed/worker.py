"""What all contestants of run.py share: a name a line comes in, its seconds go out."""

import sys
import time


def serve(work, wait=lambda result: result) -> None:
  """Calls the method of `work` that each line names; `wait` ends when its result is there."""
  for name in map(str.strip, sys.stdin):
    start = time.perf_counter()
    wait(getattr(work, name)())
    print(time.perf_counter() - start, flush=True)
