"""The causal transformer: which places each place sees, its cache, and its conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.networks import transformer
from genjax.networks.layers import attention

KEY = jax.random.key(0)
SPEC = core.DataSpec(shape=(2, 3), dtype="int32", levels=5, classes=3, kind="tokens")
TOKENS = jax.random.randint(jax.random.key(1), (4, 6), 0, 5)
LABEL = {"label": jnp.array([0, 1, 2, 3])}


def build(**kwargs):
  """Returns a network whose parameters are all far from zero."""
  net = transformer.Transformer(**(dict(width=8, layers=2, heads=2, spec=SPEC) | kwargs))
  rng, params = np.random.default_rng(0), jax.jit(net.init)(KEY, TOKENS, LABEL)
  return net, jax.tree.map(lambda a: a + np.float32(0.3 * rng.standard_normal(a.shape)), params)


def test_attention_is_over_the_places_so_far():
  """By a loop over examples, heads and places."""
  x = np.asarray(jax.random.normal(KEY, (2, 5, 6)))
  module = attention.CausalAttention(heads=2)
  (y, memory), params = module.init_with_output(KEY, x)
  dense = lambda name, x: x @ params["params"][name]["kernel"] + params["params"][name]["bias"]
  q, k, v = (dense(name, x) for name in ("query", "key", "value"))
  expected = np.zeros_like(x)
  for b in range(2):
    for head in (slice(0, 3), slice(3, 6)):
      for i in range(5):
        score = np.array([q[b, i, head] @ k[b, j, head] for j in range(i + 1)]) / np.sqrt(3)
        weight = np.exp(score) / np.exp(score).sum()
        expected[b, i, head] = weight @ v[b, : i + 1, head]
  np.testing.assert_allclose(y, dense("out", expected), atol=1e-5)
  np.testing.assert_allclose(memory[0].reshape(2, 5, 6), k, atol=1e-6)


def test_logits_see_the_tokens_before_and_no_others():
  net, params = build()
  apply = jax.jit(net.apply)
  logits = apply(params, TOKENS)
  assert logits.shape == (4, 6, 5) and logits.dtype == jnp.float32
  for j in range(6):
    other = apply(params, TOKENS.at[:, j].set((TOKENS[:, j] + 1) % 5))
    moved = np.abs(other - logits).max(axis=(0, 2))
    assert np.all(moved[: j + 1] == 0) and np.all(moved[j + 1 :] > 1e-4)


def test_order_counts():
  net, params = build(layers=1)
  apply = jax.jit(net.apply)
  swapped = apply(params, TOKENS[:, jnp.array([1, 0, 2, 3, 4, 5])])
  differ = TOKENS[:, 0] != TOKENS[:, 1]
  moved = np.abs(swapped - apply(params, TOKENS))[:, -1].max(-1)
  np.testing.assert_array_equal(moved > 1e-5, differ)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_step_by_step_is_the_whole(conditional):
  net, params = build(conditions=("label",) if conditional else ())
  whole = jax.jit(net.apply)(params, TOKENS, LABEL)
  step = jax.jit(lambda *args: net.apply(params, *args, LABEL, method="step"))
  memory, before = net.memory(4), jnp.full(4, 4)  # what stands before the first is not read
  for i in range(6):
    logits, memory = step(memory, before, i)
    np.testing.assert_allclose(logits, whole[:, i], atol=1e-5)
    before = TOKENS[:, i]


def test_the_label_is_known_from_the_first_place_on():
  net, params = build(conditions=("label",))
  y, none = jax.jit(net.apply)(params, TOKENS, LABEL), jax.jit(net.apply)(params, TOKENS, {})
  moved = np.abs(y - none).max(-1)
  assert np.all(moved[:3] > 1e-4) and np.all(moved[3] == 0)  # label 3 of 3 classes is none


def test_dropout_in_training_only():
  net, params = build(dropout=0.5)
  plain, _ = build()
  apply = jax.jit(net.apply, static_argnames="train")
  run = lambda key, train=True: apply(params, TOKENS, train=train, rngs={"dropout": key})
  np.testing.assert_array_equal(run(KEY, False), jax.jit(plain.apply)(params, TOKENS))
  np.testing.assert_array_equal(run(KEY), run(KEY))
  assert np.abs(run(KEY) - run(jax.random.key(5))).max() > 1e-2
  free = jnp.stack([run(k)[:, 0] for k in jax.random.split(KEY, 2)])
  assert np.abs(free[:, 0] - free[:, 1]).max() > 1e-3  # the same input, masks of their own


def test_half_precision_compute_is_close():
  net, params = build()
  half, _ = build(dtype=jnp.bfloat16)
  y, exact = jax.jit(half.apply)(params, TOKENS), jax.jit(net.apply)(params, TOKENS)
  assert y.dtype == jnp.float32
  assert 0 < np.abs(y - exact).max() < 0.05 * np.abs(exact).max()
  assert half.memory(1)[0][0].dtype == jnp.bfloat16


def test_what_does_not_fit_together_is_refused():
  with pytest.raises(core.UserError, match="heads=3 does not divide width=8"):
    transformer.Transformer(width=8, heads=3)
  with pytest.raises(core.UserError, match="not real numbers"):
    transformer.Transformer(spec=core.DataSpec(shape=(2,)))
  bare = core.DataSpec(shape=(2,), levels=2, kind="tokens")
  with pytest.raises(core.UserError, match="data with labels"):
    transformer.Transformer(conditions=("label",), spec=bare).init(KEY, TOKENS[:, :2])
