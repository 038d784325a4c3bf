"""Variational autoencoders on linear-Gaussian models, whose likelihood is known."""

import dataclasses
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from genjax import core
from genjax.data import tasks
from genjax.distributions import heads, latents
from genjax.families import moments
from genjax.families.vae import aims, vae
from genjax.networks import autoencoders, cnn, mlp

POINTS = core.DataSpec(shape=(5,))
BITS = core.DataSpec(shape=(3, 2, 1), range=(0.0, 1.0), levels=2, kind="binary")
GREY = core.DataSpec(shape=(2, 2, 1), range=(-1.0, 1.0), levels=17, kind="image")
NOISE = 0.5
LINEAR = mlp.MLP(widths=())


def build(spec=POINTS, **kwargs):
  given = dict(
    encoder=LINEAR,
    decoder=LINEAR,
    latent=latents.GaussianLatent(width=2),
    head=heads.GaussianHead(std=NOISE),
  )
  return vae.VAE(spec=spec, **(given | kwargs))


@pytest.fixture(scope="module")
def exact():
  """Returns (params, x [40, 5], log p(x) [40]) of a model whose q is the exact posterior.

  The columns of the decoder's W are orthogonal, so the posterior has a diagonal covariance.
  """
  rng = np.random.default_rng(0)
  w = np.linalg.qr(rng.standard_normal((5, 2)))[0] * [1.5, 0.7]
  b = rng.standard_normal(5)
  x = rng.standard_normal((40, 2)) @ w.T + b + NOISE * rng.standard_normal((40, 5))
  precision = 1 + np.sum(w**2, 0) / NOISE**2
  to_mean = w / NOISE**2 / precision
  kernel = np.concatenate([to_mean, np.zeros((5, 2))], axis=1)
  bias = np.concatenate([-b @ to_mean, -np.log(precision) / 2])
  layer = lambda kernel, bias: {
    "Dense_0": {"kernel": jnp.float32(kernel), "bias": jnp.float32(bias)}
  }
  params = {"encoder": layer(kernel, bias), "decoder": layer(w.T, b)}
  log_p = stats.multivariate_normal(b, w @ w.T + NOISE**2 * np.eye(5)).logpdf(x)
  return params, jnp.float32(x), log_p


def spoiled(params):
  """Returns parameters with another q: shifted, and 1.5 times as wide."""
  dense = params["encoder"]["Dense_0"]
  bias = dense["bias"] + jnp.array([0.3, -0.3, np.log(1.5), np.log(1.5)])
  return {**params, "encoder": {"Dense_0": {**dense, "bias": bias}}}


BUFFERS = {"encoder": {"codes": moments.nothing((2,))}, "decoder": {}}


@pytest.mark.slow
def test_bounds_are_the_likelihood_where_q_is_the_posterior(exact):
  """For every number of samples, and each draw: all weights are p(x)."""
  params, x, log_p = exact
  for k in (1, 3):
    model = build(importance=k)
    for likelihood in model.likelihoods.values():
      value = likelihood.log_prob(params, BUFFERS, {"x": x}, jax.random.key(k))
      if likelihood.parts is None:
        np.testing.assert_allclose(value, log_p, atol=2e-4)
  parts = [build().parts(params, BUFFERS, {"x": x}, jax.random.key(i)) for i in range(300)]
  mean = np.mean([sum(p.values()) for p in parts], axis=0)
  np.testing.assert_allclose(mean, log_p, atol=0.4)  # the KL in closed form leaves some noise
  assert np.mean(mean - log_p) == pytest.approx(0, abs=0.03)


@pytest.mark.slow
def test_elbo_is_below_importance_samples_that_rise_to_the_likelihood(exact):
  params, x, log_p = exact
  params, keys = spoiled(params), jax.random.split(jax.random.key(0), 200)
  means, errors = [], []
  for k in (1, 5, 50):
    estimate = jax.jit(
      lambda key, k=k: build(importance=k).estimate(params, BUFFERS, {"x": x}, key)
    )
    values = np.stack([estimate(key).mean() for key in keys])
    means.append(float(values.mean()))
    errors.append(float(values.std()) / len(values) ** 0.5)
  gaps = np.diff([*means, log_p.mean()])
  assert np.all(gaps > -3 * np.array([*errors[1:], errors[-1]])), (means, log_p.mean())
  assert gaps[0] > 0.2 and gaps[-1] < 0.1
  elbo = np.mean(
    [sum(build().parts(params, BUFFERS, {"x": x}, key).values()).mean() for key in keys]
  )
  assert elbo == pytest.approx(means[0], abs=4 * errors[0] + 0.02)  # K = 1 is the ELBO


