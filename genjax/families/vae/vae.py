"""Variational autoencoders (Kingma & Welling 2014, arXiv:1312.6114; Rezende et al. 2014).

A latent z ~ p(z) generates x ~ p(x | z) through a decoder. An encoder gives the approximate
posterior q(z | x), and

    log p(x) >= E_q log p(x | z) - KL(q(z | x) || p(z))            reconstruction - KL         (1)
    log p(x) >= E log 1/K sum_k w_k,   w_k = p(x | z_k) p(z_k) / q(z_k | x),   z_k ~ q         (2)

(2) is due to Burda et al. 2016, arXiv:1509.00519. Both are in nats per example: sums over
dimensions and latents, means over the batch. So no weight depends on any of these sizes. Training
minimises the `aim` of the model (aims.py):

    elbo         -reconstruction + beta KL. beta rises over the first `warmup` steps. A latent whose
                 mean KL is below `free_bits` nats costs `free_bits`
                                                 Higgins et al. 2017; Kingma et al. 2016, eq. 13
    total_correlation
                 minus (1) with the KL split into mutual information, total correlation and
                 dimension-wise KL; the total correlation is multiplied by beta
                                                         Chen et al. 2018, arXiv:1802.04942, eq. 2
    factor       minus (1) + weight TC. The density ratio in the total correlation TC comes from a
                 discriminator between z and z whose dimensions are shuffled over the batch
                                                           Kim & Mnih 2018, arXiv:1802.05983, eq. 3
    mmd          -reconstruction + beta KL + weight MMD(q(z), p(z)), with MMD the maximum mean
                 discrepancy: InfoVAE, and with beta = 0 a Wasserstein autoencoder
                     Zhao et al. 2017, arXiv:1706.02262; Tolstikhin et al. 2018, arXiv:1711.01558
    importance   minus (2). With `doubly`, the encoder has the doubly reparametrized gradient, whose
                 signal does not vanish as K grows      Tucker et al. 2019, arXiv:1810.04152, eq. 8

If the condition "known" holds a part of x, the model completes it: only the rest of x is modelled,
and samples keep the known part (Sohn et al. 2015, NeurIPS; but here p(z) does not depend on it).

p(x | z) is a head of distributions/heads.py; q and p(z) are a class of distributions/latents.py.
p(z) may also be the mean of q(z | u_k) over learnt pseudo-inputs u_k (VampPrior: Tomczak & Welling
2018, arXiv:1705.07120). If p(x | z) is a density and the data are on levels, uniform noise is added
to x, and the result is a lower bound of log P(x).
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.distributions import latents
from genjax.families import moments
from genjax.families.vae import aims
from genjax.networks.layers import conditioning
from genjax.samplers import likelihood


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE:
  """Variational autoencoder with the parameter groups "encoder" and "decoder".

  With `pseudo_inputs` there is also "prior", and with the aim "factor" also "discriminator".

  encoder: module (x [B, *event], None, cond) -> numbers of q.
  decoder: module (z [B, *shape], None, cond) -> numbers of the head.
    The model sets the number of outputs, `out`, of both.
  latent: a class of latents.py.
  head: a class of heads.py.
  aim: a class of aims.py.
  pseudo_inputs: number of pseudo-inputs u_k of the VampPrior; 0 for the latent's own prior.
  importance: K of the likelihood "importance".
  noise: whether samples are drawn from p(x | z); otherwise they are its mean.

  Raises UserError for options that do not fit each other or the data.
  """

  spec: core.DataSpec
  encoder: core.Network
  decoder: core.Network
  latent: core.Latent = latents.GaussianLatent()
  head: core.Head
  aim: core.Aim = aims.Elbo()
  pseudo_inputs: core.Count = 0
  importance: core.Size = 100
  noise: bool = False
  pretrained = ()
  # The entries of a code are real numbers, not integers.
  codes = {}
  # Fields that may be changed after training.
  view = ("importance", "noise")

  def __post_init__(self):
    aim = self.aim
    # A flat z [B, width], whose density is a product of one factor for each entry.
    plain = type(self.latent) in (latents.GaussianLatent, latents.Laplace)
    for wrong, why in [
      (not (hasattr(self.encoder, "out") and hasattr(self.decoder, "out")),
       "encoder and decoder: this network has no field 'out' to set its outputs; use 'mlp'"),
      (self.completes and self.spec.fields["known"].shape != self.spec.shape,
       "conditions: 'known' must be a part of x, so it must have the shape of x"),
      (isinstance(aim, aims.TotalCorrelation | aims.Factor) and not plain,
       "aim: total correlation needs a flat, factorized z; use latent 'gaussian' or 'laplace'"),
      (isinstance(aim, aims.MMD) and self.pseudo_inputs,
       "aim 'mmd' compares with the latent's own prior; use pseudo_inputs=0"),
      (isinstance(aim, aims.Importance) and isinstance(self.latent, latents.Categorical),
       "aim 'importance': soft categorical samples have no density; use latent 'gaussian'"),
      (isinstance(aim, aims.Importance) and aim.doubly and self.pseudo_inputs,
       "aim.doubly: the prior must not depend on the encoder; use pseudo_inputs=0"),
      (self.pseudo_inputs and isinstance(self.latent, latents.Categorical),
       "pseudo_inputs: soft categorical samples have no density; use latent 'gaussian'"),
      (self.completes and self.pseudo_inputs,
       "conditions: the prior of pseudo_inputs cannot be told 'known'; use pseudo_inputs=0"),
    ]:  # fmt: skip
      if wrong:
        raise core.UserError(why)

  @property
  def conditions(self) -> tuple[str, ...]:
    """The names of the fields that the encoder or the decoder is told."""
    told = (*self.encoder.conditions, *self.decoder.conditions)
    return tuple(dict.fromkeys(conditioning.names(told)))

  @property
  def completes(self) -> bool:
    """Whether a part of x is given, and only the rest modelled."""
    return "known" in self.conditions

  def free(self, cond: core.Batch) -> jax.Array | None:
    """Returns [B, *event]: 1 where x is modelled, 0 where it is known; None if all is modelled."""
    if not self.completes or "known" not in cond:
      return None
    value, there = core.partial(cond["known"])
    return jnp.broadcast_to(1 - there, value.shape)

  @property
  def trained(self) -> tuple[str, ...]:
    """The groups that the bounds (1) and (2) train."""
    return ("encoder", "decoder", *["prior"] * bool(self.pseudo_inputs))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """The objectives of the aim."""
    return self.aim.objectives(self)

  @functools.cached_property
  def modules(self) -> dict[str, Any]:
    """Encoder and decoder, with as many outputs as q and the head need."""
    out = math.prod(self.spec.shape) * self.head.size
    return {
      "encoder": self.encoder.clone(out=self.latent.outputs),
      "decoder": self.decoder.clone(out=out),
    }

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns new or loaded parameters; the moments of the codes lie with the encoder."""
    x = batch["x"]
    z = jnp.zeros((len(x), *self.latent.shape))
    keys = dict(zip(("encoder", "decoder", "discriminator", "prior"), jax.random.split(key, 4)))
    cond = core.given(self, batch)

    params = {}
    buffers = {}
    new = {"encoder": (x, None, cond), "decoder": (z, None, cond)}
    for group, args in new.items():
      own = loaded.get(group) or core.init(self.modules[group], keys[group], *args)
      params[group], buffers[group] = own
    if "codes" not in buffers["encoder"]:
      buffers["encoder"] = {**buffers["encoder"], "codes": moments.nothing(z.shape)}

    if isinstance(self.aim, aims.Factor):
      own = loaded.get("discriminator") or core.init(
        self.aim.network.clone(out=1), keys["discriminator"], z
      )
      params["discriminator"], buffers["discriminator"] = own

    if self.pseudo_inputs:
      # Pseudo-inputs start as noisy examples.
      first, second = jax.random.split(keys["prior"])
      pick = jax.random.randint(first, (self.pseudo_inputs,), 0, len(x))
      noisy = x[pick] + 0.1 * jax.random.normal(second, (self.pseudo_inputs, *x.shape[1:]))
      params["prior"], buffers["prior"] = loaded.get("prior") or ({"inputs": noisy}, {})
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

  def once(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    train: bool = False,
  ) -> aims.Pass:
    """Returns a pass with one sample of z for each example."""
    noise, z_key, *keys = jax.random.split(key, 4)
    cond = core.given(self, batch)
    x, nats = self._stored(batch["x"], cond, noise)

    q, buffers = self._encode(params, buffers, x, cond, train=train, key=keys[0])
    z = self.latent.sample(z_key, q, soft=train)
    if train:
      buffers = moments.seen(buffers, "encoder", self.latent.mean(q))
    out, buffers = self._decode(params, buffers, z, cond, train=train, key=keys[1])

    kl = self.latent.kl(q)  # [B, width]
    if self.pseudo_inputs:
      # The KL from a mixture has no closed form: log q - log p of the sample takes its place.
      own = jnp.sum(self.latent.log_prob(q, z), axis=-1)
      kl = (own - self.log_prior(params, buffers, z))[:, None]

    likely = jnp.sum(self._likely(out, x, cond), axis=-1) + nats
    return aims.Pass(q, z, likely, kl, buffers)

  def weights(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    samples: int,
    train: bool = False,
    through_z: bool = False,
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (log w_k of (2) [K, B], buffers), with K = samples.

    through_z: whether the gradient by the encoder goes through z alone, and not through the
      parameters of the density q.
    """
    noise, z_key, *keys = jax.random.split(key, 4)
    cond = core.given(self, batch)
    x, nats = self._stored(batch["x"], cond, noise)

    q, buffers = self._encode(params, buffers, x, cond, train=train, key=keys[0])
    z = jax.vmap(lambda k: self.latent.sample(k, q))(jax.random.split(z_key, samples))
    if train:
      buffers = moments.seen(buffers, "encoder", self.latent.mean(q))

    # The decoder sees all samples as one batch [K B, ...], the conditions repeated.
    flat = z.reshape(-1, *self.latent.shape)
    many = jax.tree.map(lambda a: jnp.tile(a, (samples, *[1] * (a.ndim - 1))), cond)
    out, buffers = self._decode(params, buffers, flat, many, train=train, key=keys[1])
    out = out.reshape(samples, len(x), *out.shape[1:])

    # The three terms of log w_k, [K, B] each.
    density = jax.lax.stop_gradient(q) if through_z else q
    own = jnp.sum(self.latent.log_prob(density, z), axis=-1)
    likely = jnp.sum(self._likely(out, x, cond), axis=-1)
    prior = self.log_prior(params, buffers, flat).reshape(samples, len(x))
    return likely + nats + prior - own, buffers

  def log_prior(self, params: core.Params, buffers: core.Buffers, z: jax.Array) -> jax.Array:
    """Returns log p(z) [B] of z [B, *shape]."""
    if not self.pseudo_inputs:
      prior = self.latent.prior((len(z),))
      return jnp.sum(self.latent.log_prob(prior, z), axis=-1)

    # p(z) is the mean of q(z | u_k).
    q, _ = self._encode(params, buffers, params["prior"]["inputs"], {})
    each = jnp.sum(self.latent.log_prob(q, z[:, None]), axis=-1)  # [B, pseudo_inputs]
    return jax.nn.logsumexp(each, axis=1) - math.log(self.pseudo_inputs)

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event], one example for each of keys [N], clipped to the range of the data."""
    # Keys for z, for the noise of p(x | z), and for the choice of a pseudo-input.
    split = jax.vmap(functools.partial(jax.random.split, num=3))(keys)
    z_keys, x_keys, prior_keys = jnp.unstack(split, axis=1)

    z = jax.vmap(self.latent.sample)(z_keys, self._prior(params, buffers, prior_keys))
    out, _ = self._decode(params, buffers, z, cond)
    x = jax.vmap(self.head.sample)(x_keys, out) if self.noise else self.head.mean(out)
    x = jnp.clip(x, *self.spec.range) if self.spec.range else x
    return self._completed(x, cond)

  def _prior(self, params: core.Params, buffers: core.Buffers, keys: jax.Array) -> jax.Array:
    """Returns the q [N, outputs] that z is drawn from: the prior, or q of a random pseudo-input."""
    if not self.pseudo_inputs:
      return self.latent.prior((len(keys),))
    q, _ = self._encode(params, buffers, params["prior"]["inputs"], {})
    pick = lambda key: jax.random.randint(key, (), 0, self.pseudo_inputs)
    return q[jax.vmap(pick)(keys)]

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """The lower bounds "elbo" (1) and "importance" (2)."""
    given = self.spec.suffix(self.conditions)
    total = lambda *args: sum(self.parts(*args).values())
    free = self.share if self.completes else None
    bound = functools.partial(core.Likelihood, core.LOWER_BOUND, free=free)
    return {
      f"elbo{given}": bound(total, self.parts),
      f"importance-{self.importance}{given}": bound(self.estimate),
    }

  def share(self, batch: core.Batch) -> jax.Array:
    """Returns the share of the dimensions of x that is modelled, [B]."""
    free = self.free(core.given(self, batch))
    return jnp.mean(free, axis=range(1, free.ndim))

  def parts(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> dict[str, jax.Array]:
    """Returns the two terms of (1), [B] nats each; their sum is a lower bound of log p(x)."""
    p = self.once(params, buffers, batch, key)
    return {"reconstruction": p.reconstruction, "kl": -jnp.sum(p.kl, axis=-1)}

  def estimate(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns the bound (2) with K = importance, [B] nats."""
    return estimate(self, params, buffers, batch, key, self.importance)

  def encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the mean z [N, *shape] of q(z | x) for x [N, *event]."""
    return self.latent.mean(self._encode(params, buffers, x, cond or {})[0])

  def decode(
    self, params: core.Params, buffers: core.Buffers, z: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the mean x [N, *event] of p(x | z) for z [N, *shape]; known parts stay."""
    x = self.head.mean(self._decode(params, buffers, z, cond or {})[0])
    return self._completed(x, cond or {})

  def reconstruct(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns x [N, *event] after encoding and decoding; known parts stay."""
    return self.decode(params, buffers, self.encode(params, buffers, x, cond), cond)

  def _encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch, **kwargs: Any
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (q [N, outputs], buffers)."""
    args = self.modules["encoder"], "encoder", params, buffers, x, None, cond
    return core.call(*args, **kwargs)

  def _decode(
    self, params: core.Params, buffers: core.Buffers, z: jax.Array, cond: core.Batch, **kwargs: Any
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (the numbers of the head [N, *event, size], buffers)."""
    args = self.modules["decoder"], "decoder", params, buffers, z, None, cond
    out, buffers = core.call(*args, **kwargs)
    return out.reshape(len(z), *self.spec.shape, self.head.size), buffers

  def _stored(self, x: jax.Array, cond: core.Batch, key: jax.Array) -> tuple[jax.Array, Any]:
    """Returns (x as the head models it, nats to add to its log-density: a scalar or [B]).

    If the head is a density and the data are on levels, x is dequantized.
    """
    if not self.head.density:
      return x, 0.0
    free = self.free(cond)
    x, nats = likelihood.dequantize(x, key, self.spec)
    return x, nats if free is None else nats * jnp.mean(free, axis=range(1, free.ndim))

  def _likely(self, out: jax.Array, x: jax.Array, cond: core.Batch) -> jax.Array:
    """Returns log p(x | z) of each dimension, [..., D] nats; 0 where x is known."""
    nats = self.head.log_prob(out, x)
    free = self.free(cond)
    nats = nats if free is None else nats * free
    return nats.reshape(*nats.shape[: -len(self.spec.shape)], -1)

  def _completed(self, x: jax.Array, cond: core.Batch) -> jax.Array:
    """Returns x [N, *event] with its known part replaced by what is known."""
    free = self.free(cond)
    return x if free is None else x * free + core.partial(cond["known"]).value


def estimate(
  model: Any,
  params: core.Params,
  buffers: core.Buffers,
  batch: core.Batch,
  key: jax.Array,
  samples: int,
) -> jax.Array:
  """Returns the bound (2) with K = samples, [B] nats.

  Samples are taken one after the other, so memory does not grow with K.
  """

  def add(total, key):
    log_w, _ = model.weights(params, buffers, batch, key, 1)
    return jnp.logaddexp(total, log_w[0]), None

  start = jnp.full(len(batch["x"]), -jnp.inf)
  total, _ = jax.lax.scan(add, start, jax.random.split(key, samples))
  return total - math.log(samples)
