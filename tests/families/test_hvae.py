"""Hierarchical variational autoencoders on images so small that all of them can be enumerated."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax import core
from genjax.data.sources import bars
from genjax.distributions import heads
from genjax.families.vae import aims, hvae
from genjax.networks import ladder

SOURCE = bars.Bars(size=3, n=2000)
BITS = SOURCE.load().spec
DATA = jnp.float32(SOURCE.load().splits["train"]["x"])
X = ((np.arange(512)[:, None] >> np.arange(9)) & 1).astype(np.float32).reshape(-1, 3, 3, 1)  # all
SOME = X[100:164]
TINY = dict(widths=(8, 8), blocks=(1, 2), code=2, bottleneck=2)


def build(spec=BITS, net=(), **kwargs):
  head = kwargs.pop("head", None) or heads.Bernoulli(spec=spec)
  network = ladder.Ladder(spec=spec, **{**TINY, **dict(net)})
  return hvae.HVAE(spec=spec, ladder=network, head=head, **kwargs)


@functools.cache
def start():
  return jax.jit(lambda key: build().init(key, {"x": DATA[:2]}, {}))(jax.random.key(0))


@functools.cache
def trained():
  """Returns (params, buffers) after a short training on bars and stripes.

  The posterior q then differs from the prior p, and from image to image.
  """
  params, buffers = start()
  (objective,) = build(aim=aims.Elbo(free_bits=0.3)).objectives  # so that each block is used
  rule = optax.adam(1e-2)

  def step(carry, key):
    params, buffers, moments = carry
    pick, own = jax.random.split(key)
    batch = {"x": DATA[jax.random.randint(pick, (64,), 0, len(DATA))]}
    loss = lambda params: objective.loss(params, buffers, batch, own, 0)
    (_, (buffers, _)), slope = jax.value_and_grad(loss, has_aux=True)(params)
    updates, moments = rule.update(slope, moments)
    return (optax.apply_updates(params, updates), buffers, moments), None

  run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[0])
  carry = params, buffers, rule.init(params)
  return run(carry, jax.random.split(jax.random.key(1), 300))[:2]


def call(method, params, *args):
  return jax.jit(lambda p, *a: build().module.apply({"params": p["hvae"]}, *a, method=method))(
    params, *args
  )


def noise(n, seed=0):
  return build()._eps(jax.random.split(jax.random.key(seed), n))


@pytest.mark.slow
def test_kl_is_the_mean_of_the_log_ratio_in_every_block():
  n = 40_000
  p = call("posterior", trained()[0], jnp.broadcast_to(DATA[0], (n, 3, 3, 1)), noise(n))
  assert p.kl.shape == p.ratio.shape == (n, 3)
  kl, gap = np.asarray(p.kl, np.float64), np.asarray(p.ratio - p.kl, np.float64)
  assert np.all(kl.std(0)[1:] > 0.01) and kl[:, 0].std() < 1e-5  # only the first is of x alone
  assert np.all(np.abs(gap.mean(0)) < 4 * gap.std(0) / n**0.5)
  assert np.all(gap.std(0) > 0.1)


@pytest.mark.slow
def test_bounds_rise_to_the_probability_and_that_of_all_pictures_is_one():
  """p(x) is the mean of p(x | z) over draws of p(z), and of w over draws of q(z | x)."""
  params, buffers = trained()
  out = call("generate", params, noise(40_000, 1)).reshape(-1, 9)
  flat = X.reshape(-1, 9)
  given = np.exp(flat @ jax.nn.log_sigmoid(out).T + (1 - flat) @ jax.nn.log_sigmoid(-out).T)
  p = given.mean(1)
  model, means = build(), {}
  for k, repeats in ((1, 100), (4, 100), (1500, 1)):
    bound = dataclasses.replace(model, importance=k).likelihoods[f"importance-{k}"]
    assert bound.kind == core.LOWER_BOUND
    run = jax.jit(lambda key, f=bound.log_prob: f(params, buffers, {"x": X}, key))
    values = np.stack([run(key) for key in jax.random.split(jax.random.key(2), repeats)])
    means[k] = values.mean(0)
  assert np.exp(means[1500].astype(np.float64)).sum() == pytest.approx(1, abs=0.02)
  assert np.abs(np.exp(means[1500]) - p).sum() < 0.12
  assert means[1].mean() < means[4].mean() - 0.1 < means[1500].mean() - 0.2
  parts = jax.jit(lambda key: model.parts(params, buffers, {"x": X}, key))
  terms = [parts(key) for key in jax.random.split(jax.random.key(3), 100)]
  elbo = np.mean([sum(term.values()) for term in terms], axis=0)
  assert elbo.mean() == pytest.approx(means[1].mean(), abs=0.1)  # K = 1
  assert np.exp(elbo).sum() < 0.7 and np.sum(elbo * p) < np.sum(np.log(p) * p) - 0.1


@pytest.mark.slow
def test_nothing_is_paid_where_the_posterior_is_the_prior():
  """A new prior is N(0, 1) in every block; a posterior that ends in zeros is the same."""
  params = start()[0]
  own = dict(params["hvae"])
  for name in ("rungs_0", "rungs_1", "rungs_2"):
    both = {
      **own[name]["from_both"],
      "last": jax.tree.map(jnp.zeros_like, own[name]["from_both"]["last"]),
    }
    own[name] = {**own[name], "from_both": both}
  p = call("posterior", {"hvae": own}, SOME, noise(64))
  np.testing.assert_allclose(p.kl, 0, atol=1e-6)
  np.testing.assert_allclose(p.ratio, 0, atol=1e-5)
  chex.assert_trees_all_close(p.z, noise(64))
  assert float(call("posterior", params, SOME, noise(64)).kl.max()) > 1e-2  # a new one is not
  chex.assert_trees_all_close(p.out, call("generate", params, noise(64)), atol=1e-5)


@pytest.mark.slow
def test_ways_down_agree():
  params, buffers = trained()
  p = call("posterior", params, SOME, noise(64))
  chex.assert_trees_all_close(call("decode", params, p.z), p.out, atol=1e-5)
  keys = jax.random.split(jax.random.key(4), 5)
  model = build()
  draw = lambda **changes: jax.jit(dataclasses.replace(model, **changes).sample)(
    params, buffers, keys, {}
  )
  x = draw()
  z_keys = jax.vmap(jax.random.split)(keys)[:, 0]
  eps = model._eps(z_keys)
  out = call("generate", params, eps)
  np.testing.assert_allclose(x, jax.nn.sigmoid(out), atol=1e-5)
  still = draw(temperature=0.0)
  np.testing.assert_allclose(still, np.tile(still[:1], (5, 1, 1, 1)), atol=1e-6)
  assert float(jnp.std(x, axis=0).min()) > 1e-3
  drawn = draw(noise=True)
  assert set(np.unique(drawn)) == {0.0, 1.0}
  code = jax.jit(model.encode)(params, buffers, SOME)
  assert code.shape == (64, model.size) == (64, 2 * (4 + 4 + 9))
  first = call("posterior", params, SOME, jax.tree.map(jnp.zeros_like, noise(64))).z[0]
  np.testing.assert_allclose(code[:, :8], first.reshape(64, 8), atol=1e-6)


@pytest.mark.slow
def test_examples_do_not_depend_on_one_another():
  params, _ = trained()
  one, two = noise(64), jax.tree.map(lambda a: jnp.concatenate([a, a]), noise(64))
  p, twice = (
    call("posterior", params, SOME, one),
    call("posterior", params, np.tile(SOME, (2, 1, 1, 1)), two),
  )
  chex.assert_trees_all_close(jax.tree.map(lambda a: jnp.concatenate([a, a]), p), twice, atol=1e-4)


@pytest.mark.slow
def test_loss_is_the_bound_with_the_kl_of_every_block():
  params, buffers = trained()
  key, batch = jax.random.key(5), {"x": SOME}

  def loss(beta, step=0, **kwargs):
    (objective,) = build(aim=aims.Elbo(beta=beta, **kwargs)).objectives
    assert objective.trains == ("hvae",)
    return objective.loss(params, buffers, batch, key, step)

  value, (_, logs) = loss(1.0)
  nats = jax.jit(build().parts)(params, buffers, batch, jax.random.split(key)[0])  # as loss draws
  parts = {name: float(a.mean()) for name, a in nats.items()}
  assert float(value) == pytest.approx(-sum(parts.values()), rel=1e-5)
  each = [float(logs[f"kl_{i:02}"]) for i in range(3)]
  assert sum(each) == pytest.approx(float(logs["kl"]), rel=1e-5) == pytest.approx(-parts["kl"])
  assert float(loss(3.0)[0] - value) == pytest.approx(2 * sum(each), rel=1e-4)
  assert float(loss(1.0, 4, warmup=10)[0] - loss(0.0)[0]) == pytest.approx(sum(each) / 2, rel=1e-4)
  free = float(np.median(each))
  paid = float(loss(1.0, free_bits=free)[0] - loss(0.0)[0])
  assert paid == pytest.approx(np.maximum(each, free).sum(), rel=1e-4) != pytest.approx(sum(each))
  once = jax.jit(functools.partial(build().once, train=True))(params, start()[1], batch, key)
  after, z = once.buffers, once.z
  np.testing.assert_allclose(after["hvae"]["codes"]["mean"], z.mean(0), atol=1e-5)


@pytest.mark.slow
def test_importance_weighted_aim_is_minus_its_bound():
  params, buffers = trained()
  model = build(aim=aims.Importance(samples=7))
  args = params, buffers, {"x": SOME}, jax.random.key(6)
  value, log_w = jax.jit(lambda *a: (model.objectives[0].loss(*a, 0)[0], model.weights(*a, 7)[0]))(
    *args
  )
  assert log_w.shape == (7, 64)
  by_hand = np.log(np.exp(np.asarray(log_w, np.float64)).mean(0)).mean()
  assert float(value) == pytest.approx(-by_hand, rel=1e-5)


def test_a_density_bounds_the_probability_of_levels():
  """One pixel of 17 levels, q = p(z): the bounds of their probabilities sum to almost 1."""
  spec = core.DataSpec(shape=(1, 1, 1), range=(-1.0, 1.0), levels=17, kind="image")
  model = build(spec, dict(widths=(2,), blocks=(1,)), head=heads.GaussianHead(std=0.3))
  batch = {"x": jnp.linspace(-1, 1, 17).reshape(17, 1, 1, 1)}
  shapes, _ = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, {}))
  params = jax.tree.map(lambda a: jnp.zeros(a.shape), shapes)  # p(x) = N(0, 0.3^2)
  keys = jax.random.split(jax.random.key(1), 500)
  parts = jax.jit(jax.vmap(lambda k: model.parts(params, {}, batch, k)))(keys)
  value = sum(parts.values()).mean(0)
  assert 0.97 < float(jnp.exp(value).sum()) < 1


@pytest.mark.slow
@pytest.mark.parametrize(
  ("size", "net", "shapes"),
  [
    ((28, 28), dict(widths=(4, 6, 8, 8), blocks=(1, 0, 2, 1)),
     [(4, 4, 2), (7, 7, 2), (7, 7, 2), (28, 28, 2)]),
    ((9, 13), dict(widths=(4, 4), blocks=(2, 1)), [(5, 7, 2), (9, 13, 2), (9, 13, 2)]),
    ((9, 6), dict(widths=(4, 4), blocks=(1, 1), patch=2), [(3, 2, 2), (5, 3, 2)]),
    ((4, 4), dict(widths=(4, 4, 4), blocks=(0, 0, 1)), [(1, 1, 2)]),
  ],
)  # fmt: skip
def test_any_size_has_its_latents_and_comes_back(size, net, shapes):
  """Traced, not run."""
  spec = dataclasses.replace(BITS, shape=(*size, 3), range=(-1.0, 1.0), levels=5, kind="image")
  model = build(spec, net, head=heads.Logistic(spec=spec, components=2))
  assert list(model.module.shapes) == shapes
  x = jax.ShapeDtypeStruct((2, *size, 3), "float32")
  params, buffers = jax.eval_shape(lambda x: model.init(jax.random.key(0), {"x": x}, {}), x)
  sample = lambda *args: model.sample(*args, jax.random.split(jax.random.key(0), 2), {})
  assert jax.eval_shape(model.reconstruct, params, buffers, x).shape == x.shape
  assert jax.eval_shape(sample, params, buffers).shape == x.shape
  code = jax.eval_shape(model.encode, params, buffers, x)
  assert code.shape == (2, sum(int(np.prod(shape)) for shape in shapes))
  wide = {k: v["inner_0"]["kernel"].ndim == 4 for k, v in params["hvae"].items() if k[:3] == "up_"}
  assert {
    level: max(model.module.sizes[level]) > 2 for level in map(int, (k[3] for k in wide))
  } == {int(k[3]): is_wide for k, is_wide in wide.items()}


def test_training_learns_what_pixels_have_in_common():
  """The bound is below the entropy of independent pixels, and not below that of the data."""
  params, buffers = trained()
  bound = jax.jit(build().likelihoods["elbo"].log_prob)
  nats = -float(jnp.mean(bound(params, buffers, {"x": DATA}, jax.random.key(2))))
  assert SOURCE.entropy - 0.1 < nats < 0.8 * 9 * np.log(2)


def test_what_does_not_fit_together_is_refused():
  for kwargs, message in [
    (dict(aim=aims.MMD()), "'elbo' and 'importance'"),
    (dict(aim=aims.Importance(doubly=True)), "use 'vae'"),
    (dict(net=dict(blocks=(1,))), "one entry for each"),
    (dict(net=dict(blocks=(0, 0))), "at least one block"),
    (dict(net=dict(bottleneck=3)), "must divide width 8"),
    (dict(net=dict(widths=(4,) * 4, blocks=(1,) * 4)), "cannot be halved 3 times"),
    (dict(spec=core.DataSpec(shape=(2,), levels=2, range=(0.0, 1.0))), "needs images"),
  ]:
    with pytest.raises(core.UserError, match=message):
      build(**kwargs)
