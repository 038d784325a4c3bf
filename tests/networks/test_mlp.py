"""The multilayer perceptron: shapes, time, labels, and the statistics of its normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.networks import mlp
from genjax.networks.layers import embeddings

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, 3, 2))
T = jnp.linspace(0, 999, 6)


def test_equals_matrix_products():
  net = mlp.MLP(widths=(5,), activation="tanh")
  params = net.init(KEY, X)
  first, last = (params["params"][f"Dense_{i}"] for i in (0, 1))
  x = np.asarray(X).reshape(6, 6)
  expected = np.tanh(x @ first["kernel"] + first["bias"]) @ last["kernel"] + last["bias"]
  y = net.apply(params, X)
  assert y.shape == X.shape
  np.testing.assert_allclose(y.reshape(6, 6), expected, atol=1e-5)


def test_out_sets_the_number_of_outputs():
  y, _ = mlp.MLP(out=1).init_with_output(KEY, X, train=True)
  assert y.shape == (6, 1) and y.dtype == jnp.float32


def test_time_is_an_input_of_its_own():
  net = mlp.MLP(widths=(16,))
  params = net.init(KEY, X, T)
  y = net.apply(params, X, T, {})
  later = net.apply(params, X, T.at[2].add(0.5), {})
  changed = np.abs(y - later).reshape(6, -1).max(axis=1) > 1e-4
  np.testing.assert_array_equal(changed, np.arange(6) == 2)


def test_batch_norm_uses_the_batch_when_training_and_its_memory_otherwise():
  net = mlp.MLP(widths=(8,), batch_norm=True, out=4)
  params, buffers = core.init(net, KEY, X)
  group = {"g": params}, {"g": buffers}
  apply = lambda buffers, x, train: core.call(net, "g", group[0], buffers, x, train=train)
  y, moved = apply(group[1], X, True)
  # Normalised over the batch: a constant added to the hidden layer changes nothing.
  shifted = {"g": {**params, "Dense_0": {**params["Dense_0"], "bias": jnp.full(8, 3.0)}}}
  z, _ = core.call(net, "g", shifted, group[1], X, train=True)
  np.testing.assert_allclose(y, z, atol=1e-4)
  hidden = X.reshape(6, 6) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
  stats = moved["g"]["batch_stats"]["BatchNorm_0"]
  np.testing.assert_allclose(stats["mean"], 0.1 * hidden.mean(0), atol=1e-5)
  # With the memory, example i no longer depends on the others.
  together, kept = apply(moved, X, False)
  alone, _ = apply(moved, X[2:3], False)
  np.testing.assert_allclose(together[2:3], alone, atol=1e-5)
  assert kept is moved


def test_label_table_has_a_row_for_no_label():
  spec = core.DataSpec(shape=(3, 2), classes=3)
  net = mlp.MLP(widths=(8,), conditions=("label",), spec=spec)
  label = jnp.array([0, 1, 2, 3, 3, 0])
  params = net.init(KEY, X, T, {"label": label})
  y, null = net.apply(params, X, T, {"label": label}), net.apply(params, X, T, {})
  same = np.abs(y - null).reshape(6, -1).max(axis=1) < 1e-6
  np.testing.assert_array_equal(same, label == 3)


def test_half_precision_compute_is_close():
  net, half = mlp.MLP(), mlp.MLP(dtype=jnp.bfloat16)
  params = net.init(KEY, X, T)
  y, exact = half.apply(params, X, T), net.apply(params, X, T)
  assert y.dtype == jnp.float32
  assert 0 < np.abs(y - exact).max() < 0.05 * np.abs(exact).max()


def test_unknown_activation_names_the_nearest():
  with pytest.raises(core.UserError, match="'relu'"):
    mlp.MLP(activation="rleu")


def test_sinusoids_are_cosines_then_sines_of_falling_frequency():
  t = np.array([0.0, 1.5, 999.0])
  expected = [[f(10_000 ** (-i / 4) * s) for f in (np.cos, np.sin) for i in range(4)] for s in t]
  np.testing.assert_allclose(embeddings.sinusoids(jnp.asarray(t), 8), expected, atol=2e-4)
