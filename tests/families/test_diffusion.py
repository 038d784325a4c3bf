"""Diffusion with any process, prediction and guidance, on data with known exact results."""

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from genjax import core
from genjax.distributions import sources
from genjax.families.diffusion import diffusion, noise_levels, told
from genjax.networks import mlp
from genjax.processes import chains, continuous, couplings, gaussian, times, weightings
from genjax.samplers import guidance, likelihood, singlestep, solvers

PLANE = core.DataSpec(shape=(2,))


# Diffusion


def small_diffusion(**kwargs):
  given = dict(process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=5)) | kwargs
  return diffusion.Diffusion(spec=PLANE, network=mlp.MLP(widths=(16,)), **given)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_diffusion_loss_is_its_formula(prediction):
  """Recomputed in NumPy from the same draws, one example at a time."""
  model = small_diffusion(prediction=prediction, stratified=True)
  batch = {"x": jax.random.normal(jax.random.key(1), (16, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  key = jax.random.key(2)
  loss, (_, metrics) = model.loss(params, buffers, batch, key, 0)
  t_key, eps_key, *_ = jax.random.split(key, 6)
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
  for i in range(noise_levels.BINS):
    inside = np.floor(u * noise_levels.BINS) == i
    assert inside.sum() == 2  # of 16 stratified times in 8 bins
    expected = np.mean(((out - target) ** 2)[inside])
    np.testing.assert_allclose(
      metrics[f"loss@{(i + 0.5) / noise_levels.BINS:g}"], expected, rtol=1e-3, atol=1e-6
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
  """Returns a small conditional model, with parameters that are not 0 as those of a new one are."""
  model = diffusion.Diffusion(
    spec=LABELLED, network=mlp.MLP(widths=(16,), conditions=("label",), spec=LABELLED),
    process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=5), hide=0.5,
    guidance=guidance.ClassifierFree(scale=scale), **kwargs,
  )  # fmt: skip
  batch = {"x": jnp.zeros((4, 2)), "label": jnp.zeros(4, jnp.int32)}
  return model, *model.init(jax.random.key(0), batch, {})


@pytest.mark.slow
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


@pytest.mark.slow
def test_guided_pair_is_the_extrapolation_of_the_two():
  model, params, buffers = conditional(3.0)
  plain = dataclasses.replace(model, guidance=guidance.Unguided())
  x, t = jax.random.normal(jax.random.key(2), (4, 2)), jnp.float32(0.5)
  at = lambda model, label: model.field(params, buffers, {"label": jnp.full(4, label)}).at(x, t, {})
  guided, cond, null = at(model, 1), at(plain, 1), at(plain, 3)
  for i in range(2):
    chex.assert_trees_all_close(guided[i], null[i] + 3 * (cond[i] - null[i]), atol=1e-5)


def test_labels_are_hidden_at_their_rate():
  model, _, _ = conditional(1.0)
  cond = {"label": jnp.zeros(4000, jnp.int32)}
  label = told.partly_hidden(model, jax.random.key(0), cond, 4000)["label"]
  assert set(np.unique(label)) == {0, 3}
  assert float(jnp.mean(label == 3)) == pytest.approx(0.5, abs=0.03)


def test_clipped_pair_still_explains_xt():
  process = chains.DDPM()
  field = solvers.VectorField(lambda x: (), lambda x, t, m: (3 * x, x, m))
  x, t = jnp.array([[0.2], [0.9]]), jnp.float32(0.4)
  x0, eps, _ = guidance.clipped(field, process, -1, 1).at(x, t, {})
  chex.assert_trees_all_close(x0, jnp.array([[0.6], [1.0]]), atol=1e-6)
  chex.assert_trees_all_close(gaussian.corrupt(process, x0, eps, t), x, atol=1e-6)


LABELS = dict(
  spec=LABELLED, network=mlp.MLP(conditions=("label",), spec=LABELLED), hide=0.1
)  # fmt: skip


NOISY = dict(sampler=solvers.Ancestral())


def test_diffusion_refuses_what_cannot_be():
  for kwargs, message in [
    (dict(prediction="mean"), "unknown prediction"),
    (dict(prediction="mu", process=continuous.VP()), "from state to state"),
    (dict(learn_variance=True, process=continuous.VP()), "steps of a chain"),
    (dict(sampler=solvers.Ancestral(variance="learned")), "learn_variance=True"),
    (dict(source=sources.EightGaussians(), **NOISY), "deterministic solver"),
    (dict(reflow=True, **NOISY), "deterministic solver"),
    (dict(process=continuous.CondOT(bridge=1.0), prediction="v"), "prediction='velocity'"),
    (dict(guidance=guidance.Manifold(), **LABELS), "'ddim' alone"),
    (dict(coupling=couplings.OptimalTransport(), **LABELS), "use 'c2ot'"),
    (dict(process=chains.DDPM(zero_snr=True), prediction="eps"), "zero terminal"),
    (dict(guidance=guidance.ClassifierFree()), "hide > 0"),
    (dict(network=mlp.MLP(out=5)), "must be 0"),
    (dict(process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=11)), "sampler.steps=11"),
  ]:
    with pytest.raises(core.UserError, match=message):
      diffusion.Diffusion(**{"spec": PLANE, "network": mlp.MLP(), **kwargs})


PREDICTIONS = {
  "vp": (continuous.VP(), "eps"),
  "ve": (continuous.VE(sigma_min=0.5, sigma_max=10.0), "score"),
  "edm": (continuous.EDM(sigma_data=0.5), "F"),
  "cond_ot": (continuous.CondOT(), "velocity"),
  "ncsn": (chains.NCSN(), "mu"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PREDICTIONS)
def test_any_process_trains_and_draws(name):
  """The loss of a network that says nothing is the second moment of what it should say."""
  process, prediction = PREDICTIONS[name]
  weighting = weightings.SNR() if prediction == "score" else weightings.Simple()  # else 1/sigma^2
  model = small_diffusion(
    prediction=prediction, process=process, weighting=weighting, stratified=True
  )
  x = 0.5 * jax.random.normal(jax.random.key(1), (4000, 2))
  params, buffers = model.init(jax.random.key(0), {"x": x}, {})
  params["denoiser"] = jax.tree.map(jnp.zeros_like, params["denoiser"])
  loss, _ = model.loss(params, buffers, {"x": x}, jax.random.key(2), 0)
  t = process.snap((jnp.arange(4000) + 0.5) / 4000)
  a, b = gaussian.ROWS[prediction](process, t)
  said = weighting(process, prediction, t) * (a**2 / 4 + b**2)
  assert float(loss) == pytest.approx(float(jnp.mean(said)), rel=0.1)
  draws = model.sample(params, buffers, jax.random.split(jax.random.key(0), 8), {})
  assert np.all(np.isfinite(draws))


def test_edm_loss_is_its_papers():
  """Karras et al., 2022, eq. 8: weight lambda(sigma) on |D - y|^2 is weight 1 on F."""
  process = continuous.EDM(sigma_data=0.5)
  model = small_diffusion(process=process, prediction="F", times=times.LogNormal())
  batch = {"x": 0.5 * jax.random.normal(jax.random.key(1), (64, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  key = jax.random.key(2)
  t_key, eps_key, *_ = jax.random.split(key, 6)
  u = jax.random.uniform(t_key, (64,))
  sigma = np.exp(-1.2 + 1.2 * scipy.stats.norm.ppf(np.asarray(u, np.float64)))[:, None]
  noise = sigma * np.asarray(jax.random.normal(eps_key, (64, 2)))
  y, c_in = np.asarray(batch["x"]), 1 / np.sqrt(sigma**2 + 0.25)
  c_noise = jnp.asarray(1000 * np.log(sigma[:, 0]) / 4, jnp.float32)
  f = model.network.apply(
    {"params": params["denoiser"]}, jnp.asarray(c_in * (y + noise), jnp.float32), c_noise
  )
  d = 0.25 / (sigma**2 + 0.25) * (y + noise) + sigma * 0.5 * c_in * np.asarray(f)
  expected = np.mean((sigma**2 + 0.25) / (sigma * 0.5) ** 2 * (d - y) ** 2)
  loss, _ = model.loss(params, buffers, batch, key, 0)
  assert float(loss) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_learned_uncertainty_finds_the_log_of_the_loss_at_each_noise_level():
  """With a network that says nothing, F has variance 1 for such data, and u(t) should be 0."""
  model = small_diffusion(
    prediction="x0", uncertainty=32, process=continuous.VP(), weighting=weightings.SNR()
  )
  x = 2 * jax.random.normal(jax.random.key(1), (512, 2))
  params, buffers = model.init(jax.random.key(0), {"x": x}, {})
  params["denoiser"] = jax.tree.map(jnp.zeros_like, params["denoiser"])

  def step(u, key):
    loss = lambda u: model.loss({**params, "uncertainty": u}, buffers, {"x": x}, key, 0)[0]
    return jax.tree.map(lambda a, g: a - 0.02 * g, u, jax.grad(loss)(u)), None

  keys = jax.random.split(jax.random.key(3), 3000)
  u, _ = jax.lax.scan(step, params["uncertainty"], keys)
  t = jnp.linspace(0.3, 0.9, 7)
  learned = model._log_loss({**params, "uncertainty": u}, buffers, t)
  alpha, sigma = model.process.coefficients(t)
  np.testing.assert_allclose(learned, np.log(4 * (alpha / sigma) ** 2), atol=0.6)


@pytest.mark.slow
def test_importance_sampling_fills_its_memory_and_keeps_the_loss():
  model = small_diffusion(times=times.ImportanceTimes(bins=10, last=2))
  batch = {"x": jax.random.normal(jax.random.key(1), (256, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  assert int(buffers["times"]["seen"].sum()) == 0
  keys = jax.random.split(jax.random.key(2), 30)
  losses = jax.jit(
    jax.vmap(lambda key, buffers: model.loss(params, buffers, batch, key, 0)[0], (0, None))
  )
  mean = lambda buffers: float(jnp.mean(losses(keys, buffers)))
  uniform = mean(buffers)
  _, (buffers, _) = model.loss(params, buffers, batch, jax.random.key(9), 0)
  assert int(buffers["times"]["seen"].sum()) == 256
  assert mean(buffers) == pytest.approx(uniform, rel=0.05)


def learned_variance(sampler):
  return diffusion.Diffusion(
    spec=PLANE, network=mlp.MLP(widths=(16,), out=4), process=chains.DDPM(steps=10),
    sampler=sampler, learn_variance=True,
  )  # fmt: skip


@pytest.mark.slow
def test_learned_variance_lies_between_its_bounds():
  """Ends of the network's fraction: ancestral with the posterior's and the upper variance."""
  keys, draws = jax.random.split(jax.random.key(1), 5), {}
  for fraction, variance in [(-1.0, "posterior"), (1.0, "upper")]:
    model = learned_variance(solvers.Ancestral(steps=10, variance="learned"))
    params, buffers = model.init(jax.random.key(0), {"x": jnp.zeros((1, 2))}, {})
    last = params["denoiser"]["Dense_1"]
    last["kernel"] = last["kernel"].at[:, 2:].set(0)
    last["bias"] = last["bias"].at[2:].set(fraction)
    fixed = dataclasses.replace(model, sampler=solvers.Ancestral(steps=10, variance=variance))
    pair = [m.sample(params, buffers, keys, {}) for m in (model, fixed)]
    chex.assert_trees_all_close(*pair, atol=1e-4)
    draws[variance] = pair[0]
  assert not np.allclose(*draws.values(), atol=1e-2)


def test_hybrid_loss_is_the_kl_of_two_gaussians():
  """A step's nats by the closed form of KL(N(m1, v1) || N(m2, v2)), in float64."""
  process, k = chains.DDPM(steps=10), 4
  x0, guess, eps, f = 0.4, 0.1, -0.7, 0.3
  with jax.enable_x64(True):
    t = jnp.array([k / 10])
    (a_t, s_t), (a_s, s_s) = (process.table[:, i] for i in (k, k - 1))
    xt, r = a_t * x0 + s_t * eps, a_t / a_s
    beta = s_t**2 - (r * s_s) ** 2
    mean = lambda x0: (r * s_s**2 * xt + a_s * beta * x0) / s_t**2
    v1 = beta * s_s**2 / s_t**2
    v2 = np.exp(f * np.log(beta) + (1 - f) * np.log(v1))
    kl = (np.log(v2 / v1) + (v1 + (mean(x0) - mean(guess)) ** 2) / v2 - 1) / 2
    nats = likelihood.step_nats(
      process, jnp.array([[x0]]), t, jnp.array([[guess]]), jnp.array([[f]])
    )
    np.testing.assert_allclose(nats, [kl], rtol=1e-6)


@pytest.mark.slow
def test_learning_the_variance_leaves_the_mean_alone():
  """The bound's gradient reaches the fraction, not x0."""
  model = learned_variance(solvers.Ancestral(steps=10))
  batch = {"x": jax.random.normal(jax.random.key(1), (64, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  plain = dataclasses.replace(model, network=mlp.MLP(widths=(16,)), learn_variance=False)
  half = jax.tree.map(lambda a: a, params)
  half["denoiser"]["Dense_1"] = {k: v[..., :2] for k, v in params["denoiser"]["Dense_1"].items()}
  grad = lambda m, p: jax.grad(lambda p: m.loss(p, buffers, batch, jax.random.key(2), 0)[0])(p)
  full = grad(model, {"denoiser": {**half["denoiser"], "Dense_1": params["denoiser"]["Dense_1"]}})
  ours = full["denoiser"]["Dense_1"]
  chex.assert_trees_all_close(
    ours["kernel"][:, :2], grad(plain, half)["denoiser"]["Dense_1"]["kernel"], atol=1e-6
  )
  assert float(jnp.max(jnp.abs(ours["kernel"][:, 2:]))) > 0


def test_self_conditioning_shows_the_network_its_last_x0():
  """A network that repeats what stands beside xt keeps its first x0, which is 0, for ever."""

  class Echo(nn.Module):
    conditions: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x, t, cond, train=False):
      return cond["beside"] + self.param("shift", nn.initializers.zeros, ())

  model = diffusion.Diffusion(
    spec=PLANE, network=Echo(), process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=5),
    prediction="x0", self_condition=True,
  )  # fmt: skip
  params, buffers = model.init(jax.random.key(0), {"x": jnp.ones((2, 2))}, {})
  keys = jax.random.split(jax.random.key(1), 3)
  np.testing.assert_allclose(model.sample(params, buffers, keys, {}), 0, atol=1e-6)
  params["denoiser"]["shift"] = jnp.float32(0.25)
  np.testing.assert_allclose(model.sample(params, buffers, keys, {}), 5 * 0.25, atol=1e-5)
  # In training half of the batch sees the first guess, x0 = shift, and the others 0.
  batch = {"x": jnp.zeros((2000, 2))}
  loss, _ = model.loss(params, buffers, batch, jax.random.key(3), 0)
  assert float(loss) == pytest.approx((0.25**2 + 0.5**2) / 2, rel=0.05)


@pytest.mark.slow
def test_another_source_is_where_samples_begin_and_noise_is_drawn():
  model = diffusion.Diffusion(
    spec=PLANE, network=mlp.MLP(widths=(16,)), process=continuous.CondOT(), prediction="velocity",
    source=sources.EightGaussians(), sampler=singlestep.Euler(steps=4),
  )  # fmt: skip
  params, buffers = model.init(jax.random.key(0), {"x": jnp.zeros((1, 2))}, {})
  params["denoiser"] = jax.tree.map(jnp.zeros_like, params["denoiser"])  # nothing moves
  x = np.asarray(model.sample(params, buffers, jax.random.split(jax.random.key(1), 2000), {}))
  angle = np.arange(8) * np.pi / 4
  centers = 5 * np.stack([np.cos(angle), np.sin(angle)], 1)
  nearest = np.linalg.norm(x[:, None] - centers, axis=-1)
  assert np.sqrt(np.mean(nearest.min(1) ** 2) / 2) == pytest.approx(0.1**0.5, rel=0.05)
  assert np.bincount(nearest.argmin(1)).min() > 200
  assert not model.likelihoods
  loss, _ = model.loss(params, buffers, {"x": jnp.zeros((4000, 2))}, jax.random.key(2), 0)
  assert float(loss) == pytest.approx((25 + 2 * 0.1) / 2, rel=0.03)  # E |source|^2 / 2


@pytest.mark.slow
def test_reflow_learns_from_where_the_teacher_goes():
  """A teacher that stays put makes pairs (eps, eps), of velocity 0; data are not looked at."""
  model = diffusion.Diffusion(
    spec=PLANE, network=mlp.MLP(widths=(16,)), process=continuous.CondOT(), prediction="velocity",
    sampler=singlestep.Euler(steps=3), reflow=True,
  )  # fmt: skip
  assert model.pretrained == ("teacher",)
  batch = {"x": 100.0 * jnp.ones((64, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  params = {group: jax.tree.map(jnp.zeros_like, tree) for group, tree in params.items()}
  assert model.loss(params, buffers, batch, jax.random.key(1), 0)[0] == 0
  params["teacher"]["Dense_1"]["bias"] = jnp.array([2.0, 0.0])  # x0 = eps - (2, 0)
  loss, _ = model.loss(params, buffers, batch, jax.random.key(1), 0)
  assert float(loss) == pytest.approx(2.0, rel=1e-5)  # |velocity|^2 / 2
  sample = model.sample(params, buffers, jax.random.split(jax.random.key(2), 4), {})
  assert jnp.max(jnp.abs(sample)) < 10  # by the denoiser, not by the teacher


@pytest.mark.slow
def test_a_bridge_wanders_between_its_ends():
  """Its variance is s^2 t (1 - t), and the target is the slope of xt for a fixed z."""
  process = continuous.CondOT(bridge=0.5)
  model = small_diffusion(process=process, prediction="velocity", sampler=singlestep.Euler(steps=3))
  x0, eps = jnp.full((20_000, 1), 1.0), jnp.full((20_000, 1), -2.0)
  for t in (0.2, 0.7):
    xt, _ = model._example(x0, eps, jnp.full(20_000, t), jax.random.key(0))
    assert float(jnp.mean(xt)) == pytest.approx(1 - 3 * t, abs=0.01)
    assert float(jnp.var(xt)) == pytest.approx(0.25 * t * (1 - t), rel=0.03)
  with jax.enable_x64(True):
    x = jnp.ones((3, 1))
    at = lambda t: model._example(x, -2 * x, jnp.full(3, t), jax.random.key(0))
    slope = (at(0.4 + 1e-6)[0] - at(0.4 - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(at(0.4)[1], slope, rtol=1e-6)
  t = process.snap(jnp.array([0.0, 1.0]))
  assert np.all(np.isfinite(model._example(x0[:2], eps[:2], t, jax.random.key(0))[1]))


def test_likelihoods_are_named_by_what_is_known():
  names = lambda **kwargs: {k: v.kind for k, v in small_diffusion(**kwargs).likelihoods.items()}
  assert names() == {"flow": core.ESTIMATE, "elbo": core.LOWER_BOUND}
  assert names(probes=0)["flow"] == core.EXACT
  assert set(conditional(1.0)[0].likelihoods) == {"flow-given-label", "elbo-given-label"}
  grey = core.DataSpec(shape=(2,), range=(-1.0, 1.0), levels=17)
  model = dataclasses.replace(small_diffusion(probes=0), spec=grey)
  assert model.likelihoods["flow"].kind == core.LOWER_BOUND  # dequantized


@pytest.mark.slow
@pytest.mark.parametrize("steps", [10, 1000])
def test_likelihoods_of_a_model_agree_with_each_other(steps):
  """The bound lies below the flow's density; an untrained network is as good as any."""
  process = chains.DDPM(steps=steps)
  model = small_diffusion(prediction="v", probes=0, terms=64, process=process)
  batch = {"x": jax.random.normal(jax.random.key(1), (200, 2))}
  params, buffers = model.init(jax.random.key(0), batch, {})
  args = params, buffers, batch, jax.random.key(2)
  flow, bound = (model.likelihoods[name].log_prob(*args) for name in ("flow", "elbo"))
  assert jnp.mean(bound) < jnp.mean(flow)


# WGAN-GP
