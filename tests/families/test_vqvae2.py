"""VQ-VAE-2: losses, gradients and codes of two levels, recomputed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.evaluation import reconstruction
from genjax.families.quantized import quantizers, vqvae, vqvae2
from genjax.networks import autoencoders, pyramid

SPEC = core.DataSpec(shape=(9, 6, 1), range=(0.0, 1.0), levels=256, kind="image")
X = jax.random.uniform(jax.random.key(1), (4, 9, 6, 1))
KEY = jax.random.key(0)


def build(quantizer=None, **kwargs):
  quantizer = quantizer or quantizers.VQ(codes=6, width=3)
  codec = pyramid.Pyramid(widths=(4,), blocks=1, code=quantizer.width, spec=SPEC)
  return vqvae2.VQVAE2(spec=SPEC, codec=codec, quantizer=quantizer, **kwargs)


def start(model):
  return jax.jit(model.init)(KEY, {"x": X}, {})


def method(model, name):
  """Returns a method of the codec as a function of (params, *arguments)."""
  return lambda params, *args: model.codec.apply({"params": params["vqvae"]}, *args, method=name)


def nearest(vectors, z):
  """Returns the vectors of a codebook [K, D] that are nearest to z [..., D], one by one."""
  rows = np.asarray(z).reshape(-1, z.shape[-1])
  found = [vectors[np.argmin(((vectors - row) ** 2).sum(1))] for row in rows]
  return np.stack(found).reshape(z.shape)


def by_hand(model, params, buffers):
  """Encodes X: returns (z_top, e_top, z_bottom, e_bottom).

  z are the encoder's outputs, e the nearest codebook vectors, found by a search in NumPy.
  """
  books = {k: np.asarray(v["vectors"][0]) for k, v in buffers["vqvae"]["codebook"].items()}
  h, z_top = jax.jit(method(model, "top"))(params, X)
  e_top = nearest(books["top"], z_top)
  z_bottom = jax.jit(method(model, "bottom"))(params, h, e_top)
  return z_top, e_top, z_bottom, nearest(books["bottom"], z_bottom)


@pytest.mark.slow
def test_loss_and_gradient_are_those_of_frozen_choices():
  """With e - z frozen at its value nothing needs to be stopped: an ordinary autoencoder."""
  model = build(beta=0.3)
  params, buffers = start(model)
  z_top, e_top, z_bottom, e_bottom = by_hand(model, params, buffers)
  move_top, move_bottom = e_top - z_top, e_bottom - z_bottom

  def frozen(params):
    h, top = method(model, "top")(params, X)
    bottom = method(model, "bottom")(params, h, top + move_top)
    again = method(model, "decode")(params, top + move_top, bottom + move_bottom)
    commitment = jnp.mean((top - e_top) ** 2) + jnp.mean((bottom - e_bottom) ** 2)
    return jnp.mean((again - X) ** 2) + 0.3 * commitment

  loss = lambda params: model.loss(params, buffers, {"x": X}, KEY, 0)[0]
  value, slope = jax.jit(jax.value_and_grad(loss))(params)
  expected, wanted = jax.jit(jax.value_and_grad(frozen))(params)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), slope, wanted)
  first = slope["vqvae"]["outer"]["down_0"]["kernel"]  # through both choices
  assert float(jnp.abs(first).max()) > 1e-4


@pytest.mark.slow
def test_both_books_move_to_the_means_of_what_chose_them():
  """Without memory, in one step; codes that nothing chose stay."""
  model = build(quantizers.VQ(codes=6, width=3, decay=0.0))
  params, buffers = start(model)
  z_top, e_top, z_bottom, e_bottom = by_hand(model, params, buffers)
  _, (after, logs) = jax.jit(model.loss)(params, buffers, {"x": X}, KEY, 0)
  for level, z, e in (("top", z_top, e_top), ("bottom", z_bottom, e_bottom)):
    old, new = (b["vqvae"]["codebook"][level]["vectors"][0] for b in (buffers, after))
    z, e = np.asarray(z).reshape(-1, 3), np.asarray(e).reshape(-1, 3)
    counts = []
    for before, now in zip(np.asarray(old), new):
      mine = (e == before).all(1)
      counts.append(mine.sum())
      np.testing.assert_allclose(now, z[mine].mean(0) if mine.any() else before, atol=1e-5)
    assert len(z) == sum(counts) and sum(c > 0 for c in counts) > 1
    p = np.array([c for c in counts if c]) / sum(counts)
    assert float(logs[f"{level}/perplexity"]) == pytest.approx(
      np.exp(-(p * np.log(p)).sum()), rel=1e-4
    )


def test_the_bottoms_choice_depends_on_the_tops():
  model = build()
  params, buffers = start(model)
  encode = jax.jit(model.encode)
  index = encode(params, buffers, X)
  books = buffers["vqvae"]["codebook"]
  far = {**books["top"], "vectors": books["top"]["vectors"] + 100.0}
  other = encode(params, {"vqvae": {"codebook": {**books, "top": far}}}, X)
  assert index.shape == other.shape == (4, 2 * 3 + 5 * 3)
  assert not np.array_equal(index[:, 6:], other[:, 6:])
  moved = {**books["bottom"], "vectors": books["bottom"]["vectors"] + 100.0}
  same = encode(params, {"vqvae": {"codebook": {**books, "bottom": moved}}}, X)
  np.testing.assert_array_equal(index[:, :6], same[:, :6])  # not the other way round


@pytest.mark.slow
@pytest.mark.parametrize(
  "quantizer",
  [
    quantizers.VQ(codes=6, width=3),
    quantizers.Residual(codes=6, width=3, depth=2),
    quantizers.FSQ(levels=(3, 4)),
  ],
)
def test_pictures_become_one_sequence_and_come_back(quantizer):
  model = build(quantizer)
  params, buffers = start(model)
  index = jax.jit(model.encode)(params, buffers, X)
  top, bottom = (field.shape[0] for field in model.codes.values())
  assert (top, bottom) == (6 * quantizer.depth, 15 * quantizer.depth)
  assert index.shape == (4, top + bottom) and index.dtype == jnp.int32
  assert int(index.min()) >= 0 and int(index.max()) < model.codes["top"].levels
  decode = jax.jit(model.decode)
  again = decode(params, buffers, index)
  # In training the decoder sees the same: it is the error of this picture.
  _, (_, logs) = jax.jit(model.loss)(params, buffers, {"x": X}, KEY, 0)
  assert float(logs["error"]) == pytest.approx(float(jnp.mean((again - X) ** 2)), rel=1e-4)
  for place in (0, top):  # each level counts
    changed = index.at[:, place].set((index[:, place] + 1) % model.codes["bottom"].levels)
    assert np.abs(decode(params, buffers, changed) - again).max((1, 2, 3)).min() > 1e-6


def test_dead_codes_of_either_level_start_anew():
  model = build(quantizers.VQ(codes=6, width=3, restart=0.5))
  params, buffers = start(model)
  books, dead = buffers["vqvae"]["codebook"], {"top": 1, "bottom": 4}
  poor = {k: {**books[k], "count": books[k]["count"].at[0, i].set(0.1)} for k, i in dead.items()}
  state = {"vqvae": {"codebook": poor}}
  _, after, logs = jax.jit(model.refresh)(params, state, {"x": X}, KEY, 0)
  assert float(logs["vqvae/restarted"]) == 2
  z_top, _, z_bottom, _ = by_hand(model, params, state)
  for (level, i), z in zip(dead.items(), (z_top, z_bottom)):
    new, old = (b[level]["vectors"][0] for b in (after["vqvae"]["codebook"], books))
    assert np.abs(np.asarray(z).reshape(-1, 3) - np.asarray(new[i])).sum(1).min() < 1e-5
    np.testing.assert_array_equal(np.delete(new, i, 0), np.delete(old, i, 0))


def test_each_book_is_measured_by_itself():
  code = np.array([[0, 1, 5, 5, 5], [2, 3, 5, 5, 5]])
  fields = {name: core.Field(shape=(n,), levels=8) for name, n in (("top", 2), ("bottom", 3))}
  values = reconstruction.discrete(code, fields)
  assert values == {
    "code/top/perplexity": pytest.approx(4),
    "code/top/used": 0.5,
    "code/bottom/perplexity": pytest.approx(1),
    "code/bottom/used": 0.125,
  }


def test_what_does_not_fit_together_is_refused():
  with pytest.raises(core.UserError, match="codec 'pyramid'"):
    vqvae2.VQVAE2(spec=SPEC, codec=autoencoders.Spatial(spec=SPEC))
  with pytest.raises(core.UserError, match="codec 'spatial'"):
    vqvae.VQVAE(spec=SPEC, codec=pyramid.Pyramid(spec=SPEC))
  with pytest.raises(core.UserError, match=r"codec\.code=5"):
    vqvae2.VQVAE2(spec=SPEC, codec=pyramid.Pyramid(code=5, spec=SPEC))
  with pytest.raises(core.UserError, match="needs images"):
    pyramid.Pyramid(spec=core.DataSpec(shape=(4,)))
