"""Settings of all tests: one CPU device, and compiled programs that are kept between test runs."""

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
  """A scheduler that gives each test to whichever worker is free.

  Tests that share something expensive go to one worker together: those of one member of
  test_contract.py, those of test_readme.py, and those of test_cli.py.
  """

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
  """Compiles as for users, for a test that compares bits or takes many steps."""
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", True)
