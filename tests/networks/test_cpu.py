"""Operations with a special form for CPUs: they equal the plain form, derivatives included.

Both modes of differentiation are compared. The special forms are not used on several devices.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.networks.layers import attention, convolution, cpu, normalization


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


FORMS = {
  "convolve": (cpu.convolve, convolution.convolve),
  "double": (cpu.double, lambda x, kernel: convolution.convolve(convolution.upsample(x), kernel)),
  "attend": (cpu.attend, attention.attend),
}
INPUTS = {
  # The second is whole slices of 8 and a rest, on a map large enough to be sliced.
  "convolve": [[(7, 5, 4, 3), (3, 3, 3, 2)], [(19, 11, 10, 3), (3, 3, 3, 5)]],
  "double": [[(7, 3, 4, 2), (3, 3, 2, 3)], [(1, 1, 1, 1), (3, 3, 1, 1)]],
  "attend": [[(7, 6, 2, 4)] * 3, [(2, 5, 3, 2), (2, 9, 3, 2), (2, 9, 3, 2)]],
}


# Convolutions on their first shape; the others differ in what is left over, and take long.
CASES = [
  pytest.param(name, shapes, marks=pytest.mark.slow if i or name in ("attend", "double") else ())
  for name, every in INPUTS.items()
  for i, shapes in enumerate(every)
]


@pytest.mark.parametrize("name, shapes", CASES)
def test_equals_the_plain_form(name, shapes, monkeypatch):
  for scores in (1, 200, cpu._SCORES) if name == "attend" else (0,):
    monkeypatch.setattr(cpu, "_SCORES", scores)  # blocks of 1, of some with a rest, and of all
    check_equal(name, shapes)


def check_equal(name, shapes):
  arrays = [normal(i, *shape) for i, shape in enumerate(shapes)]
  tangents = [normal(i + 5, *shape) for i, shape in enumerate(shapes)]
  fast, plain = FORMS[name]
  cotangent = jnp.cos(plain(*arrays))
  last = len(arrays) - 1
  value = lambda f: lambda *args: jnp.vdot(f(*args), cotangent)
  for mode in (
    lambda f: f(*arrays),
    lambda f: jax.jvp(f, arrays, tangents)[1],
    lambda f: jax.vjp(f, *arrays)[1](cotangent),
    lambda f: jax.jvp(jax.grad(value(f), last), arrays, tangents)[1],
    lambda f: jax.vmap(jax.vjp(f, *arrays)[1])(jnp.stack([cotangent, 2 * cotangent])),
    lambda f: jax.vmap(lambda s: jax.jvp(f, arrays, [s * a for a in tangents])[1])(jnp.arange(2.0)),
  ):
    for a, b in zip(jax.tree.leaves(mode(fast)), jax.tree.leaves(mode(plain))):
      np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_attention_survives_large_scores():
  q = 40 * normal(0, 2, 5, 2, 4)
  np.testing.assert_allclose(cpu.attend(q, q, q), attention.attend(q, q, q), rtol=1e-5)
  assert np.isfinite(jax.grad(lambda q: cpu.attend(q, q, q).sum())(q)).all()


def parts_and_whole():
  parts = normal(0, 3, 4, 5, 6) * 2 + 1, normal(1, 3, 4, 5, 2)
  return parts, jnp.concatenate(parts, axis=-1)


def test_group_norm_has_mean_zero_and_variance_one_over_parts():
  parts, _ = parts_and_whole()
  net = normalization.GroupNorm(groups=2, epsilon=0.0)
  y = jnp.concatenate(net.init_with_output(jax.random.key(0), *parts)[0], axis=-1)
  groups = np.asarray(y).reshape(3, 4, 5, 2, 4)
  np.testing.assert_allclose(groups.mean((1, 2, 4)), 0, atol=1e-5)
  np.testing.assert_allclose(groups.var((1, 2, 4)), 1, rtol=1e-5)


@pytest.mark.parametrize(
  "net",
  [
    normalization.GroupNorm(groups=4),
    convolution.Convolution(3),
    convolution.Convolution(3, resize="double"),
    convolution.Convolution(3, resize="halve"),
    convolution.Pointwise(3),
  ],
)
def test_parts_are_as_good_as_the_whole(net):
  parts, whole = parts_and_whole()
  shapes = jax.eval_shape(net.init, jax.random.key(0), whole)
  params = jax.tree.map(lambda a: normal(a.size, *a.shape), shapes)
  apart, together = net.apply(params, *parts), net.apply(params, whole)
  if isinstance(apart, tuple):
    apart, together = jnp.concatenate(apart, axis=-1), together[0]
  np.testing.assert_allclose(apart, together, atol=1e-5 * np.abs(together).max())


COLLECTIVES = """
import re
from genjax import config
from genjax.runs import build
from genjax.training import sharding
values, _ = config.from_file("configs/ddpm_mnist.py:smoke", [])
setup = build.assemble(values)
over = sharding.mesh()
state, batch = setup.abstract(over), sharding.place(setup.pipeline.at(0), over)
text = setup.program(over).once.lower(state, batch, due=(0,)).compile().as_text()
names = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
print(re.findall(rf" ({names})(?:-start)?\\(", text))
"""


@pytest.mark.slow
def test_a_mesh_exchanges_gradients_and_nothing_else():
  """XLA joins the sums of all gradients and metrics into one exchange."""
  env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
  done = subprocess.run(
    [sys.executable, "-c", COLLECTIVES], env=env, capture_output=True, text=True, check=True
  )
  assert done.stdout.splitlines()[-1] == "['all-reduce']"
