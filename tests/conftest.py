"""One process, one CPU device, and compiled programs kept between tests and workers."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

ROOT = pathlib.Path(__file__).parents[1]
CACHE = ROOT / ".jax_cache"

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