def test_doubly_reparametrized_gradients_have_the_same_mean(exact):
  params, x, _ = exact
  params, x = spoiled(params), x[:4]
  means, spreads = {}, {}
  for doubly in (False, True):
    model = build(aim=aims.Importance(samples=8, doubly=doubly))
    objective = next(o for o in model.objectives if "encoder" in o.trains)

    def slope(key, objective=objective):
      loss = lambda own: objective.loss({**params, "encoder": own}, BUFFERS, {"x": x}, key, 0)[0]
      return jax.grad(loss)(params["encoder"])["Dense_0"]["bias"]

    many = np.asarray(jax.jit(jax.vmap(slope))(jax.random.split(jax.random.key(3), 20_000)))
    means[doubly], spreads[doubly] = many.mean(0), many.std(0)
  error = np.hypot(spreads[False], spreads[True]) / 20_000**0.5
  assert np.all(np.abs(means[True] - means[False]) < 4 * error)
  assert np.all(np.abs(means[True]) > 4 * error)  # and it is not nothing
  assert spreads[True].mean() < 0.8 * spreads[False].mean()


LATENTS = {
  "gaussian": latents.GaussianLatent(width=3),
  "grid": latents.Grid(width=3, places=(2, 1)),
  "laplace": latents.Laplace(width=3),
  "categorical": latents.Categorical(width=3, classes=4),
  "spherical": latents.Spherical(width=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LATENTS)
def test_kl_is_the_mean_of_the_log_ratio(name):
  latent = LATENTS[name]
  q = 0.5 * jax.random.normal(jax.random.key(0), (latent.outputs,))
  z = latent.sample(jax.random.key(1), jnp.broadcast_to(q, (100_000, latent.outputs)))
  assert z.shape == (100_000, *latent.shape)
  ratio = latent.log_prob(q, z) - latent.log_prob(latent.prior(), z)
  error = np.asarray(ratio).std(0) / 100_000**0.5
  assert np.all(np.abs(np.asarray(ratio).mean(0) - latent.kl(q)) < 4 * error + 1e-4)
  np.testing.assert_allclose(latent.kl(latent.prior()), 0, atol=1e-5)
  # a density: the mean of p/q over draws of q is 1
  assert float(jnp.exp(-jnp.sum(ratio, -1)).mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_spherical_latents_lie_on_the_sphere_around_their_mean():
  latent = LATENTS["spherical"]
  q = jnp.array([0.0, 2.0, 0.0, 0.0, 20.0])
  z = latent.sample(jax.random.key(1), jnp.broadcast_to(q, (20_000, 5)))
  np.testing.assert_allclose(jnp.linalg.norm(z, axis=1), 1, atol=1e-3)
  half, k = 1.5, 20.0
  mean = 2 * (half + k) / (2 * half + k) - 1  # of a beta variable
  np.testing.assert_allclose(z.mean(0), [0, mean, 0, 0], atol=0.01)
  area = 2 * np.pi**2  # of the sphere in four dimensions
  assert float(latent.log_prob(latent.prior(), z[0])[0]) == pytest.approx(-np.log(area), abs=1e-4)


def test_gumbel_choices_are_soft_in_training_and_hard_otherwise():
  latent = latents.Categorical(width=2, classes=3, temperature=0.3)
  q = jnp.log(jnp.tile(jnp.array([0.5, 0.3, 0.2]), 2))
  many = jnp.broadcast_to(q, (50_000, 6))
  hard = latent.sample(jax.random.key(0), many)
  assert set(np.unique(hard)) == {0.0, 1.0}
  np.testing.assert_allclose(hard.mean(0), np.exp(q), atol=0.01)
  soft = latent.sample(jax.random.key(0), many, soft=True).reshape(-1, 2, 3)
  np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(soft.argmax(-1), hard.reshape(-1, 2, 3).argmax(-1))


@pytest.mark.slow
def test_logistic_mixture_is_a_distribution_over_the_levels():
  head = heads.Logistic(spec=GREY, components=3)
  out = jax.random.normal(jax.random.key(0), (2, 2, 1, 9)) * jnp.array(
    [1] * 3 + [0.5] * 3 + [2.0] * 3
  )
  levels = jnp.linspace(-1, 1, 17)
  p = jnp.exp(jax.vmap(lambda v: head.log_prob(out, jnp.full((2, 2, 1), v)))(levels))
  np.testing.assert_allclose(p.sum(0), 1, atol=1e-4)
  w, m, s = (np.asarray(a, np.float64) for a in head._split(out))
  cut = lambda edge: np.sum(special.softmax(w, -1) * stats.logistic(m, s).cdf(edge), -1)
  np.testing.assert_allclose(p[5], cut(levels[5] + 1 / 16) - cut(levels[5] - 1 / 16), atol=1e-5)
  np.testing.assert_allclose(p[16], 1 - cut(1 - 1 / 16), atol=1e-5)
  x = jax.vmap(head.sample, (0, None))(jax.random.split(jax.random.key(1), 20_000), out)
  share = np.mean(np.isclose(x, levels[5]), axis=0)
  np.testing.assert_allclose(share, p[5], atol=0.015)


def test_simple_heads_by_scipy():
  out = jax.random.normal(jax.random.key(0), (4, 3, 2, 1, 2))
  x = jax.random.normal(jax.random.key(1), (4, 3, 2, 1))
  gaussian = heads.GaussianHead(std=0.0).log_prob(out, x)
  np.testing.assert_allclose(gaussian, stats.norm(out[..., 0], np.exp(out[..., 1])).logpdf(x), 2e-4)
  bits, coin = (x > 0) * 1.0, heads.Bernoulli(spec=BITS)
  p = special.expit(np.asarray(out[..., 0]))
  np.testing.assert_allclose(coin.log_prob(out, bits), stats.bernoulli(p).logpmf(bits), 2e-4)


@pytest.mark.slow
def test_the_kls_weight_does_not_depend_on_the_batch(exact):
  """Nats per example: the batch twice over has the same KL, and beta is what it says."""
  params, x, _ = exact
  model = build()
  kl = lambda x: model.once(params, BUFFERS, {"x": x}, jax.random.key(0)).logs()["kl"]
  assert float(kl(jnp.tile(x, (2, 1)))) == pytest.approx(float(kl(x)), rel=1e-6)
  q = model.once(params, BUFFERS, {"x": x}, jax.random.key(0)).q
  m, s = np.asarray(q[:, :2]), np.exp(np.asarray(q[:, 2:]))
  by_hand = np.mean(np.sum((m**2 + s**2 - 1) / 2 - np.log(s), axis=1))
  assert float(kl(x)) == pytest.approx(by_hand, rel=1e-5)

  def loss(beta, step=0, **kwargs):
    objective = build(aim=aims.Elbo(beta=beta, **kwargs)).objectives[0]
    return objective.loss(params, BUFFERS, {"x": x}, jax.random.key(0), step)[0]

  assert float(loss(3.0) - loss(1.0)) == pytest.approx(2 * by_hand, rel=1e-5)
  assert float(loss(1.0, 4, warmup=10) - loss(0.0)) == pytest.approx(by_hand / 2, rel=1e-5)
  each = np.mean((m**2 + s**2 - 1) / 2 - np.log(s), axis=0)
  freed = float(loss(1.0, free_bits=float(each.mean())) - loss(0.0))
  assert freed == pytest.approx(np.maximum(each, each.mean()).sum(), rel=1e-5)


def test_total_correlation_from_a_batch_by_hand(exact):
  params, x, _ = exact
  model = build(aim=aims.TotalCorrelation(weight=4.0, examples=1000))
  p = model.once(params, BUFFERS, {"x": x[:6]}, jax.random.key(0))
  m, s = np.asarray(p.q[:, :2], np.float64), np.exp(np.asarray(p.q[:, 2:], np.float64))
  terms = []
  for z in np.asarray(p.z):
    density = stats.norm(m, s).pdf(z)  # [6, 2]
    joint, apart = density.prod(1).sum() / 6000, np.prod(density.sum(0) / 6000)
    terms.append(np.log(joint / apart))
  value, logs = model.aim.extra(model, params, p, None)
  assert float(logs["total_correlation"]) == pytest.approx(np.mean(terms), rel=1e-4)
  assert float(value) == pytest.approx(4 * np.mean(terms), rel=1e-4)


def test_factors_discriminator_tells_dependence_and_only_it_learns(exact):
  _, x, _ = exact
  model = build(aim=aims.Factor(network=mlp.MLP(widths=(8,))))
  batch = {"x": x}
  start, buffers = model.init(jax.random.key(0), batch, {})
  bound, own = model.objectives
  assert bound.trains == ("encoder", "decoder") and own.trains == ("discriminator",)
  value, _ = own.loss(start, buffers, batch, jax.random.key(1), 0)
  chex.assert_tree_all_finite(value)
  silent = jax.tree.map(jnp.zeros_like, start["discriminator"])
  loss, _ = own.loss({**start, "discriminator": silent}, buffers, batch, jax.random.key(1), 0)
  assert float(loss) == pytest.approx(np.log(2), rel=1e-6)  # knows nothing


def test_mmd_is_unbiased_and_sees_a_shift():
  draw = lambda i, shift=0.0: shift + jax.random.normal(jax.random.key(i), (50, 3))
  same = np.array([aims.mmd(draw(i), draw(i + 1000)) for i in range(200)])
  assert abs(same.mean()) < 4 * same.std() / 200**0.5
  assert float(aims.mmd(draw(0), draw(1, 1.0))) > 5 * same.std()


def test_mmd_compares_with_noise_that_z_does_not_know(exact):
  """Where q is the prior, its mean is 0; z's own noise in the prior's place brings it far below."""
  model = build(aim=aims.MMD(weight=1.0))
  params, buffers = model.init(jax.random.key(0), {"x": exact[1]}, {})
  params, batch = jax.tree.map(jnp.zeros_like, params), {"x": exact[1][:32]}
  log = jax.jit(lambda key: model.objectives[0].loss(params, buffers, batch, key, 0)[1][1]["mmd"])
  values = np.array([log(jax.random.key(i)) for i in range(200)])
  assert abs(values.mean()) < 4 * values.std() / 200**0.5


@pytest.mark.parametrize(
  "own", [latents.Grid(width=2, places=(2, 2)), latents.Categorical(width=3, classes=4)]
)
def test_mmd_of_latents_of_any_shape(own):
  model, q = types.SimpleNamespace(latent=own), own.prior((40,))
  once = lambda key: aims.Pass(q, own.sample(key, q, soft=True), None, None, None)
  aim = aims.MMD(weight=1.0)
  value = jax.jit(lambda a, b: aim.extra(model, {}, once(a), b)[0])
  keys = jax.random.split(jax.random.key(0), (100, 2))
  values = np.array([value(*pair) for pair in keys])
  assert abs(values.mean()) < 4 * values.std() / 100**0.5


def test_a_conditional_model_reconstructs_with_its_label():
  """Half of the code is the label: without it, the digit would be another one's."""
  spec = core.DataSpec(shape=(4,), classes=3)
  part = dict(widths=(8,), conditions=("label",), spec=spec)
  model = build(spec=spec, encoder=mlp.MLP(**part), decoder=mlp.MLP(**part))
  batch = {"x": jax.random.normal(jax.random.key(0), (3, 4)), "label": jnp.arange(3)}
  params, buffers = model.init(jax.random.key(1), batch, {})
  assert core.given(model, batch).keys() == {"label"}
  own, other = (
    model.reconstruct(params, buffers, batch["x"], {"label": (batch["label"] + k) % 3})
    for k in (0, 1)
  )
  assert float(jnp.abs(own - other).min()) > 0


@pytest.mark.slow
def test_vamp_prior_is_the_mixture_of_its_pseudo_inputs(exact):
  params, x, _ = exact
  model = build(pseudo_inputs=3)
  new, buffers = model.init(jax.random.key(0), {"x": x}, {})
  params = {**params, "prior": new["prior"]}
  z = jax.random.normal(jax.random.key(1), (4, 2))
  q, _ = model._encode(params, buffers, params["prior"]["inputs"], {})
  m, s = np.asarray(q[:, :2]), np.exp(np.asarray(q[:, 2:]))
  by_hand = np.log(np.mean(stats.norm(m, s).pdf(np.asarray(z)[:, None]).prod(-1), axis=1))
  np.testing.assert_allclose(model.log_prior(params, buffers, z), by_hand, rtol=1e-4)
  bound = model.parts(params, buffers, {"x": x}, jax.random.key(0))
  chex.assert_tree_all_finite(bound)
  keys = jax.random.split(jax.random.key(2), 4000)
  drawn = jax.vmap(model.latent.sample)(keys, model._prior(params, buffers, keys))
  np.testing.assert_allclose(drawn.mean(0), m.mean(0), atol=0.1)


def test_a_density_bounds_the_probability_of_levels():
  """One pixel of 17 levels: the bounds of their probabilities sum to a little less than 1."""
  spec = dataclasses.replace(GREY, shape=(1,))
  model = build(spec, latent=latents.GaussianLatent(width=1), head=heads.GaussianHead(std=0.3))
  batch = {"x": jnp.linspace(-1, 1, 17)[:, None]}
  params, buffers = model.init(jax.random.key(0), batch, {})
  params = jax.tree.map(jnp.zeros_like, params)  # q is p(z), which says nothing: p(x) = N(0, 0.3^2)
  keys = jax.random.split(jax.random.key(1), 500)
  value = jax.vmap(lambda k: sum(model.parts(params, buffers, batch, k).values()))(keys).mean(0)
  assert 0.97 < float(jnp.exp(value).sum()) < 1


def test_samples_are_means_or_draws():
  model = build(BITS, head=heads.Bernoulli(spec=BITS))
  params, buffers = model.init(jax.random.key(0), {"x": jnp.zeros((2, 3, 2, 1))}, {})
  keys = jax.random.split(jax.random.key(1), 5)
  assert len(np.unique(model.sample(params, buffers, keys, {}))) > 2
  drawn = dataclasses.replace(model, noise=True).sample(params, buffers, keys, {})
  assert set(np.unique(drawn)) <= {0.0, 1.0} and drawn.shape == (5, 3, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(28, 28), (9, 13)])
def test_convolutions_there_and_back_keep_any_size(size):
  spec = dataclasses.replace(GREY, shape=(*size, 3))
  model = build(
    spec,
    encoder=cnn.CNN(widths=(4, 8), groups=4),
    decoder=cnn.Deconv(widths=(8, 4), groups=4, spec=spec),
    head=heads.Logistic(spec=spec, components=2),
  )
  batch = {"x": jnp.zeros((2, *size, 3))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  assert model.reconstruct(params, buffers, batch["x"]).shape == (2, *size, 3)
  chex.assert_tree_all_finite(
    model.objectives[0].loss(params, buffers, batch, jax.random.key(1), 0)[0]
  )


MISSING = {
  **{side: (tasks.Half(side=side), "known:values") for side in tasks.SIDES},
  "surroundings": (tasks.Box(size=0.5), "known"),  # of 2 x 2: one pixel is missing, any of them
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_known_is_kept_and_the_rest_is_a_distribution(name):
  """The probabilities of all completions sum to 1, up to what the bound lacks."""
  task, told = MISSING[name]
  spec = dataclasses.replace(BITS, shape=(2, 2, 1))
  spec = spec.beside(**task.fields(spec))
  decoder = mlp.MLP(widths=(), conditions=(told,), spec=spec)
  model = build(spec, latent=latents.GaussianLatent(width=1), head=heads.Bernoulli(spec=spec),
                decoder=decoder, importance=500)  # fmt: skip
  assert model.conditions == ("known",) and model.completes
  every = (np.arange(16)[:, None] >> np.arange(4)) & 1
  x = jnp.float32(every).reshape(16, 2, 2, 1)
  u = np.tile([0.7, 0.2], (16, 1))
  cond = task({"x": np.asarray(x)}, spec, u)
  batch = {"x": x, **cond}
  free = np.asarray(model.free(cond))[0].reshape(4).astype(bool)
  expected = {"left": 2, "right": 2, "top": 2, "bottom": 2, "surroundings": 1}[name]
  assert free.sum() == expected

  params, buffers = model.init(jax.random.key(0), batch, {})
  params["encoder"] = jax.tree.map(jnp.zeros_like, params["encoder"])  # q is p(z)
  likelihood = model.likelihoods[f"importance-500-given-{name}"]
  np.testing.assert_allclose(likelihood.free(batch), expected / 4)
  value = likelihood.log_prob(params, buffers, batch, jax.random.key(1))
  for rest in np.unique(every[:, ~free], axis=0):
    same = np.all(every[:, ~free] == rest, axis=1)
    assert float(jnp.exp(value[same]).sum()) == pytest.approx(1, abs=0.03)

  drawn = model.sample(params, buffers, jax.random.split(jax.random.key(2), 16), cond)
  drawn = np.asarray(drawn).reshape(16, 4)
  np.testing.assert_array_equal(drawn[:, ~free], every[:, ~free])
  again = np.asarray(model.reconstruct(params, buffers, x, cond)).reshape(16, 4)
  np.testing.assert_array_equal(again[:, ~free], every[:, ~free])
  mask = jnp.asarray(free.reshape(2, 2, 1), jnp.float32)
  other = task({"x": np.asarray(x * mask + (1 - x) * (1 - mask))}, spec, u)
  z = jnp.zeros((16, 1))
  assert not np.allclose(
    model.decode(params, buffers, z, cond) * mask, model.decode(params, buffers, z, other) * mask
  )


@pytest.mark.slow
def test_codes_on_a_grid_need_no_dense_layer():
  spec = dataclasses.replace(GREY, shape=(7, 5, 1))
  ways = dict(widths=(4, 8), blocks=1, spec=spec)
  model = build(
    spec,
    encoder=autoencoders.Down(**ways),
    decoder=autoencoders.Up(**ways),
    latent=latents.Grid(width=3, places=(2, 2)),
  )
  x = jax.random.uniform(jax.random.key(0), (2, 7, 5, 1))
  params, buffers = model.init(jax.random.key(0), {"x": x}, {})
  z = model.encode(params, buffers, x)
  assert z.shape == (2, 2, 2, 3) and buffers["encoder"]["codes"]["mean"].shape == (3,)
  assert model.reconstruct(params, buffers, x).shape == x.shape
  for places in ((2, 3), (4, 1)):
    wrong = dataclasses.replace(model, latent=latents.Grid(width=3, places=places))
    with pytest.raises(core.UserError, match=r"one per place|expected"):
      wrong.init(jax.random.key(0), {"x": x}, {})


PARTLY = POINTS.beside(known=core.Field(shape=(1,)))


def test_what_does_not_fit_together_is_refused():
  choice = latents.Categorical()
  for kwargs, message in [
    (dict(aim=aims.Factor(), latent=choice), "'gaussian' or 'laplace'"),
    (dict(aim=aims.MMD(), pseudo_inputs=3), "pseudo_inputs=0"),
    (dict(aim=aims.Importance(), latent=choice), "no density"),
    (dict(aim=aims.Importance(doubly=True), pseudo_inputs=3), "must not depend"),
    (
      dict(decoder=mlp.MLP(conditions=("known",), spec=PARTLY), spec=PARTLY),
      "must be a part of x",
    ),
  ]:
    with pytest.raises(core.UserError, match=message):
      build(**kwargs)
  with pytest.raises(core.UserError, match="data with labels"):
    build(encoder=mlp.MLP(conditions=("label",), spec=POINTS))
  with pytest.raises(core.UserError, match="binary"):
    heads.Bernoulli(spec=GREY)
  with pytest.raises(core.UserError, match="gaussian"):
    heads.Logistic(spec=POINTS)
