"""What variational autoencoders may aim at; the equations stand in vae.py."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import mlp

Objectives = tuple[core.Objective, ...]


class Pass(NamedTuple):
  """One pass of a batch: what aims are made of.

  q [B, outputs], z [B, *shape]; reconstruction [B] and kl [B, width or 1] in nats.
  """

  q: jax.Array
  z: jax.Array
  reconstruction: jax.Array
  kl: jax.Array
  buffers: core.Buffers

  def logs(self) -> core.Metrics:
    """Means over the batch; how many latents say something of x (mean KL above 0.01 nats)."""
    return {
      "reconstruction": jnp.mean(self.reconstruction),
      "kl": jnp.mean(jnp.sum(self.kl, axis=-1)),
      "active": jnp.sum(jnp.mean(self.kl, axis=0) > 0.01) * 1.0,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elbo:
  """beta: weight of the KL; warmup: steps over which it rises; free_bits: nats of each latent."""

  beta: core.NonNegative = 1.0
  warmup: core.Count = 0
  free_bits: core.NonNegative = 0.0

  def objectives(self, model: Any) -> Objectives:
    return (core.Objective("vae", model.trained, functools.partial(self.loss, model)),)

  def loss(self, model, params, buffers, batch, key, step):
    first, second = jax.random.split(key)
    p = model.once(params, buffers, batch, first, train=True)
    share = jnp.minimum((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
    paid = jnp.sum(jnp.maximum(jnp.mean(p.kl, axis=0), self.free_bits))
    extra, logs = self.extra(model, params, p, second)
    value = share * self.beta * paid + extra - jnp.mean(p.reconstruction)
    return value, (p.buffers, p.logs() | logs)

  def extra(self, model, params, p: Pass, key) -> tuple[jax.Array, core.Metrics]:
    """What an aim adds to (1), and its logs."""
    return jnp.zeros(()), {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TotalCorrelation(Elbo):
  """weight: beta of the total correlation, less the 1 that the KL has; examples: of the training
  split, by which q(z) is estimated from a batch (the paper's eq. S5): what is logged depends on
  their number, no gradient does."""

  weight: core.NonNegative = 5.0
  examples: core.Size = 50_000

  def extra(self, model, params, p, key):
    pairs = model.latent.log_prob(p.q[None], p.z[:, None])  # [B of z, B of q, width]
    size = math.log(len(p.z) * self.examples)
    joint = jax.nn.logsumexp(jnp.sum(pairs, axis=-1), axis=1) - size
    apart = jnp.sum(jax.nn.logsumexp(pairs, axis=1) - size, axis=-1)
    correlation = jnp.mean(joint - apart)
    return self.weight * correlation, {"total_correlation": correlation}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factor(Elbo):
  """weight: gamma; network: the discriminator, of z, one logit."""

  weight: core.NonNegative = 10.0
  network: core.Network = mlp.MLP(widths=(256, 256), activation="leaky_relu")

  def objectives(self, model):
    own = functools.partial(self.discriminate, model)
    return (*super().objectives(model), core.Objective("discriminator", ("discriminator",), own))

  def extra(self, model, params, p, key):
    ratio = jnp.mean(self.logit(params, p.z))
    return self.weight * ratio, {"total_correlation": ratio}

  def discriminate(self, model, params, buffers, batch, key, step):
    """Cross-entropy of z against z whose dimensions come from different examples."""
    first, second = jax.random.split(key)
    p = model.once(params, buffers, batch, first)
    keys = jax.random.split(second, p.z.shape[1])
    mixed = jax.vmap(jax.random.permutation, (0, 1), 1)(keys, p.z)
    real, fake = self.logit(params, p.z), self.logit(params, mixed)
    return jnp.mean(jax.nn.softplus(-real) + jax.nn.softplus(fake)) / 2, (buffers, {})

  def logit(self, params, z):
    return core.call(self.network.clone(out=1), "discriminator", params, {}, z)[0][:, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MMD(Elbo):
  """weight: of the maximum mean discrepancy; beta: of the KL, 0 for a Wasserstein autoencoder."""

  beta: core.NonNegative = 0.0
  weight: core.NonNegative = 10.0

  def extra(self, model, params, p, key):
    noise = model.latent.sample(key, model.latent.prior((len(p.z),)), soft=True)
    value = mmd(*(z.reshape(len(z), -1) for z in (p.z, noise)))
    return self.weight * value, {"mmd": value}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Importance:
  """Equation (2). samples: K; doubly: for the encoder by Tucker et al. (2019)."""

  samples: core.Size = 5
  doubly: bool = False

  def objectives(self, model):
    if not self.doubly:
      return (core.Objective("vae", model.trained, functools.partial(self.loss, model)),)
    rest = tuple(group for group in model.trained if group != "encoder")
    return (
      core.Objective("decoder", rest, functools.partial(self.loss, model)),
      core.Objective("encoder", ("encoder",), functools.partial(self.squared, model)),
    )

  def loss(self, model, params, buffers, batch, key, step):
    log_w, buffers = model.weights(params, buffers, batch, key, self.samples, train=True)
    bound = jnp.mean(jax.nn.logsumexp(log_w, axis=0)) - math.log(self.samples)
    return -bound, (buffers, {"elbo": jnp.mean(log_w)})

  def squared(self, model, params, buffers, batch, key, step):
    """Its gradient by the encoder, through z alone, is that of (2); its value is not."""
    log_w, buffers = model.weights(
      params, buffers, batch, key, self.samples, train=True, through_z=True
    )
    share = jax.lax.stop_gradient(jax.nn.softmax(log_w, axis=0))
    return -jnp.mean(jnp.sum(share**2 * log_w, axis=0)), (buffers, {})


AIMS = {
  "elbo": Elbo,
  "total_correlation": TotalCorrelation,
  "factor": Factor,
  "mmd": MMD,
  "importance": Importance,
}


def mmd(x: jax.Array, y: jax.Array) -> jax.Array:
  """Unbiased estimate of the squared maximum mean discrepancy of two batches [B, D], by the sum of
  inverse multiquadratic kernels C / (C + |x - y|^2), C = 2 D s (Tolstikhin et al., appendix B)."""

  def kernel(a, b):
    square = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    scales = 2 * x.shape[1] * jnp.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])[:, None, None]
    return jnp.sum(scales / (scales + square), axis=0)

  n = len(x)
  apart = lambda k: (jnp.sum(k) - jnp.trace(k)) / (n * (n - 1))
  return apart(kernel(x, x)) + apart(kernel(y, y)) - 2 * jnp.mean(kernel(x, y))
