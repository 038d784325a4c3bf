"""Adaptive steps against exact flows; every example has its own steps, whatever the others need."""

import importlib.util
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.processes import chains, continuous
from genjax.samplers import grids, solvers
from genjax.samplers.adaptive import METHODS, Adaptive
from tests import fields

pytest.importorskip("diffrax")

MEAN, STD = 0.7, 0.4
VP = continuous.VP()
PROCESSES = {
  "ddpm": chains.DDPM(),
  "zero_snr": chains.DDPM(zero_snr=True),
  "ncsn": chains.NCSN(sigma_max=20.0),
  "vp": VP,
  "sub_vp": continuous.SubVP(),
  "ve": continuous.VE(),
  "edm": continuous.EDM(),
  "cond_ot": continuous.CondOT(),
  "cosine": continuous.CosineFlow(),
  "polynomial": continuous.Polynomial(),
}


def mixture_field(process):
  """Returns the exact field of data at -1 and 1.

  A trajectory turns to one of them at a time that depends on xt.
  """
  return fields.of(process, lambda xt, alpha, sigma: jnp.tanh(alpha / sigma**2 * xt))


def watched(field, seen):
  """Returns the same field; the times of its evaluations are appended to `seen`."""

  def at(xt, t, memory):
    jax.debug.callback(lambda t: seen.append(float(t)), t)
    return field.at(xt, t, memory)

  return solvers.VectorField(field.start, at)


def walk(solver, process, x, field=None, frames=1, grid=None):
  grid = solvers.times(solver, process) if grid is None else grid
  keys = jax.random.split(jax.random.key(0), len(x))
  field = field or fields.gaussian(process, MEAN, STD)
  run = jax.jit(lambda x: solvers.integrate(solver, field, process, grid, x, keys, frames))
  out = np.asarray(run(x), np.float64)
  jax.effects_barrier()
  return out


def exact(process, x, t):
  """Returns the exact flow at time t, or x0 for t = 0.

  x: where it starts at t = 1, in standard deviations of x(1) from its mean.
  """

  alpha, sigma = (np.float64(c) for c in process.coefficients(jnp.float32(t or process.least)))
  std = np.sqrt((alpha * STD) ** 2 + sigma**2)
  xt = alpha * MEAN + std * np.asarray(x)
  return xt if t else MEAN + alpha * STD**2 / std**2 * (xt - alpha * MEAN)


def start(process, x):
  alpha, sigma = (np.float64(c) for c in process.coefficients(jnp.float32(1)))
  return jnp.float32(alpha * MEAN + np.sqrt((alpha * STD) ** 2 + sigma**2) * x)


X = np.linspace(-2, 2, 10).reshape(5, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_it_follows_the_exact_flow_of_every_process(process):
  """To the least time, from which it returns x0; frames are the states at the grid's times."""
  solver = Adaptive(rtol=1e-5, atol=1e-5)
  out = walk(solver, process, start(process, X), frames=5)
  grid = solvers.times(solver, process)
  for state, t in zip(out, grid[1:]):
    expected = exact(process, X, t)
    np.testing.assert_allclose(state, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_errors_are_as_small_as_asked_for_and_cost_evaluations(method):
  grid, x = np.array([1.0, 0.05]), start(VP, X)
  errors, counts = [], []
  with jax.enable_x64(True):
    for tolerance in (1e-3, 1e-6):
      seen = []
      solver = Adaptive(rtol=tolerance, atol=tolerance, method=method)
      field = watched(fields.gaussian(VP, MEAN, STD), seen)
      out = walk(solver, VP, jnp.float64(x), field, grid=grid)[-1]
      errors.append(np.abs(out - reference(x, 0.05)).max() / tolerance)
      counts.append(len(seen))
  assert max(errors) < 10
  assert counts[0] < counts[1] < 2000


def reference(x, t):
  """Returns the exact flow of VP from x at t = 1 to t, in float64."""
  alpha = lambda t: np.exp(-(0.1 * t + 9.95 * t**2) / 2)
  std = lambda t: np.sqrt(1 - (1 - STD**2) * alpha(t) ** 2)
  return alpha(t) * MEAN + std(t) / std(1) * (np.asarray(x, np.float64) - alpha(1) * MEAN)


@pytest.mark.slow
def test_a_sample_does_not_depend_on_the_others():
  """Even where those need other steps: each among the four is what it is among its likes."""
  solver, grid = Adaptive(rtol=1e-3, atol=1e-3), np.array([1.0, 0.4, 0.1])  # not yet at -1 or 1
  x = jnp.array([[1.5, 1.4], [-0.3, 1.0], [0.02, 0.01], [4.0, -3.0]])
  out = walk(solver, VP, x, mixture_field(VP), grid=grid)[-1]
  counts = set()
  for i, row in enumerate(x):
    seen = []
    field = watched(mixture_field(VP), seen)
    likes = walk(solver, VP, jnp.tile(row, (4, 1)), field, grid=grid)[-1]
    np.testing.assert_array_equal(out[i], likes[0])
    counts.add(len(seen))
  assert len(counts) > 1, "all need the same steps: this test could not fail"


def test_memory_is_renewed_once_an_interval():
  def at(xt, t, memory):
    return jnp.zeros_like(xt), xt, memory + 1

  x, z = jnp.ones((2, 3)), jnp.zeros((2, 3))
  for s in (0.5, 0.0):
    args = VP, x, jnp.float32(0.9), jnp.float32(s), z, jnp.int32(7), ()
    assert Adaptive().step(solvers.VectorField(lambda x: 0, at), *args)[1] == 8


@pytest.mark.slow
@pytest.mark.parametrize("grid", [grids.UniformGrid(), grids.Karras(), grids.LogSNR()])
@pytest.mark.parametrize("process", [chains.DDPM(), VP], ids=["ddpm", "vp"])
def test_the_last_step_returns_x0(process, grid):
  """On grids that stop at the least time nothing is left to integrate."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    x0 = jnp.full_like(xt, 0.5) + t
    return x0, (xt - alpha * x0) / sigma, memory

  field = solvers.VectorField(lambda x: (), at)
  out = walk(Adaptive(grid=grid), process, jnp.ones((2, 3)), field)[-1]
  chex.assert_trees_all_close(out, np.full((2, 3), 0.5 + process.least), atol=1e-6)


def test_a_field_that_is_nowhere_finite_ends():
  field = solvers.VectorField(lambda x: (), lambda x, t, memory: (x * jnp.nan, x, memory))
  solver = Adaptive(steps=2, method="bosh3")
  assert np.isnan(walk(solver, VP, jnp.ones((1, 1)), field)).all()


def test_the_library_is_an_extra(monkeypatch):
  with pytest.raises(core.UserError, match="did you mean 'tsit5'"):
    Adaptive(method="tsit")
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(core.UserError, match=r"pip install -e '\.\[ode\]'"):
    Adaptive()


def test_the_library_is_imported_where_it_is_used():
  code = "import sys, genjax.registry; assert 'diffrax' not in sys.modules"
  subprocess.run([sys.executable, "-c", code], check=True)
