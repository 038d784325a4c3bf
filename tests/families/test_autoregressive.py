"""Autoregressive models against the enumeration of all sequences."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from genjax import core
from genjax.data.sources import bars
from genjax.families.autoregressive import autoregressive
from genjax.networks import mlp, transformer

TRIPLES = core.DataSpec(shape=(3, 1), dtype="int32", levels=3, classes=2, kind="tokens")
ALL = jnp.array(list(itertools.product(range(3), repeat=3)), jnp.int32).reshape(27, 3, 1)


def build(spec=TRIPLES, temperature=1.0, **kwargs):
  net = transformer.Transformer(**(dict(width=8, layers=1, heads=2, spec=spec) | kwargs))
  return autoregressive.Autoregressive(spec=spec, network=net, temperature=temperature)


def start(model, x, seed=0):
  """Returns parameters and buffers whose distribution is far from uniform."""
  batch = {"x": x, "label": jnp.zeros(len(x), jnp.int32)}
  params, buffers = jax.jit(model.init)(jax.random.key(seed), batch, {})
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(seed)
  noisy = [a + np.float32(0.4 * rng.standard_normal(a.shape)) for a in leaves]
  return jax.tree.unflatten(tree, noisy), buffers


def probabilities(model, params, label=0):
  batch = {"x": ALL, "label": jnp.full(len(ALL), label)}
  (likelihood,) = model.likelihoods.values()
  assert likelihood.kind == core.EXACT
  return np.exp(np.asarray(jax.jit(likelihood.log_prob)(params, {}, batch, None), np.float64))


@pytest.mark.parametrize("conditional", [False, True])
def test_everything_has_probability_one(conditional):
  model = build(conditions=("label",) if conditional else ())
  params, _ = start(model, ALL)
  for label in range(2):
    p = probabilities(model, params, label)
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert p.max() > 3 * p.min()  # not uniform
  assert (np.abs(p - probabilities(model, params, 0)).max() > 1e-3) == conditional
  assert list(model.likelihoods) == ["chain-rule-given-label" if conditional else "chain-rule"]


def test_samples_follow_the_enumerated_distribution():
  model = build(conditions=("label",))
  params, buffers = start(model, ALL)
  keys, label = jax.random.split(jax.random.key(3), 20_000), jnp.arange(20_000) % 2
  x = jax.jit(model.sample)(params, buffers, keys, {"label": label})
  assert x.shape == (20_000, 3, 1) and x.dtype == jnp.int32
  number = np.asarray(x[..., 0] @ jnp.array([9, 3, 1]))
  for i in range(2):
    counts = np.bincount(number[i::2], minlength=27)
    expected = 10_000 * probabilities(model, params, i)
    assert scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def test_temperature_divides_the_logits_of_each_place():
  model = build(temperature=0.5)
  params, buffers = start(model, ALL)
  logits = jax.jit(model.network.apply)({"params": params["network"]}, ALL[..., 0])
  sharp = np.exp(2 * np.asarray(logits, np.float64))
  sharp /= sharp.sum(-1, keepdims=True)
  expected = np.take_along_axis(sharp, np.asarray(ALL), -1)[..., 0].prod(-1)
  x = jax.jit(model.sample)(params, buffers, jax.random.split(jax.random.key(3), 20_000), {})
  counts = np.bincount(np.asarray(x[..., 0] @ jnp.array([9, 3, 1])), minlength=27)
  assert 0.5 * np.abs(counts / 20_000 - expected).sum() < 0.02
  assert 0.5 * np.abs(counts / 20_000 - probabilities(model, params)).sum() > 0.1


@pytest.mark.slow
def test_training_finds_the_distribution_of_bars_and_stripes():
  """All 2 x 2 pictures: the cross-entropy falls to the entropy, and is never below it."""
  source = bars.Bars(size=2, n=2000)
  data = source.load()
  model = build(data.spec, width=16)
  x = jnp.asarray(data.splits["train"]["x"][:], jnp.float32)
  params, buffers = jax.jit(model.init)(jax.random.key(0), {"x": x[:2]}, {})
  tx = optax.adam(1e-2)

  @jax.jit
  def step(carry, key):
    params, state = carry
    batch = {"x": x[jax.random.randint(key, (200,), 0, len(x))]}
    loss = lambda p: model.loss(p, buffers, batch, key, 0)[0]
    updates, state = tx.update(jax.grad(loss)(params), state)
    return (optax.apply_updates(params, updates), state), None

  (params, _), _ = jax.lax.scan(
    step, (params, tx.init(params)), jax.random.split(jax.random.key(1), 300)
  )
  rows = jnp.array([[[a, a], [b, b]] for a in (0.0, 1.0) for b in (0.0, 1.0)])[..., None]
  drawings = jnp.concatenate([rows, rows.swapaxes(1, 2)])  # eight, equally likely
  cross = -float(jnp.mean(jax.jit(model.log_prob)(params, buffers, {"x": drawings}, None)))
  assert source.entropy - 1e-5 < cross < source.entropy + 0.03


def test_loss_is_nats_per_example():
  model = build(dropout=0.0)
  params, buffers = start(model, ALL)
  batch = {"x": ALL[:5]}
  loss, (_, logs) = jax.jit(model.loss)(params, buffers, batch, jax.random.key(0), 0)
  expected = -float(jnp.mean(jax.jit(model.log_prob)(params, buffers, batch, None)))
  assert float(loss) == pytest.approx(expected, rel=1e-5)
  assert float(logs["nats_per_token"]) == pytest.approx(expected / 3, rel=1e-5)


def test_pictures_are_their_levels():
  spec = core.DataSpec(shape=(2, 2, 3), range=(-1.0, 1.0), levels=17, kind="image")
  model = build(spec)
  tokens = jax.random.randint(jax.random.key(0), (9, 12), 0, 17)
  x = model.event(tokens)
  assert x.shape == (9, 2, 2, 3)
  np.testing.assert_allclose(x.reshape(9, 12), -1 + tokens / 8, atol=1e-6)
  np.testing.assert_array_equal(model.tokens(x), tokens)
  np.testing.assert_array_equal(model.tokens(x + 0.02), tokens)  # rounded
  params, buffers = start(model, x)
  lost = {"x": x.at[0, 0, 0].set(jnp.nan)}
  values = jax.jit(model.log_prob)(params, buffers, lost, None)
  assert np.isnan(values[0]) and np.isfinite(values[1:]).all()


def test_samples_are_written_in_raster_order():
  model = build(core.DataSpec(shape=(2, 2, 1), range=(0.0, 1.0), levels=9, kind="image"))
  params, buffers = start(model, jnp.zeros((1, 2, 2, 1)))
  arguments = params, buffers, jax.random.split(jax.random.key(0), 8), {}
  film = np.asarray(jax.jit(model.trajectory, static_argnums=4)(*arguments, 4)).reshape(4, 8, 4)
  x = np.asarray(jax.jit(model.sample)(*arguments)).reshape(8, 4)
  for i in range(4):
    np.testing.assert_array_equal(film[i, :, : i + 1], x[:, : i + 1])
    assert not np.any(film[i, :, i + 1 :])
  assert np.any(x[:, 1:])


def test_what_does_not_fit_together_is_refused():
  with pytest.raises(core.UserError, match="not real numbers"):
    autoregressive.Autoregressive(spec=core.DataSpec(shape=(2,)), network=mlp.MLP())
  with pytest.raises(core.UserError, match="use network 'transformer'"):
    autoregressive.Autoregressive(spec=TRIPLES, network=mlp.MLP())
  unbounded = dataclasses.replace(TRIPLES, kind="image")
  with pytest.raises(core.UserError, match="on levels"):
    build(unbounded)
