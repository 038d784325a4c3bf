"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

A generator G maps z ~ N(0, I) to data, a critic f estimates the Wasserstein-1 distance between data
and generated distribution. With x~ = G(z) and x^ = u x + (1 - u) x~, u ~ U(0, 1) for each example,

    L_critic    = E f(x~) - E f(x) + lambda E (||grad_x^ f(x^)||_2 - 1)^2                     (1)
    L_generator = -E f(G(z))                                                                  (2)

The critic descends at every step, the generator at every n-th. The penalty is per example, so the
critic must not normalise over the batch; the generator may.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class WGANGP:
  """Two groups and two objectives of the same names, "critic" before "generator".

  generator: module z [B, latent] -> [B, prod(event)]. critic: module x -> [B, 1].
  latent: dimensions of z. penalty: lambda. critic_steps: critic updates per generator update.
  Raises UserError for a critic with batch normalisation.
  """

  spec: core.DataSpec
  generator: core.Network
  critic: core.Network
  latent: core.Size = 8
  penalty: core.NonNegative = 10.0
  critic_steps: core.Size = 5
  pretrained = ()
  conditions = ()

  def __post_init__(self):
    if self.critic.batch_norm:
      raise core.UserError("critic.batch_norm=True: the gradient penalty is per example; use False")
    size = math.prod(self.spec.shape)
    if self.generator.out != size:
      raise core.UserError(f"generator.out={self.generator.out}, expected the data's {size}")
    if self.critic.out != 1:
      raise core.UserError(f"critic.out={self.critic.out}, expected 1")

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (
      core.Objective("critic", ("critic",), self.critic_loss),
      core.Objective(
        "generator", ("generator",), self.generator_loss, core.every(self.critic_steps)
      ),
    )

  def init(self, key, batch, loaded):
    keys = jax.random.split(key)
    z = jnp.zeros((len(batch["x"]), self.latent))
    params, buffers = {}, {}
    params["generator"], buffers["generator"] = loaded.get("generator") or core.init(
      self.generator, keys[0], z
    )
    params["critic"], buffers["critic"] = loaded.get("critic") or core.init(
      self.critic, keys[1], batch["x"]
    )
    return params, buffers

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def generate(self, params, buffers, z, train=False):
    """z [B, latent] -> (x [B, *event], buffers)."""
    x, buffers = core.call(self.generator, "generator", params, buffers, z, train=train)
    return x.reshape(len(z), *self.spec.shape), buffers

  def criticize(self, params, buffers, x):
    """The critic's f(x), [B]."""
    return core.call(self.critic, "critic", params, buffers, x)[0][:, 0]

  def critic_loss(self, params, buffers, batch, key, step):
    """Equation (1); the generator sees batch statistics, and keeps its own for its own steps."""
    x = batch["x"]
    z_key, u_key = jax.random.split(key)
    fake, _ = self.generate(params, buffers, self._latents(z_key, len(x)), train=True)
    u = core.expand(jax.random.uniform(u_key, (len(x),)), x)
    slope = jax.grad(lambda x: jnp.sum(self.criticize(params, buffers, x)))(u * x + (1 - u) * fake)
    norm = jnp.sqrt(jnp.sum(slope**2, range(1, x.ndim)) + 1e-12)  # finite slope at zero
    penalty = jnp.mean((norm - 1) ** 2)
    distance = jnp.mean(self.criticize(params, buffers, x) - self.criticize(params, buffers, fake))
    return self.penalty * penalty - distance, (
      buffers,
      {"distance": distance, "penalty": penalty, "slope": jnp.mean(norm)},
    )

  def generator_loss(self, params, buffers, batch, key, step):
    """Equation (2)."""
    z = self._latents(key, len(batch["x"]))
    fake, buffers = self.generate(params, buffers, z, train=True)
    return -jnp.mean(self.criticize(params, buffers, fake)), (buffers, {})

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event], through the generator's running statistics."""
    return self.generate(params, buffers, core.draw(keys, jax.random.normal, (self.latent,)))[0]

  def _latents(self, key, n):
    return jax.random.normal(key, (n, self.latent))
