"""Quantizers against Lloyd's algorithm and brute force; gradients and images through them."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import cluster

from genjax import core
from genjax.evaluation import reconstruction
from genjax.families.quantized import quantizers, vqvae
from genjax.networks import autoencoders

SPEC = core.DataSpec(shape=(9, 6, 1), range=(0.0, 1.0), levels=256, kind="image")
Z = jax.random.normal(jax.random.key(0), (200, 3))


def build(quantizer=None, **kwargs):
  quantizer = quantizer or quantizers.VQ(codes=6, width=3)
  codec = autoencoders.Spatial(widths=(4, 5), blocks=1, code=quantizer.width, spec=SPEC)
  return vqvae.VQVAE(spec=SPEC, codec=codec, quantizer=quantizer, **kwargs)


def test_one_update_without_memory_is_a_step_of_lloyds():
  q = quantizers.VQ(codes=6, width=3, decay=0.0)
  book = q.start(jax.random.key(1), Z)
  new = q.update(book, Z, q.index(book, Z))["vectors"][0]
  start = np.asarray(book["vectors"][0])
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of not having converged
    means = cluster.KMeans(6, init=start, n_init=1, max_iter=1).fit(np.asarray(Z))
  labels = np.argmin(((np.asarray(Z)[:, None] - start) ** 2).sum(-1), 1)
  by_hand = np.stack([np.asarray(Z)[labels == k].mean(0) for k in range(6)])
  np.testing.assert_allclose(new, by_hand, atol=1e-5)
  np.testing.assert_allclose(means.cluster_centers_, by_hand, atol=1e-5)


def test_running_means_follow_equation_1():
  q = quantizers.VQ(codes=2, width=1, decay=0.9)
  book = {
    "vectors": jnp.array([[[-1.0], [1.0]]]),
    "count": jnp.array([[2.0, 3.0]]),
    "total": jnp.array([[[-2.0], [3.0]]]),
    "chosen": jnp.array([[2.0, 3.0]]),
  }
  z = jnp.array([[-2.0], [-1.0], [0.5]])
  new = q.update(book, z, q.index(book, z))
  np.testing.assert_allclose(new["count"][0], [0.9 * 2 + 0.1 * 2, 0.9 * 3 + 0.1], 1e-6)
  np.testing.assert_allclose(new["total"][0, :, 0], [-1.8 - 0.3, 2.7 + 0.05], 1e-6)
  np.testing.assert_allclose(new["vectors"], new["total"] / new["count"][..., None], 1e-6)


@pytest.mark.slow
def test_dead_codes_start_anew_on_vectors_of_the_batch():
  q = quantizers.VQ(codes=6, width=3, restart=0.5)
  book = q.start(jax.random.key(1), Z)
  far = book["vectors"].at[0, 2].set(100.0)
  book = {**book, "vectors": far, "count": book["count"].at[0, 2].set(0.1)}
  new, dead = q.revive(book, Z, jax.random.key(2))
  assert float(dead) == 1
  same = np.delete(np.arange(6), 2)
  np.testing.assert_array_equal(new["vectors"][0, same], far[0, same])
  assert np.abs(np.asarray(Z) - np.asarray(new["vectors"][0, 2])).sum(1).min() == 0
  np.testing.assert_allclose(new["total"] / new["count"][..., None], new["vectors"], atol=2)


def test_each_residual_book_brings_the_vector_nearer():
  q = quantizers.Residual(codes=8, width=3, depth=4, decay=0.0)
  book = q.start(jax.random.key(1), Z)
  for _ in range(10):
    book = q.update(book, Z, q.index(book, Z))
  index = q.index(book, Z)
  assert index.shape == (200, 4)
  part = lambda n: sum(book["vectors"][i][index[:, i]] for i in range(n))
  errors = [float(jnp.mean((Z - part(n)) ** 2)) for n in range(1, 5)]
  assert np.all(np.diff(errors) < 0)
  np.testing.assert_allclose(q.vector(book, index), part(4), atol=1e-5)


def test_fsq_numbers_every_combination_once():
  q = quantizers.FSQ(levels=(4, 3, 5))
  z = 2 * jax.random.normal(jax.random.key(0), (20_000, 3))
  index = q.index({}, z)
  assert set(np.unique(index)) == set(range(60))
  vector = q.vector({}, index)
  np.testing.assert_allclose(vector, q.through(z), atol=1e-6)
  assert [len(np.unique(np.asarray(vector[:, i]))) for i in range(3)] == [4, 3, 5]
  assert float(jnp.abs(vector).max()) <= 1
  assert len(np.unique(np.asarray(q.vector({}, jnp.arange(60)[:, None])), axis=0)) == 60
  slope = jax.grad(lambda z: q.through(z)[1])(jnp.array([0.3, 0.2, -0.1]))
  expected = jax.grad(lambda z: q.bound(z)[1])(jnp.array([0.3, 0.2, -0.1]))
  np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_passes_straight_through_the_choice():
  """The encoder's is that of the decoder's input, plus the commitment's."""
  model = build(beta=0.3)
  batch = {"x": jax.random.uniform(jax.random.key(1), (3, 9, 6, 1))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  book = buffers["vqvae"]["codebook"]
  variables = {"params": params["vqvae"]}
  encode = lambda p: model.codec.apply({"params": p}, batch["x"], method="encode")
  z = encode(params["vqvae"])
  code = model.quantizer.vector(book, model.quantizer.index(book, z))
  again = lambda c: jnp.mean((model.codec.apply(variables, c, method="decode") - batch["x"]) ** 2)
  by_code = jax.grad(again)(code) + 0.3 * 2 * (z - code) / z.size
  by_hand = jax.vjp(encode, params["vqvae"])[1](by_code)[0]["to_code"]["kernel"]
  slope = jax.grad(lambda p: model.loss(p, buffers, batch, jax.random.key(0), 0)[0])(params)
  np.testing.assert_allclose(slope["vqvae"]["to_code"]["kernel"], by_hand, atol=1e-6)
  assert float(jnp.abs(by_hand).max()) > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", [
  quantizers.VQ(codes=6, width=3), quantizers.Residual(codes=6, width=3, depth=2),
  quantizers.FSQ(levels=(3, 4)),
])  # fmt: skip
def test_pictures_become_integers_and_come_back(quantizer):
  model = build(quantizer)
  batch = {"x": jax.random.uniform(jax.random.key(1), (3, 9, 6, 1))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  index = model.encode(params, buffers, batch["x"])
  assert index.shape == (3, 3, 2, quantizer.depth) and index.dtype == jnp.int32
  assert int(index.min()) >= 0 and int(index.max()) < model.codes["code"].levels
  assert model.decode(params, buffers, index).shape == batch["x"].shape
  loaded = {"vqvae": (params["vqvae"], buffers["vqvae"])}
  again = model.init(jax.random.key(5), batch, loaded)
  assert jax.tree.all(jax.tree.map(np.array_equal, again, (params, buffers)))


def test_perplexity_counts_codes_in_even_use():
  even = vqvae.usage(jnp.array([5.0, 5.0, 5.0, 5.0, 0.0]))
  assert float(even["perplexity"]) == pytest.approx(4, rel=1e-5)
  assert float(even["used"]) == pytest.approx(0.8)
  code = np.repeat([0, 1, 2, 3], 50).reshape(10, 20, 1)  # over all examples, not a batch's mean
  assert reconstruction.discrete(code, {"code": core.Field(shape=(), levels=8)}) == {
    "code/perplexity": pytest.approx(4),
    "code/used": 0.5,
  }


def test_reviving_a_code_is_not_its_use():
  q = quantizers.VQ(codes=3, width=3, restart=0.5, decay=0.5)
  book, first = q.start(jax.random.key(0), Z), jnp.zeros((*Z.shape[:-1], 1), jnp.int32)
  for step in range(8):
    book = q.update(book, Z, first)  # all choose the first code
    book, _ = q.revive(book, Z, jax.random.key(step))
  assert float(book["count"][0, 1:].min()) >= 0.5
  seen = vqvae.usage(book["chosen"][0])
  assert float(seen["used"]) == pytest.approx(1 / 3)
  assert float(seen["perplexity"]) == pytest.approx(1)


def test_a_code_in_use_is_not_put_elsewhere():
  q = quantizers.VQ(codes=4, width=3, restart=2.0)
  book = q.start(jax.random.key(0), Z)
  for step in range(20):
    book = q.update(book, Z, jnp.arange(Z.size // 3).reshape(*Z.shape[:-1], 1) % 4)
    book, dead = q.revive(book, Z, jax.random.key(step))
    assert not float(dead)


def test_a_book_that_stays_as_it_is_has_finite_usage():
  q = quantizers.VQ(codes=4, width=3, decay=1.0)
  book = q.start(jax.random.key(0), Z)
  after = q.update(book, Z, q.index(book, Z))
  np.testing.assert_array_equal(after["vectors"], book["vectors"])
  assert float(vqvae.usage(after["chosen"][0])["used"]) == 0


def test_what_does_not_fit_together_is_refused():
  with pytest.raises(core.UserError, match=r"codec\.code=5"):
    vqvae.VQVAE(spec=SPEC, codec=autoencoders.Spatial(code=5, spec=SPEC))
  with pytest.raises(core.UserError, match="codec 'spatial'"):
    vqvae.VQVAE(spec=SPEC, codec=autoencoders.Dense(spec=SPEC))
  for levels in ((), (8, 2), (8, 1001)):  # two: no gradient at 0; so many: rounded out of range
    with pytest.raises(core.UserError, match="3 to 1000"):
      quantizers.FSQ(levels=levels)
  with pytest.raises(core.UserError, match=r"codec\.answer=3: the data have 1"):
    vqvae.VQVAE(spec=SPEC, codec=autoencoders.Spatial(answer=3, spec=SPEC))
  with pytest.raises(core.UserError, match="needs images"):
    autoencoders.Spatial(spec=dataclasses.replace(SPEC, shape=(4,)))
