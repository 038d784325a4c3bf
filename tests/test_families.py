"""Each family against closed forms, enumeration or an independent implementation."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import mixture as sklearn_mixture

from genjax import core
from genjax.data import bars, toys
from genjax.families import diffusion, gan, mixture, rbm
from genjax.networks import mlp
from genjax.processes import chains, gaussian
from genjax.samplers import guidance, solvers

PLANE = core.DataSpec(shape=(2,))


# Diffusion


def small_diffusion(**kwargs):
  return diffusion.Diffusion(
    spec=PLANE, network=mlp.MLP(widths=(16,)), process=chains.DDPM(steps=10),
    sampler=solvers.DDIM(steps=5), **kwargs,
  )  # fmt: skip


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_diffusion_loss_is_its_formula(prediction):
  """Recomputed in NumPy from the same draws, one example at a time."""
  model = small_diffusion(prediction=prediction, stratified=True)
  batch = {"x": jax.random.normal(jax.random.key(1), (16, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  key = jax.random.key(2)
  loss, (_, metrics) = model.loss(params, buffers, batch, key, 0)
  t_key, eps_key, *_ = jax.random.split(key, 5)
  u = (np.arange(16) + np.asarray(jax.random.uniform(t_key, (16,)))) / 16
  k = np.floor(u * 10).astype(int) + 1
  bar = np.concatenate([[1], np.cumprod(1 - np.linspace(1e-4, 0.02, 10))])[k]
  x0, eps = np.asarray(batch["x"]), np.asarray(jax.random.normal(eps_key, (16, 2)))
  alpha, sigma = np.sqrt(bar)[:, None], np.sqrt(1 - bar)[:, None]
  target = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0}[prediction]
  out = model.network.apply(
    {"params": params["denoiser"]}, alpha * x0 + sigma * eps, jnp.asarray(k - 1, jnp.float32)
  )
  np.testing.assert_allclose(loss, np.mean((out - target) ** 2), rtol=2e-4)
  for i in range(diffusion.BINS):
    inside = np.floor(u * diffusion.BINS) == i
    assert inside.sum() == 2  # of 16 stratified times in 8 bins
    expected = np.mean(((out - target) ** 2)[inside])
    np.testing.assert_allclose(
      metrics[f"loss@{(i + 0.5) / diffusion.BINS:g}"], expected, rtol=1e-3, atol=1e-6
    )


def test_diffusion_clips_samples_to_the_datas_range():
  spec = core.DataSpec(shape=(2,), range=(-0.5, 0.5))
  draws = {}
  for clip in (True, False):
    model = diffusion.Diffusion(
      spec=spec, network=mlp.MLP(widths=(16,)), process=chains.DDPM(steps=10),
      sampler=solvers.DDIM(steps=5), clip=clip,
    )  # fmt: skip
    params, buffers = model.init(jax.random.key(0), {"x": jnp.zeros((1, 2))}, {})
    draws[clip] = model.sample(params, buffers, jax.random.split(jax.random.key(0), 64), {})
  assert jnp.max(jnp.abs(draws[True])) <= 0.5 < jnp.max(jnp.abs(draws[False]))


LABELLED = core.DataSpec(shape=(2,), classes=3)


def conditional(scale, **kwargs):
  """A small conditional model, with parameters away from their zero start."""
  model = diffusion.Diffusion(
    spec=LABELLED, network=mlp.MLP(widths=(16,), conditional=True, spec=LABELLED),
    process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=5), label_dropout=0.5,
    guidance=guidance.ClassifierFree(scale=scale), **kwargs,
  )  # fmt: skip
  batch = {"x": jnp.zeros((4, 2)), "label": jnp.zeros(4, jnp.int32)}
  return model, *model.init(jax.random.key(0), batch, {})


def test_guidance_of_scale_one_is_the_conditional_model_and_zero_the_unconditional():
  keys, label = jax.random.split(jax.random.key(1), 6), jnp.arange(6) % 3
  draw = {}
  for scale in (0.0, 1.0, 3.0):
    model, params, buffers = conditional(scale)
    draw[scale] = model.sample(params, buffers, keys, {"label": label})
  plain = dataclasses.replace(model, guidance=guidance.Unguided())
  chex.assert_trees_all_close(
    draw[1.0], plain.sample(params, buffers, keys, {"label": label}), atol=1e-5
  )
  null = plain.sample(params, buffers, keys, {"label": jnp.full(6, 3)})
  chex.assert_trees_all_close(draw[0.0], null, atol=1e-5)
  assert not np.allclose(draw[3.0], draw[1.0], atol=1e-3)


def test_guided_pair_is_the_extrapolation_of_the_two():
  model, params, buffers = conditional(3.0)
  plain = dataclasses.replace(model, guidance=guidance.Unguided())
  x, t = jax.random.normal(jax.random.key(2), (4, 2)), jnp.float32(0.5)
  at = lambda model, label: model.field(params, buffers, {"label": jnp.full(4, label)}).at(x, t, ())
  guided, cond, null = at(model, 1), at(plain, 1), at(plain, 3)
  for i in range(2):
    chex.assert_trees_all_close(guided[i], null[i] + 3 * (cond[i] - null[i]), atol=1e-5)


def test_labels_are_hidden_at_their_rate():
  model, _, _ = conditional(1.0)
  label = model._drop(jax.random.key(0), {"label": jnp.zeros(4000, jnp.int32)})["label"]
  assert set(np.unique(label)) == {0, 3}
  assert float(jnp.mean(label == 3)) == pytest.approx(0.5, abs=0.03)


def test_clipped_pair_still_explains_xt():
  process = chains.DDPM()
  field = solvers.Field(lambda x: (), lambda x, t, m: (3 * x, x, m))
  x, t = jnp.array([[0.2], [0.9]]), jnp.float32(0.4)
  x0, eps, _ = guidance.clipped(field, process, -1, 1).at(x, t, ())
  chex.assert_trees_all_close(x0, jnp.array([[0.6], [1.0]]), atol=1e-6)
  chex.assert_trees_all_close(gaussian.corrupt(process, x0, eps, t), x, atol=1e-6)


def test_diffusion_refuses_what_cannot_be():
  for kwargs, message in [
    (dict(prediction="mean"), "unknown prediction"),
    (dict(process=chains.DDPM(zero_snr=True), prediction="eps"), "zero terminal"),
    (dict(guidance=guidance.ClassifierFree()), "label_dropout > 0"),
    (dict(network=mlp.MLP(out=5)), "must be 0"),
    (dict(process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=11)), "sampler.steps=11"),
  ]:
    with pytest.raises(core.UserError, match=message):
      diffusion.Diffusion(**{"spec": PLANE, "network": mlp.MLP(), **kwargs})


# WGAN-GP


def wgan(**kwargs):
  return gan.WGANGP(
    spec=PLANE, generator=mlp.MLP(widths=(8,), out=2, batch_norm=True),
    critic=mlp.MLP(widths=(), out=1), **kwargs,
  )  # fmt: skip


def test_gradient_penalty_of_a_linear_critic_is_known():
  model = wgan(penalty=7.0)
  batch = {"x": jax.random.normal(jax.random.key(3), (32, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  w, b = np.array([[3.0], [-4.0]]), np.array([0.5])
  params["critic"] = {"Dense_0": {"kernel": jnp.asarray(w), "bias": jnp.asarray(b)}}
  key = jax.random.key(1)
  loss, (_, metrics) = model.critic_loss(params, buffers, batch, key, 0)
  assert float(metrics["penalty"]) == pytest.approx((5 - 1) ** 2, rel=1e-5)
  z = model._latents(jax.random.split(key)[0], 32)
  fake = np.asarray(model.generate(params, buffers, z, train=True)[0])
  distance = (np.asarray(batch["x"]) @ w).mean() - (fake @ w).mean()
  assert float(metrics["distance"]) == pytest.approx(distance, rel=1e-4)
  assert float(loss) == pytest.approx(7 * 16 - distance, rel=1e-5)


def test_generator_statistics_move_only_in_the_generators_step():
  model = wgan()
  batch = {"x": jnp.ones((8, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  _, (after_critic, _) = model.critic_loss(params, buffers, batch, jax.random.key(1), 0)
  chex.assert_trees_all_equal(after_critic, buffers)
  _, (after_generator, _) = model.generator_loss(params, buffers, batch, jax.random.key(1), 0)
  with pytest.raises(AssertionError):
    chex.assert_trees_all_equal(after_generator, buffers)


def test_wgan_refuses_what_cannot_be():
  for kwargs, message in [
    (dict(critic=mlp.MLP(out=1, batch_norm=True), generator=mlp.MLP(out=2)), "per example"),
    (dict(critic=mlp.MLP(out=1), generator=mlp.MLP(out=3)), "generator.out=3"),
    (dict(critic=mlp.MLP(out=2), generator=mlp.MLP(out=2)), "critic.out=2"),
  ]:
    with pytest.raises(core.UserError, match=message):
      gan.WGANGP(spec=PLANE, **kwargs)


# Gaussian mixture


def moons(n=500):
  return {"x": jnp.asarray(toys.Toy(n=n).load().splits["train"]["x"][:n])}


def em(model, batch, steps):
  params, buffers = model.init(jax.random.key(0), batch, {})
  nats = []
  for step in range(steps):
    params, buffers, logs = jax.jit(model.refresh)(params, buffers, batch, jax.random.key(1), step)
    nats.append(float(logs["mixture/nats"]))
  return params, buffers, nats


def test_em_is_scikit_learns():
  batch = moons()
  model = mixture.GaussianMixture(spec=PLANE, components=3, floor=1e-6)
  start, _ = model.init(jax.random.key(0), batch, {})
  params, _, _ = em(model, batch, 5)
  chol = np.asarray(start["mixture"]["chol"], np.float64)
  oracle = sklearn_mixture.GaussianMixture(
    3, reg_covar=1e-6, max_iter=5, tol=0, weights_init=np.full(3, 1 / 3),
    means_init=np.asarray(start["mixture"]["mu"], np.float64),
    precisions_init=np.linalg.inv(chol @ chol.swapaxes(1, 2)),
  )  # fmt: skip
  with pytest.warns(match="did not converge"):
    oracle.fit(np.asarray(batch["x"], np.float64))
  own = params["mixture"]
  np.testing.assert_allclose(jnp.exp(own["log_pi"]), oracle.weights_, atol=1e-4)
  np.testing.assert_allclose(own["mu"], oracle.means_, atol=1e-3)
  np.testing.assert_allclose(own["chol"] @ own["chol"].mT, oracle.covariances_, atol=1e-3)
  log_p = model.log_prob(params, {}, batch, None)
  np.testing.assert_allclose(log_p, oracle.score_samples(np.asarray(batch["x"])), atol=1e-2)


def test_em_never_lowers_the_likelihood():
  _, _, nats = em(mixture.GaussianMixture(spec=PLANE, components=8, floor=1e-6), moons(), 60)
  assert np.all(np.diff(nats) < 1e-5) and nats[0] - nats[-1] > 0.5


def test_stepwise_em_with_power_zero_is_em_and_a_loaded_mixture_goes_on():
  batch = moons()
  model = mixture.GaussianMixture(spec=PLANE, components=3)
  params, buffers, _ = em(model, batch, 3)
  _, loaded = model.init(jax.random.key(5), batch, {"mixture": (params["mixture"], {})})
  # Equation (5) backwards, the floor aside.
  chex.assert_trees_all_close(loaded["statistics"], buffers["statistics"], atol=1e-3)


def test_mixture_samples_have_its_moments():
  model = mixture.GaussianMixture(spec=PLANE, components=2)
  chol = np.array([[[1.0, 0], [0.5, 0.3]], [[0.2, 0], [0, 0.7]]])
  pi, mu = np.array([0.3, 0.7]), np.array([[1.0, 2], [-3, 0]])
  params = {"mixture": {"log_pi": jnp.log(pi), "mu": jnp.asarray(mu), "chol": jnp.asarray(chol)}}
  x = np.asarray(model.sample(params, {}, jax.random.split(jax.random.key(0), 20_000), {}))
  mean = pi @ mu
  cov = np.einsum("k,kij->ij", pi, chol @ chol.swapaxes(1, 2)) + (pi[:, None] * mu).T @ mu
  np.testing.assert_allclose(x.mean(0), mean, atol=0.06)
  np.testing.assert_allclose(np.cov(x.T), cov - np.outer(mean, mean), atol=0.12)


# RBM

BARS = bars.Bars(size=2, kind="bars").load().spec


def small_rbm(hidden=4):
  model = rbm.RBM(spec=BARS, hidden=hidden, chains=4000, sweeps=60)
  draw = np.random.default_rng(0).normal
  weights = rbm.Weights(*(jnp.asarray(draw(size=s), jnp.float32) for s in [(4, hidden), 4, hidden]))
  return model, {"rbm": weights}


def states(n):
  return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


def joint(params):
  """p(v, h) over all 2^4 x 2^hidden states, from the energy -b.v - c.h - v W h, in float64."""
  w, b, c = (np.asarray(a, np.float64) for a in params["rbm"])
  v, h = states(4), states(len(c))
  p = np.exp((v @ b)[:, None] + h @ c + v @ w @ h.T)
  return p / p.sum()


@pytest.mark.parametrize("hidden", [3, 14])
def test_rbm_likelihood_is_the_enumerated_marginal(hidden):
  model, params = small_rbm(hidden)
  v = {"x": states(4).reshape(-1, *BARS.shape).astype(np.float32)}
  log_p = model.log_prob(params, {}, v, None)
  np.testing.assert_allclose(np.exp(log_p), joint(params).sum(1), rtol=1e-4)


def test_rbm_pseudo_likelihood_is_the_sum_of_conditionals():
  model, params = small_rbm()
  p, v = joint(params).sum(1), states(4)
  index = lambda v: (v @ 2 ** np.arange(4)).astype(int)
  expected = 0
  for i in range(4):
    flipped = v.copy()
    flipped[:, i] = 1 - flipped[:, i]
    expected = expected + np.log(p / (p + p[index(flipped)]))
  batch = {"x": v.reshape(-1, *BARS.shape).astype(np.float32)}
  np.testing.assert_allclose(model.pseudo_log_prob(params, {}, batch, None), expected, atol=1e-4)


def test_rbm_samples_follow_the_enumerated_distribution():
  model, params = small_rbm()
  x = model.sample(params, {}, jax.random.split(jax.random.key(0), 8000), {})
  counts = np.bincount((np.asarray(x).reshape(-1, 4) @ 2 ** np.arange(4)).astype(int), minlength=16)
  assert np.abs(counts / 8000 - joint(params).sum(1)).sum() < 0.05  # total variation, twice


def test_rbm_gradient_is_that_of_the_likelihood_once_the_chains_have_mixed():
  """mean F(data) - mean F(chain) against autodiff through the enumerated log Z."""
  model, params = small_rbm()
  batch = {"x": states(4).reshape(-1, *BARS.shape).astype(np.float32)}
  model = rbm.RBM(spec=BARS, hidden=4, chains=20_000, gibbs=30)
  _, buffers = model.init(jax.random.key(0), batch, {})
  loss = lambda p: model.loss(p, buffers, batch, jax.random.key(1), 0)[0]
  exact = lambda p: -jnp.mean(model.log_prob(p, {}, batch, None))
  chex.assert_trees_all_close(jax.grad(loss)(params), jax.grad(exact)(params), atol=0.02)


def test_rbm_refuses_grey_levels():
  with pytest.raises(core.UserError, match="binary"):
    rbm.RBM(spec=core.DataSpec(shape=(4,), range=(-1.0, 1.0), levels=256))
