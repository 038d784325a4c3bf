"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

A generator G maps z ~ N(0, I) to data. A critic f estimates the Wasserstein-1 distance between the
distributions of the data x and of the generated x~ = G(z). With x^ = u x + (1 - u) x~ and
u ~ U(0, 1), drawn for each example,

    L_critic    = E f(x~) - E f(x) + lambda E (||grad_x^ f(x^)||_2 - 1)^2                     (1)
    L_generator = -E f(G(z))                                                                  (2)

The critic is updated at every step, the generator at every `critic_steps`-th. The penalty is on the
gradient for each example alone, so the critic must not normalise over the batch; the generator may.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class WGANGP:
  """Wasserstein GAN with two parameter groups, "critic" and "generator".

  Each group has an objective of the same name; at a step where both are due, the critic is first.

  generator: module z [B, latent] -> [B, prod(event)].
  critic: module x [B, *event] -> [B, 1].
  latent: number of dimensions of z.
  penalty: lambda of (1).
  critic_steps: updates of the critic for each update of the generator.

  Raises UserError for a critic with batch normalisation, and for networks with a wrong number of
  outputs.
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
      raise core.UserError(
        f"generator.out={self.generator.out}, expected the number of dimensions of x, {size}"
      )
    if self.critic.out != 1:
      raise core.UserError(f"critic.out={self.critic.out}, expected 1")

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """Equation (1) for the critic, then equation (2) for the generator."""
    return (
      core.Objective("critic", ("critic",), self.critic_loss),
      core.Objective(
        "generator", ("generator",), self.generator_loss, core.Every(self.critic_steps)
      ),
    )

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns new or loaded parameters of both networks, and their collections."""
    keys = jax.random.split(key)
    z = jnp.zeros((len(batch["x"]), self.latent))

    params = {}
    buffers = {}
    params["generator"], buffers["generator"] = loaded.get("generator") or core.init(
      self.generator, keys[0], z
    )
    params["critic"], buffers["critic"] = loaded.get("critic") or core.init(
      self.critic, keys[1], batch["x"]
    )
    return params, buffers

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Changes nothing: all parameters are trained by gradients."""
    return params, buffers, {}

  def generate(
    self, params: core.Params, buffers: core.Buffers, z: jax.Array, train: bool = False
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (x~ = G(z) [B, *event] for z [B, latent], buffers).

    With `train`, batch normalisation uses the batch and updates its running statistics.
    """
    x, buffers = core.call(self.generator, "generator", params, buffers, z, train=train)
    return x.reshape(len(z), *self.spec.shape), buffers

  def criticize(self, params: core.Params, buffers: core.Buffers, x: jax.Array) -> jax.Array:
    """Returns the critic's f(x) [B] for x [B, *event]."""
    return core.call(self.critic, "critic", params, buffers, x)[0][:, 0]

  def critic_loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns equation (1).

    Logs the estimated "distance", the "penalty" without lambda, and the mean norm of the gradient,
    "slope".
    """
    x = batch["x"]
    z_key, u_key = jax.random.split(key)

    # The running statistics of the generator change at its own steps only, so these are dropped.
    fake, _ = self.generate(params, buffers, self._latents(z_key, len(x)), train=True)

    # The gradient of f at x^, for each example: f of one example does not depend on the others, so
    # the gradient of the sum over the batch holds them all.
    u = core.expand(jax.random.uniform(u_key, (len(x),)), x)
    between = u * x + (1 - u) * fake
    slope = jax.grad(lambda x: jnp.sum(self.criticize(params, buffers, x)))(between)

    # The root has an infinite derivative at 0; the small constant keeps it finite.
    norm = jnp.sqrt(jnp.sum(slope**2, range(1, x.ndim)) + 1e-12)  # [B]
    penalty = jnp.mean((norm - 1) ** 2)

    # Minus the first two terms of (1).
    distance = jnp.mean(self.criticize(params, buffers, x) - self.criticize(params, buffers, fake))
    logs = {"distance": distance, "penalty": penalty, "slope": jnp.mean(norm)}
    return self.penalty * penalty - distance, (buffers, logs)

  def generator_loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns equation (2)."""
    z = self._latents(key, len(batch["x"]))
    fake, buffers = self.generate(params, buffers, z, train=True)
    return -jnp.mean(self.criticize(params, buffers, fake)), (buffers, {})

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event], one example for each of keys [N].

    Batch normalisation uses the running statistics, so examples do not depend on each other.
    """
    z = core.draw(keys, jax.random.normal, (self.latent,))
    return self.generate(params, buffers, z)[0]

  def _latents(self, key: jax.Array, n: int) -> jax.Array:
    """Draws z ~ N(0, I), [n, latent]."""
    return jax.random.normal(key, (n, self.latent))
