"""One process, one CPU device, and compiled programs kept between tests and workers."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

ROOT = pathlib.Path(__file__).parents[1]
CACHE = ROOT / ".jax_cache"

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """All tests of one member of the contract to one worker, which then builds it once."""
  for item in items:
    if "member" in getattr(item, "fixturenames", ()):
      item.add_marker(pytest.mark.xdist_group(item.callspec.params["member"]))
