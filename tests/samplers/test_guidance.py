"""Guidance, on fields that are known exactly."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.families.diffusion import diffusion
from genjax.networks import mlp
from genjax.processes import chains, continuous
from genjax.samplers import guidance, multistep, singlestep, solvers

PROCESS = continuous.VP()
MEANS = jnp.array([-1.0, 2.0, 0.0])  # of label 0, of label 1, and without a label
STD = 0.5


def at(xt, t, memory, cond):
  """Returns the exact (x0, eps, memory) of data N(mean of the label, STD^2)."""
  alpha, sigma = (core.expand(jnp.asarray(c), xt) for c in PROCESS.coefficients(t))
  mean = MEANS[cond["label"]][:, None]
  gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
  x0 = mean + gain * (xt - alpha * mean)
  return x0, (xt - alpha * x0) / sigma, memory


def answers(n=4, label=1, others=None):
  cond = {"label": jnp.full(n, label)}
  field = solvers.VectorField(lambda xt: (), at)
  return guidance.Answers(field, PROCESS, cond, {"label": jnp.full(n, 2)}, others or {})


X, T = jnp.array([[0.3], [-1.2], [0.8], [2.0]]), jnp.float32(0.4)
STRONG, WEAK = (at(X, T, (), {"label": jnp.full(4, label)})[:2] for label in (1, 2))


def guided(rule, memory=None, **kwargs):
  field = rule(answers(**kwargs))
  return field.at(X, T, field.start(X) if memory is None else memory)


GUIDED = {
  "classifier_free": guidance.ClassifierFree,
  "autoguidance": lambda scale: guidance.Autoguidance(network=None, scale=scale),
}


@pytest.mark.parametrize("name", GUIDED)
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_extrapolation_from_the_weak_to_the_strong(name, scale):
  worse = {"guide": lambda xt, t, memory, cond: at(xt, t, memory, {"label": jnp.full(4, 2)})}
  x0, eps, _ = guided(GUIDED[name](scale=scale), others=worse)
  for got, strong, weak in zip((x0, eps), STRONG, WEAK):
    chex.assert_trees_all_close(got, weak + scale * (strong - weak), atol=1e-5)


def test_outside_its_interval_nothing_is_guided():
  for start, stop in [(0.5, 1.0), (0.0, 0.3)]:
    pair = guided(guidance.ClassifierFree(scale=3.0, start=start, stop=stop))[:2]
    chex.assert_trees_all_close(pair, STRONG, atol=1e-6)


def test_rescaling_gives_the_strong_deviation_back():
  """On examples of many dimensions; half of it is the mean of both."""
  x = jax.random.normal(jax.random.key(0), (3, 50))
  wide = lambda xt, t, memory, cond: (
    jnp.where(cond["label"][:, None] == 2, 0.2, 1.0) * xt, jnp.zeros_like(xt), memory
  )  # fmt: skip
  make = lambda share: guidance.ClassifierFree(scale=3.0, rescale=share)(
    answers(3)._replace(field=solvers.VectorField(lambda xt: (), wide))
  ).at(x, T, ())
  strong, plain = x, (0.2 + 3 * 0.8) * x
  chex.assert_trees_all_close(make(0.0)[0], plain, atol=1e-4)
  chex.assert_trees_all_close(make(1.0)[0], strong, atol=1e-4)
  chex.assert_trees_all_close(make(0.5)[0], (plain + strong) / 2, atol=1e-4)
  x0, eps, _ = make(0.5)
  alpha, sigma = PROCESS.coefficients(T)
  chex.assert_trees_all_close(alpha * x0 + sigma * eps, x, atol=1e-4)


def test_projected_guidance_by_hand():
  """Difference, momentum, norm and projection as in Sadat et al., in NumPy; two steps."""
  rule = guidance.Projected(scale=4.0, norm=0.3, momentum=-0.5, parallel=0.25)
  s, w = (np.asarray(pair[0], np.float64) for pair in (STRONG, WEAK))
  running = 0 * s
  memory = None
  for _ in range(2):
    x0, _, memory = guided(rule, memory)
    running = s - w - 0.5 * running
    d = running * np.minimum(1, 0.3 / np.abs(running))  # one dimension: the norm is |d|
    expected = s + 3 * (0.25 * d)  # in one dimension all is parallel
    np.testing.assert_allclose(x0, expected, rtol=1e-4)
  plane = guidance.Projected(parallel=0.0, norm=100.0)
  d, strong = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 0.0]])
  np.testing.assert_allclose(plane.projected(d, strong), [[0.0, 2.0]], atol=1e-6)


def test_momentum_free_unprojected_unbounded_guidance_is_classifier_free():
  rule = guidance.Projected(scale=3.0, norm=1e6, momentum=0.0, parallel=1.0)
  pair = guided(rule)[:2]
  chex.assert_trees_all_close(pair, guided(guidance.ClassifierFree(scale=3.0))[:2], atol=1e-4)


def test_manifold_guidance_renoises_without_the_label():
  x0, eps, _ = guided(guidance.Manifold(scale=0.6))
  chex.assert_trees_all_close(x0, WEAK[0] + 0.6 * (STRONG[0] - WEAK[0]), atol=1e-5)
  chex.assert_trees_all_close(eps, WEAK[1], atol=1e-6)
  clipped = guidance.clipped(
    guidance.Manifold(scale=0.6)(answers()), PROCESS, -0.1, 0.1, consistent=False
  )
  x0, eps, _ = clipped.at(X, T, ())
  assert jnp.max(jnp.abs(x0)) <= 0.1
  chex.assert_trees_all_close(eps, WEAK[1], atol=1e-6)


def log_label(xt, t):
  """Returns log p(label | xt) [N, 2] of labels 0 and 1, which are equally likely."""
  alpha, sigma = PROCESS.coefficients(t)
  log_p = lambda mean: -((xt[:, 0] - alpha * mean) ** 2) / (2 * (alpha**2 * STD**2 + sigma**2))
  return jax.nn.log_softmax(jnp.stack([log_p(MEANS[0]), log_p(MEANS[1])], axis=-1))


def mixture(xt, t, memory, cond):
  """Returns the exact (x0, eps, memory) of the even mixture of labels 0 and 1."""
  p = jnp.exp(log_label(xt, t))
  (a, _, _), (b, _, _) = (at(xt, t, (), {"label": jnp.full(len(xt), k)}) for k in (0, 1))
  x0 = p[:, :1] * a + p[:, 1:] * b
  alpha, sigma = PROCESS.coefficients(t)
  return x0, (xt - alpha * x0) / sigma, memory


def test_an_exact_classifier_of_scale_one_makes_the_conditional_field():
  """Bayes: grad log p(xt) + grad log p(label | xt) = grad log p(xt | label)."""
  free = answers(others={"classifier": log_label})._replace(
    field=solvers.VectorField(lambda xt: (), mixture)
  )
  pair = guidance.ClassifierGuidance(network=None, scale=1.0)(free).at(X, T, ())[:2]
  chex.assert_trees_all_close(pair, STRONG, atol=1e-4)
  plain = guidance.ClassifierGuidance(network=None, scale=0.0)(free).at(X, T, ())[:2]
  chex.assert_trees_all_close(plain, mixture(X, T, (), None)[:2], atol=1e-5)


def test_gradient_of_a_function_of_x0():
  """reward = c x0: its gradient by xt is c times the gain of x0 on xt."""
  field = guidance.Unguided()(answers())
  x0, eps, _ = guidance.by_function(field, PROCESS, lambda x0: 3 * x0[:, 0], 0.7).at(X, T, ())
  alpha, sigma = PROCESS.coefficients(T)
  slope = 0.7 * 3 * alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
  chex.assert_trees_all_close(eps, STRONG[1] - sigma * slope, atol=1e-5)
  chex.assert_trees_all_close(alpha * x0 + sigma * eps, X, atol=1e-5)


SOLVERS = {
  "ddim": solvers.DDIM(steps=20),
  "dpm++": multistep.DPMSolver(steps=20),
  "heun": singlestep.Heun(steps=20),
  "ancestral": solvers.Ancestral(steps=20),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_guided_samples_of_scale_one_are_those_of_the_label(name):
  """Through every kind of solver; more guidance leaves the label's mean for the outside."""
  keys = jax.random.split(jax.random.key(0), 500)
  x, mean = jax.random.normal(jax.random.key(1), (500, 1)), {}
  for scale in (1.0, 2.0):
    field = guidance.ClassifierFree(scale=scale)(answers(500))
    grid = solvers.times(SOLVERS[name], PROCESS)
    out = solvers.integrate(SOLVERS[name], field, PROCESS, grid, x, keys, 1)[-1]
    mean[scale] = float(out.mean())
  assert mean[1.0] == pytest.approx(2.0, abs=0.1)
  assert mean[2.0] > 3.0


def test_memory_of_self_conditioning_goes_through_guidance():
  spec = core.DataSpec(shape=(2,), classes=3)
  model = diffusion.Diffusion(
    spec=spec, network=mlp.MLP(widths=(16,), conditions=("label",), spec=spec), hide=0.5,
    process=chains.DDPM(steps=10), sampler=solvers.DDIM(steps=5), self_condition=True,
  )  # fmt: skip
  batch = {"x": jnp.zeros((4, 2)), "label": jnp.zeros(4, jnp.int32)}
  params, buffers = model.init(jax.random.key(0), batch, {})
  keys, label = jax.random.split(jax.random.key(1), 6), {"label": jnp.arange(6) % 3}
  plain = model.sample(params, buffers, keys, label)
  for rule in (
    guidance.ClassifierFree(scale=1.0), guidance.Projected(scale=1.0), guidance.Manifold(scale=1.0),
  ):  # fmt: skip
    one = dataclasses.replace(model, guidance=rule).sample(params, buffers, keys, label)
    assert one.shape == plain.shape and np.all(np.isfinite(one))
    if rule.consistent:
      chex.assert_trees_all_close(one, plain, atol=1e-4)
