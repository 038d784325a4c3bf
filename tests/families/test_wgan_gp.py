"""Wasserstein GANs: the gradient penalty and the cadence of the two players."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.families.gan import wgan_gp
from genjax.networks import mlp

PLANE = core.DataSpec(shape=(2,))


def wgan(**kwargs):
  return wgan_gp.WGANGP(
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
      wgan_gp.WGANGP(spec=PLANE, **kwargs)


# Gaussian mixture
