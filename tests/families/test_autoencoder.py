"""Autoencoders: subspaces, gradients and penalties against independent computations."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from scipy import stats

from genjax import core
from genjax.families.autoencoder import autoencoder, codes
from genjax.networks import autoencoders
from genjax.processes import corruptions

POINTS = core.DataSpec(shape=(6,))
PIXELS = core.DataSpec(shape=(6, 5, 1), range=(0.0, 1.0), levels=256, kind="image")
X = jax.random.uniform(jax.random.key(0), (8, 6, 5, 1))


def build(spec=PIXELS, **kwargs):
  given = {"codec": autoencoders.Dense(widths=(7, 4), activation="tanh", spec=spec)} | kwargs
  return autoencoder.Autoencoder(spec=spec, **given)


def start(model, x=X):
  return {"x": x}, *model.init(jax.random.key(1), {"x": x}, {})


def loss(model, params, buffers, batch, key=2):
  """Returns (value, logs) of the last objective."""
  value, (_, logs) = model.objectives[-1].loss(params, buffers, batch, jax.random.key(key), 0)
  return value, logs


def test_a_linear_one_finds_the_principal_subspace():
  rng = np.random.default_rng(0)
  turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
  x = rng.standard_normal((500, 6)) * [3, 2, 1.5, 0.5, 0.3, 0.1] @ turn.T
  model = build(POINTS, codec=autoencoders.Dense(widths=(2,), spec=POINTS))
  batch, params, buffers = start(model, jnp.asarray(x, jnp.float32))
  tx = optax.adam(optax.cosine_decay_schedule(0.03, 1500))

  @jax.jit
  def step(carry, _):
    params, state = carry
    slope = jax.grad(lambda p: loss(model, p, buffers, batch)[0])(params)
    updates, state = tx.update(slope, state)
    return (optax.apply_updates(params, updates), state), None

  (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=1500)
  centred = x - x.mean(0)
  values, vectors = np.linalg.svd(centred, full_matrices=False)[1:]
  found = np.asarray(params["autoencoder"]["stack_0"]["back_kernel"]).T
  assert np.max(scipy.linalg.subspace_angles(found, vectors[:2].T)) < 0.01
  best = np.sum(values[2:] ** 2) / x.size
  assert float(loss(model, params, buffers, batch)[0]) == pytest.approx(best, rel=1e-3)


def test_tied_weights_share_their_gradient():
  """At V = W^T the gradient by the one kernel is the sum of those by W and, transposed, by V."""
  tied, free = (
    build(codec=autoencoders.Dense(widths=(4,), tied=tied, spec=PIXELS)) for tied in (True, False)
  )
  batch, params, buffers = start(tied)
  one = params["autoencoder"]["stack_0"]
  assert set(one) == {"kernel", "bias", "back_bias"}
  two = {"autoencoder": {"stack_0": {**one, "back_kernel": one["kernel"].T}}}
  slope = lambda model, p: jax.grad(lambda p: loss(model, p, buffers, batch)[0])(p)
  got = slope(tied, params)["autoencoder"]["stack_0"]
  parts = slope(free, two)["autoencoder"]["stack_0"]
  chex.assert_trees_all_close(got["kernel"], parts["kernel"] + parts["back_kernel"].T, atol=1e-6)
  assert float(jnp.abs(parts["back_kernel"]).max()) > 1e-3


def test_greedy_layers_are_the_unrolled_network():
  greedy, whole = build(greedy=10), build()
  batch, params, buffers = start(greedy)
  same = {"autoencoder": {"stack_0": params["layer_0"], "stack_1": params["layer_1"]}}
  own = {"autoencoder": buffers["layer_0"]}
  value, _ = loss(greedy, params, buffers, batch)
  assert float(value) == pytest.approx(float(loss(whole, same, own, batch)[0]), rel=1e-6)
  x = greedy.reconstruct(params, buffers, X)
  chex.assert_trees_all_close(x, whole.reconstruct(same, own, X), atol=1e-6)


def test_greedy_trains_each_layer_in_its_time_on_the_codes_below():
  model = build(greedy=10)
  due = lambda step: [o.name for o in model.objectives if o.due(step)]
  assert [due(k) for k in (0, 9, 10, 19, 20, 500)] == [
    ["layer_0"], ["layer_0"], ["layer_1"], ["layer_1"], ["autoencoder"], ["autoencoder"]
  ]  # fmt: skip
  batch, params, buffers = start(model)
  first, second = model.stages
  h = first.apply({"params": params["layer_0"]}, X, method="encode")
  again = second.apply({"params": params["layer_1"]}, h)
  value, _ = model.objectives[1].loss(params, buffers, batch, jax.random.key(0), 10)
  assert float(value) == pytest.approx(float(jnp.mean((again - h) ** 2)), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("codec, widths", [
  (autoencoders.Dense, (5, 3)), (autoencoders.Dense, (5, 40)), (autoencoders.Convolutional, (3, 2)),
])  # fmt: skip
def test_contractive_penalty_is_the_whole_jacobian(codec, widths):
  """By rows where the code is narrower than the data, by columns where it is wider."""
  codec = codec(widths=widths, spec=PIXELS)
  model = build(codec=codec, penalty=autoencoder.Contractive(weight=0.7))
  batch, params, buffers = start(model)
  one = lambda x: model.encode(params, buffers, x[None])[0]
  brute = np.mean([np.sum(np.square(jax.jacrev(one)(x))) for x in X])
  assert float(loss(model, params, buffers, batch)[1]["penalty"]) == pytest.approx(
    0.7 * brute, rel=1e-4
  )


def test_sparse_penalties_by_hand():
  z = jax.random.uniform(jax.random.key(3), (50, 4))
  l1 = autoencoder.L1(weight=0.1)(None, None, z)
  assert float(l1) == pytest.approx(0.1 * np.abs(z).sum() / 50, rel=1e-5)
  rates = np.asarray(z.mean(0))
  pair = lambda p: np.stack([p, 1 - p])
  expected = 2.0 * stats.entropy(pair(np.full(4, 0.2)), pair(rates)).sum()
  assert float(autoencoder.KL(rate=0.2, weight=2.0)(None, None, z)) == pytest.approx(
    expected, rel=1e-5
  )
  even = jnp.full((5, 4), 0.2)
  assert float(autoencoder.KL(rate=0.2)(None, None, even)) == pytest.approx(0, abs=1e-7)


def test_topk_has_exactly_k_active():
  h = jnp.array([[3.0, -1.0, 2.0, 2.0], [-4.0, -3.0, -2.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
  z = codes.TopK(k=2)(h)
  np.testing.assert_array_equal(np.count_nonzero(z, axis=1), 2)
  np.testing.assert_array_equal(z[:2], [[3, 0, 2, 0], [0, 0, -2, -1]])
  with pytest.raises(core.UserError, match=r"code\.k=5"):
    codes.TopK(k=5)(h)


def test_binary_codes_are_bits_and_noisy_while_training():
  h = jnp.linspace(-3, 3, 8).reshape(2, 4)
  np.testing.assert_array_equal(codes.Binary()(h), h > 0)
  many = jnp.zeros((20_000, 1))
  z = codes.Binary(noise=4.0)(many, jax.random.key(0))
  logit = np.log(z / (1 - z))
  assert float(np.std(logit)) == pytest.approx(4, rel=0.03)
  model = build(code=codes.Binary())
  _, params, buffers = start(model)
  assert set(np.unique(model.encode(params, buffers, X))) <= {0.0, 1.0}


def test_cross_entropy_is_that_of_the_pictures_as_probabilities():
  model = build(loss="cross_entropy")
  batch, params, buffers = start(model)
  p, q = (np.asarray(a).reshape(8, -1) for a in (X, model.reconstruct(params, buffers, X)))
  nats = -np.sum(p * np.log(q) + (1 - p) * np.log1p(-q), axis=1).mean()
  assert float(loss(model, params, buffers, batch)[0]) == pytest.approx(nats, rel=1e-5)
  wide = dataclasses.replace(PIXELS, range=(-1.0, 1.0))
  same = dataclasses.replace(model, spec=wide)
  stretched = autoencoder.LOSSES["cross_entropy"](jnp.ones((8, 30)), 2 * X - 1, (-1.0, 1.0))
  plain = autoencoder.LOSSES["cross_entropy"](jnp.ones((8, 30)), X, (0.0, 1.0))
  np.testing.assert_allclose(stretched, plain, rtol=1e-5)
  assert float(same.decode(params, buffers, jnp.zeros((1, 4))).min()) >= -1


CORRUPTIONS = {
  "gaussian": (corruptions.GaussianNoise(std=0.3), lambda d: d.std(), 0.3),
  "mask": (corruptions.Mask(rate=0.4), lambda d: np.mean(d != 0), 0.4),
  "salt_pepper": (corruptions.SaltPepper(rate=0.4), lambda d: np.mean(d != 0), 0.4),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_damage_as_much_as_they_say(name):
  corruption, size, expected = CORRUPTIONS[name]
  x = jnp.full((100, 200), 0.25)
  y = np.asarray(corruption(jax.random.key(0), x, (-1.0, 1.0)))
  assert float(size(y - 0.25)) == pytest.approx(expected, abs=0.02)
  lost = set(np.round(np.unique(y[y != 0.25]), 3))
  assert {"mask": lost == {-1.0}, "salt_pepper": lost == {-1.0, 1.0}}.get(name, True)


def test_scaled_mask_keeps_the_mean():
  x = jax.random.uniform(jax.random.key(1), (400, 300))
  y = corruptions.Mask(rate=0.5, scale=True)(jax.random.key(0), x, (0.0, 1.0))
  assert float(y.mean()) == pytest.approx(float(x.mean()), rel=0.01)


def test_denoising_sees_damage_and_is_compared_with_what_was_there():
  model = build(corruption=corruptions.Mask(rate=1.0))
  batch, params, buffers = start(model)
  blank = model.reconstruct(params, buffers, jnp.zeros_like(X))
  value, _ = loss(model, params, buffers, batch)
  assert float(value) == pytest.approx(float(jnp.mean((blank - X) ** 2)), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(28, 28), (9, 13), (8, 8)])
def test_networks_keep_any_size(size):
  spec = dataclasses.replace(PIXELS, shape=(*size, 3))
  x = jnp.ones((2, *size, 3))
  for codec in (
    autoencoders.Convolutional(widths=(4, 6, 5), code=7, spec=spec),
    autoencoders.Recurrent(width=5, code=7, spec=spec),
  ):
    model = build(spec, codec=codec)
    batch, params, buffers = start(model, x)
    assert model.encode(params, buffers, x).shape == (2, 7)
    assert model.reconstruct(params, buffers, x).shape == x.shape
    chex.assert_tree_all_finite(loss(model, params, buffers, batch))


def test_what_does_not_fit_together_is_refused():
  for kwargs, message in [
    (dict(loss="mae"), "unknown loss"),
    (dict(greedy=5, codec=autoencoders.Recurrent(spec=PIXELS)), "codec 'dense'"),
    (dict(penalty=autoencoder.KL()), "code.activation='sigmoid'"),
    (dict(spec=POINTS, loss="cross_entropy"), "data in a range"),
  ]:
    with pytest.raises(core.UserError, match=message):
      build(**kwargs)
  with pytest.raises(core.UserError, match="cannot be halved 3 times"):
    autoencoders.Convolutional(spec=PIXELS)
