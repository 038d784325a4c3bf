"""The training objectives of variational autoencoders; their equations are in vae.py.

An aim turns a model into objectives. It asks the model for `once`, a pass with one sample of z for
each example, or for `weights`, the importance weights of several samples.
"""

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
  """One pass of a batch through encoder and decoder.

  q: [B, outputs], the numbers of q(z | x) from the encoder.
  z: [B, *shape], a sample of q.
  reconstruction: [B], log p(x | z) in nats.
  kl: [B, width], KL(q || p) of each latent in nats, or [B, 1] for all latents together.
  buffers: the buffers after the pass.
  """

  q: jax.Array
  z: jax.Array
  reconstruction: jax.Array
  kl: jax.Array
  buffers: core.Buffers

  def logs(self) -> core.Metrics:
    """Returns means over the batch, and "active", how many latents have a mean KL above 0.01."""
    return {
      "reconstruction": jnp.mean(self.reconstruction),
      "kl": jnp.mean(jnp.sum(self.kl, axis=-1)),
      "active": jnp.sum(jnp.mean(self.kl, axis=0) > 0.01) * 1.0,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elbo:
  """The evidence lower bound, equation (1) of vae.py.

  beta: weight of the KL.
  warmup: steps over which the weight rises linearly to beta; 0 for the full weight at once.
  free_bits: nats that each latent costs at least, however small its KL.
  """

  beta: core.NonNegative = 1.0
  warmup: core.Count = 0
  free_bits: core.NonNegative = 0.0

  def objectives(self, model: Any) -> Objectives:
    """Returns one objective, for all groups of the bound."""
    return (core.Objective("vae", model.trained, functools.partial(self.loss, model)),)

  def loss(
    self,
    model: Any,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns minus the bound (1), a mean over the batch, plus what `extra` adds."""
    first, second = jax.random.split(key)
    p = model.once(params, buffers, batch, first, train=True)

    # Free bits are a minimum for the mean over the batch, not for each example.
    share = jnp.minimum((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
    paid = jnp.sum(jnp.maximum(jnp.mean(p.kl, axis=0), self.free_bits))

    extra, logs = self.extra(model, params, p, second)
    value = share * self.beta * paid + extra - jnp.mean(p.reconstruction)
    return value, (p.buffers, p.logs() | logs)

  def extra(
    self, model: Any, params: core.Params, p: Pass, key: jax.Array
  ) -> tuple[jax.Array, core.Metrics]:
    """Returns (what an aim adds to minus the bound (1), its logs); here nothing."""
    return jnp.zeros(()), {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TotalCorrelation(Elbo):
  """The bound with a heavier total correlation (beta-TCVAE), estimated from each batch.

  weight: added to the weight that the total correlation has in the KL; beta - 1 of the paper.
  examples: size N of the training split. It enters the estimate of q(z) (eq. S5 of the paper) as a
    constant: the logged value depends on it, no gradient does.

  The other fields are as in Elbo.
  """

  weight: core.NonNegative = 5.0
  examples: core.Size = 50_000

  def extra(
    self, model: Any, params: core.Params, p: Pass, key: jax.Array
  ) -> tuple[jax.Array, core.Metrics]:
    """Returns (weight times the total correlation, its logs)."""
    # log q(z_i | x_j) of each latent, for all pairs of examples: [B of z, B of q, width].
    pairs = model.latent.log_prob(p.q[None], p.z[:, None])
    size = math.log(len(p.z) * self.examples)

    # log q(z) ~ log 1/(B N) sum_j q(z | x_j), eq. S5, and the sum over latents of log q(z_l): [B].
    joint = jax.nn.logsumexp(jnp.sum(pairs, axis=-1), axis=1) - size
    apart = jnp.sum(jax.nn.logsumexp(pairs, axis=1) - size, axis=-1)
    correlation = jnp.mean(joint - apart)
    return self.weight * correlation, {"total_correlation": correlation}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factor(Elbo):
  """The bound with a heavier total correlation (FactorVAE), estimated by a discriminator.

  weight: gamma of the paper.
  network: the discriminator, from z to one logit.

  The other fields are as in Elbo.
  """

  weight: core.NonNegative = 10.0
  network: core.Network = mlp.MLP(widths=(256, 256), activation="leaky_relu")

  def objectives(self, model: Any) -> Objectives:
    """Returns the objective of the bound, then that of the discriminator."""
    own = functools.partial(self.discriminate, model)
    return (*super().objectives(model), core.Objective("discriminator", ("discriminator",), own))

  def extra(
    self, model: Any, params: core.Params, p: Pass, key: jax.Array
  ) -> tuple[jax.Array, core.Metrics]:
    """Returns (weight times the total correlation, its logs)."""
    # The logit of the best discriminator is log q(z) - sum_l log q(z_l), whose mean is the total
    # correlation.
    ratio = jnp.mean(self.logit(params, p.z))
    return self.weight * ratio, {"total_correlation": ratio}

  def discriminate(
    self,
    model: Any,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns the cross-entropy of telling z from z with its dimensions shuffled."""
    first, second = jax.random.split(key)
    p = model.once(params, buffers, batch, first)

    # One permutation of the batch for each dimension: a sample of the product of the q(z_l).
    keys = jax.random.split(second, p.z.shape[1])
    mixed = jax.vmap(jax.random.permutation, (0, 1), 1)(keys, p.z)

    # log(1 + e^-l) is the cost of calling z shuffled, log(1 + e^l) that of the opposite error.
    real = self.logit(params, p.z)
    fake = self.logit(params, mixed)
    return jnp.mean(jax.nn.softplus(-real) + jax.nn.softplus(fake)) / 2, (buffers, {})

  def logit(self, params: core.Params, z: jax.Array) -> jax.Array:
    """Returns the discriminator's logit that z [B, width] is not shuffled, [B]."""
    return core.call(self.network.clone(out=1), "discriminator", params, {}, z)[0][:, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MMD(Elbo):
  """The bound plus the maximum mean discrepancy of q(z) and p(z) (InfoVAE).

  beta: weight of the KL; 0 for a Wasserstein autoencoder.
  weight: weight of the discrepancy.

  The other fields are as in Elbo.
  """

  beta: core.NonNegative = 0.0
  weight: core.NonNegative = 10.0

  def extra(
    self, model: Any, params: core.Params, p: Pass, key: jax.Array
  ) -> tuple[jax.Array, core.Metrics]:
    """Returns (weight times the discrepancy, its logs)."""
    # A sample of the prior, in the form in which training sees z.
    noise = model.latent.sample(key, model.latent.prior((len(p.z),)), soft=True)
    value = mmd(*(z.reshape(len(z), -1) for z in (p.z, noise)))
    return self.weight * value, {"mmd": value}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Importance:
  """The importance-weighted bound, equation (2) of vae.py.

  samples: K.
  doubly: whether the encoder has the doubly reparametrized gradient of Tucker et al. (2019).
  """

  samples: core.Size = 5
  doubly: bool = False

  def objectives(self, model: Any) -> Objectives:
    """Returns one objective for all groups, or with `doubly` one more for the encoder."""
    if not self.doubly:
      return (core.Objective("vae", model.trained, functools.partial(self.loss, model)),)

    rest = tuple(group for group in model.trained if group != "encoder")
    return (
      core.Objective("decoder", rest, functools.partial(self.loss, model)),
      core.Objective("encoder", ("encoder",), functools.partial(self.squared, model)),
    )

  def loss(
    self,
    model: Any,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns minus the bound (2), a mean over the batch; logs the bound (1)."""
    log_w, buffers = model.weights(params, buffers, batch, key, self.samples, train=True)
    bound = jnp.mean(jax.nn.logsumexp(log_w, axis=0)) - math.log(self.samples)
    # The mean of log w_k is the bound (1), with one sample each.
    return -bound, (buffers, {"elbo": jnp.mean(log_w)})

  def squared(
    self,
    model: Any,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns a value whose gradient by the encoder is that of minus the bound (2).

    The value itself has no meaning. Its gradient, through z alone, has less noise (Tucker et al.
    2019, eq. 8).
    """
    log_w, buffers = model.weights(
      params, buffers, batch, key, self.samples, train=True, through_z=True
    )
    # Normalized weights [K, B]; they enter squared.
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
  """Returns an unbiased estimate of the squared maximum mean discrepancy, a scalar.

  x, y: [B, D], two batches of the same size.

  The kernel is a sum of inverse multiquadratic kernels C / (C + |x - y|^2) with C = 2 D s, over
  several scales s (Tolstikhin et al., appendix B).
  """

  def kernel(a, b):
    square = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)  # [B, B]
    scales = 2 * x.shape[1] * jnp.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])[:, None, None]
    return jnp.sum(scales / (scales + square), axis=0)

  # Within a batch, the mean is over pairs of different examples: the diagonal would bias it.
  n = len(x)
  apart = lambda k: (jnp.sum(k) - jnp.trace(k)) / (n * (n - 1))
  return apart(kernel(x, x)) + apart(kernel(y, y)) - 2 * jnp.mean(kernel(x, y))
