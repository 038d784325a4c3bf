"""Models of codes: their training data, what they return, and that the first stage is frozen."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax import config, core, registry
from genjax.distributions import heads, latents
from genjax.families import moments
from genjax.families.autoencoder import autoencoder
from genjax.families.autoregressive import autoregressive
from genjax.families.classical import mixture
from genjax.families.gan import wgan_gp
from genjax.families.latent import latent
from genjax.families.quantized import quantizers, vqvae
from genjax.families.vae import aims, vae
from genjax.modes import train
from genjax.networks import autoencoders, mlp, transformer
from genjax.runs import build
from genjax.runs import open as runs

POINTS = core.DataSpec(shape=(5,), classes=3)
CODES = core.DataSpec(shape=(2,))


def stage():
  codec = autoencoders.Dense(widths=(2,), spec=POINTS)
  return autoencoder.Autoencoder(spec=POINTS, codec=codec)


def wrap(prior=None):
  prior = prior or mixture.GaussianMixture(spec=CODES, components=2)
  return latent.Latent(spec=POINTS, stage=stage(), prior=prior)


def test_moments_are_of_all_codes_seen_so_far():
  rng, seen = np.random.default_rng(0), moments.nothing((3,))
  z = rng.standard_normal((20, 50, 3)) * [1, 2, 0.5] + [3, 0, -1]
  for part in z:
    seen = moments.after(seen, jnp.float32(part))
  np.testing.assert_allclose(seen["mean"], z.mean((0, 1)), rtol=1e-4)
  np.testing.assert_allclose(seen["square"], (z**2).mean((0, 1)), rtol=1e-4)
  std = moments.of(latent.groups(stage()), {"autoencoder": {"codes": seen}})[1]
  np.testing.assert_allclose(std, z.std((0, 1)), rtol=1e-3)
  constant = {"autoencoder": {"codes": moments.after(moments.nothing((3,)), jnp.ones((9, 3)))}}
  np.testing.assert_array_equal(moments.of(latent.groups(stage()), constant)[1], 1)


def test_training_measures_the_codes():
  model, key = stage(), jax.random.key(0)
  batch = {"x": 2 + jax.random.normal(key, (400, 5))}
  params, buffers = model.init(key, batch, {})
  z = model.encode(params, buffers, batch["x"])
  for step in range(3):
    _, (buffers, _) = model.whole_loss(params, buffers, batch, key, step)
  mean, std = moments.of(latent.groups(model), buffers)
  np.testing.assert_allclose(mean, z.mean(0), rtol=1e-4)
  np.testing.assert_allclose(std, z.std(0), rtol=1e-3)
  whole = wrap()
  standard = whole.encode(params, buffers, batch["x"])
  np.testing.assert_allclose(standard.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(standard.std(0), 1, atol=1e-3)
  again = whole.decode(params, buffers, standard)
  np.testing.assert_allclose(again, model.decode(params, buffers, z), atol=1e-4)


@pytest.mark.slow
def test_a_mixture_of_codes_draws_what_the_decoder_makes_of_them():
  model, key = wrap(), jax.random.key(0)
  center = jnp.where(jnp.arange(600) < 300, -2.0, 2.0)[:, None] * jnp.ones(5)
  batch = {"x": center + 0.3 * jax.random.normal(key, (600, 5))}
  params, buffers = model.init(key, batch, {})
  for step in range(20):
    params, buffers, _ = model.refresh(params, buffers, batch, key, step)
  x = model.sample(params, buffers, jax.random.split(key, 4000), {})
  seen = model.reconstruct(params, buffers, batch["x"])
  np.testing.assert_allclose(x.mean(0), seen.mean(0), atol=0.15)
  np.testing.assert_allclose(np.cov(x.T), np.cov(seen.T), atol=0.25)
  assert np.abs(np.cov(x.T)).max() > 1


def test_the_prior_is_told_what_codes_are():
  spec = {
    "name": "latent",
    "stage": {"name": "autoencoder", "codec": {"name": "dense", "widths": (2,)}},
    "prior": {"name": "gaussian_mixture"},
  }
  model = registry.build("model", spec, {"spec": POINTS, "total_steps": 1, "dtype": "float32"})
  assert model.stage.spec == POINTS
  assert model.prior.spec == core.DataSpec(shape=(2,), classes=3)
  assert model.pretrained == ("autoencoder",)


@pytest.mark.slow
def test_stages_and_priors_of_several_groups_fit_together():
  """Of a prior that is guided, another run brings a part too."""
  linear = mlp.MLP(widths=())
  aim = aims.Importance(samples=2, doubly=True)
  parts = dict(encoder=linear, decoder=linear, head=heads.GaussianHead(std=0.5), aim=aim)
  stage = vae.VAE(spec=POINTS, latent=latents.GaussianLatent(width=2), **parts)
  prior = types.SimpleNamespace(
    objectives=(), pretrained=("classifier",), conditions=(), sample=lambda *args: None
  )
  model = latent.Latent(spec=POINTS, stage=stage, prior=prior)
  assert set(model.pretrained) == {"encoder", "decoder", "classifier"}
  x = jax.random.normal(jax.random.key(0), (8, *POINTS.shape))
  params, buffers = stage.init(jax.random.key(1), {"x": x}, {})
  for objective in stage.objectives:
    _, (buffers, _) = objective.loss(params, buffers, {"x": x}, jax.random.key(2), 0)
  code = stage.encode(params, buffers, x)
  z = model.encode(params, buffers, x)  # the only codes that have been measured: mean 0, std 1
  np.testing.assert_allclose(z, (code - code.mean(0)) / code.std(0), atol=1e-3)


@pytest.mark.slow
def test_a_conditional_first_stage_is_told_its_labels():
  net = mlp.MLP(widths=(8,), conditions=("label",), spec=POINTS)
  parts = dict(encoder=net, decoder=net, head=heads.GaussianHead(std=0.5))
  stage = vae.VAE(spec=POINTS, latent=latents.GaussianLatent(width=2), **parts)
  prior = mixture.GaussianMixture(spec=latent.code_spec(stage, POINTS), components=2)
  model, key = latent.Latent(spec=POINTS, stage=stage, prior=prior), jax.random.key(0)
  assert model.conditions == ("label",)
  batch = {"x": jax.random.normal(key, (6, *POINTS.shape)), "label": jnp.arange(6) % 3}
  params, buffers = model.init(key, batch, {})
  cond, other = ({"label": (batch["label"] + k) % 3} for k in (0, 1))
  draw = lambda cond: model.sample(params, buffers, jax.random.split(key, 6), cond)
  assert np.abs(draw(cond) - draw(other)).min() > 0
  code = model.encode(params, buffers, batch["x"], cond)
  np.testing.assert_array_equal(code, stage.encode(params, buffers, batch["x"], cond))


def of_integers():
  """Returns an untrained prior of the codes [2, 2, 1] of a VQ-VAE of images."""
  spec = core.DataSpec(shape=(4, 4, 1), range=(0.0, 1.0), levels=256, classes=2, kind="image")
  codec = autoencoders.Spatial(widths=(4,), blocks=1, code=2, spec=spec)
  stage = vqvae.VQVAE(spec=spec, codec=codec, quantizer=quantizers.VQ(codes=5, width=2))
  codes = latent.code_spec(stage, spec)
  net = transformer.Transformer(width=16, layers=1, heads=2, conditions=("label",), spec=codes)
  prior = autoregressive.Autoregressive(spec=codes, network=net)
  return latent.Latent(spec=spec, stage=stage, prior=prior)


@pytest.mark.slow
def test_integer_codes_are_the_priors_data_as_they_are():
  model, key = of_integers(), jax.random.key(0)
  assert model.prior.spec == core.DataSpec(
    shape=(2, 2, 1), dtype="int32", levels=5, classes=2, kind="tokens"
  )
  batch = {"x": jax.random.uniform(key, (6, 4, 4, 1)), "label": jnp.arange(6) % 2}
  params, buffers = jax.jit(model.init)(key, batch, {})
  code = model.encode(params, buffers, batch["x"])
  assert code.dtype == jnp.int32
  np.testing.assert_array_equal(code, model.stage.encode(params, buffers, batch["x"]))
  again = model.decode(params, buffers, code)
  np.testing.assert_array_equal(again, model.reconstruct(params, buffers, batch["x"]))
  loss = model.objectives[0].loss(params, buffers, batch, key, 0)[0]
  log_p = model.prior.log_prob(params, buffers, {**batch, "x": code}, key)
  np.testing.assert_allclose(loss, -log_p.mean(), rtol=1e-5)


@pytest.mark.slow
def test_a_prior_of_integers_draws_the_pictures_it_has_seen():
  """One picture for each label; samples are what the first stage makes of it."""
  model, key = of_integers(), jax.random.key(0)
  batch = {"x": jax.random.uniform(key, (2, 4, 4, 1)), "label": jnp.arange(2)}
  params, buffers = jax.jit(model.init)(key, batch, {})
  first, tx = params["vqvae"], optax.adam(0.02)

  @jax.jit
  def step(carry, key):
    own, state = carry
    loss = lambda own: model.objectives[0].loss({**params, "network": own}, buffers, batch, key, 0)
    updates, state = tx.update(jax.grad(lambda own: loss(own)[0])(own), state)
    return (optax.apply_updates(own, updates), state), None

  own = params["network"]
  (own, _), _ = jax.lax.scan(step, (own, tx.init(own)), jax.random.split(key, 150))
  label = jnp.arange(40) % 2
  draw = jax.jit(model.sample)
  x = draw({"vqvae": first, "network": own}, buffers, jax.random.split(key, 40), {"label": label})
  seen = model.reconstruct(params, buffers, batch["x"])
  assert np.abs(seen[0] - seen[1]).max() > 1e-3
  distance = np.abs(np.asarray(x) - np.clip(seen, 0, 1)[label]).max((1, 2, 3))
  assert np.mean(distance < 1e-5) > 0.9


def test_the_configuration_of_a_prior_of_integers_fits_together():
  smoke, _ = config.from_file("configs/vqvae_prior_fashion_mnist.py:smoke")
  model = build.assemble(smoke).model
  assert (model.pretrained, model.prior.spec.shape) == (("vqvae",), (2, 2, 1))
  assert model.prior.spec.levels == model.stage.quantizer.codes == model.codes["code"].levels
  real, _ = config.from_file(
    "configs/vqvae_prior_fashion_mnist.py:smoke", ["model.prior.name=gaussian_mixture"]
  )
  with pytest.raises(core.UserError, match="model: prior: this stage's codes are integers"):
    build.assemble(real)


def test_what_does_not_fit_together_is_refused():
  with pytest.raises(core.UserError, match="no codes"):
    latent.Latent(spec=POINTS, stage=mixture.GaussianMixture(spec=POINTS), prior=None)
  discrete = types.SimpleNamespace(
    encode=None, decode=None, codes={"code": core.Field(shape=(), levels=8)}
  )
  with pytest.raises(core.UserError, match="codes are integers; use 'autoregressive'"):
    latent.Latent(spec=POINTS, stage=discrete, prior=mixture.GaussianMixture(spec=CODES))
  with pytest.raises(core.UserError, match="codes are real numbers"):
    wrap(types.SimpleNamespace(discrete=True))
  with pytest.raises(core.UserError, match="the codes of its own stage"):
    latent.check(wrap())
  with pytest.raises(core.UserError, match="both have a group 'autoencoder'"):
    wrap(stage())
  with pytest.raises(core.UserError, match="no samples"):
    wrap(autoencoder.Autoencoder(spec=POINTS, codec=autoencoders.Dense(spec=POINTS), greedy=5))
  pair = dict(generator=mlp.MLP(out=5), critic=mlp.MLP(out=1))
  assert latent.groups(wgan_gp.WGANGP(spec=POINTS, **pair)) == ("critic", "generator")


@pytest.mark.slow
def test_from_an_autoencoder_to_samples(tmp_path):
  """Both runs, as a user makes them; the first stage comes out as it went in."""
  first, _ = config.from_file(
    "configs/autoencoder_fashion_mnist.py:convolutional+smoke", ["data.n=64"]
  )
  train.train(first, tmp_path / "first", {}, "")
  where = f"load.autoencoder={tmp_path}/first:autoencoder"
  second, _ = config.from_file("configs/latent_fashion_mnist.py:smoke", ["data.n=64", where])
  train.train(second, tmp_path / "second", {}, "")
  for name in ("seed0_num16", "reconstructions"):
    assert (tmp_path / "second" / "generated" / name / "grid.png").is_file()
  pair = [runs.Run.open(tmp_path / n, c) for n, c in (("first", first), ("second", second))]
  one, two = (jax.tree.leaves(r.params["autoencoder"]) for r in pair)
  for a, b in zip(one, two):
    np.testing.assert_array_equal(a, b)
  other, _ = config.from_file("configs/latent_fashion_mnist.py:smoke", [where])
  other["model"]["stage"]["codec"]["widths"] = (8, 8)
  with pytest.raises(core.UserError, match=r"load\.autoencoder: .* expected float32"):
    train.train(other, tmp_path / "third", {}, "")
  missing = {**second, "load": {}}
  with pytest.raises(core.UserError, match=r"load\.autoencoder is missing"):
    train.train(missing, tmp_path / "third", {}, "")
