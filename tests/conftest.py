"""One process, one CPU device, and compiled programs kept between tests and workers."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from xdist.scheduler import loadscope

ROOT = pathlib.Path(__file__).parents[1]
CACHE = ROOT / ".jax_cache"

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
# A third of the time to compile; what runs in processes of its own is compiled as for users.
jax.config.update("jax_disable_most_optimizations", True)


class Together(loadscope.LoadScopeScheduling):
  """Each test to whichever worker is free, but for those that share what is expensive to make: all
  of one member of the contract, the README's commands and the program's, to one worker each."""

  def _split_scope(self, nodeid: str) -> str:
    file, _, test = nodeid.partition("::")
    if file.endswith("test_contract.py"):
      return test.partition("[")[2] or test
    return file if file.endswith(("test_readme.py", "test_cli.py")) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  return Together(config, log)


@pytest.fixture
def optimized():
  """Compiled as for users, for a test of bits or of many steps."""
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", True)
