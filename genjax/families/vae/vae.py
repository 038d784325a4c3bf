"""Variational autoencoders (Kingma & Welling 2014, arXiv:1312.6114; Rezende et al. 2014).

A latent z ~ p(z) makes x ~ p(x | z) through a decoder; an encoder gives q(z | x), and

    log p(x) >= E_q log p(x | z) - KL(q(z | x) || p(z))            reconstruction - KL         (1)
    log p(x) >= E log 1/K sum_k w_k,   w_k = p(x | z_k) p(z_k) / q(z_k | x),   z_k ~ q         (2)

(Burda et al. 2016, arXiv:1509.00519), in nats per example: sums over dimensions and latents, means
over the batch, so that no weight depends on either. What is minimised is the model's `aim`:

    elbo         -reconstruction + beta KL; beta rises over `warmup` steps; a latent whose mean KL
                 lies below `free_bits` nats pays no less than that
                                                 Higgins et al. 2017; Kingma et al. 2016, eq. 13
    total_correlation
                 (1) with the KL split into mutual information, total correlation times beta and
                 dimension-wise KL                       Chen et al. 2018, arXiv:1802.04942, eq. 2
    factor       (1) + weight TC, its density ratio told by a discriminator of z from z whose
                 dimensions were shuffled over the batch   Kim & Mnih 2018, arXiv:1802.05983, eq. 3
    mmd          -reconstruction + beta KL + weight MMD(q(z), p(z)): InfoVAE; a Wasserstein
                 autoencoder with beta = 0           Zhao et al. 2017, arXiv:1706.02262; Tolstikhin
                                                     et al. 2018, arXiv:1711.01558
    importance   minus (2); with `doubly`, the encoder's gradient is that of Tucker et al. 2019
                 (arXiv:1810.04152, eq. 8), whose signal does not vanish as K grows

A decoder that is told a field "known", the part of x that is there, completes it: only the rest is
modelled, and samples keep what is known (Sohn et al. 2015, NeurIPS; here the prior does not look).

p(x | z) is a head of distributions/heads.py, q and p(z) of distributions/latents.py; p(z) may also
be the mean of q(z | u_k) over learnt pseudo-inputs u_k (VampPrior: Tomczak & Welling 2018,
arXiv:1705.07120). Densities of data on levels are of x + uniform noise, and bound P(x).
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
  """Groups "encoder" and "decoder"; "prior" with pseudo_inputs, "discriminator" of aim "factor".

  encoder: module (x, None, cond) -> numbers of q; decoder: (z, None, cond) -> numbers of the head;
    how many is set here, whatever their `out`.
  latent: an entry of latents.py; head: of heads.py; aim: of aims.py.
  pseudo_inputs: u_k of the VampPrior, 0 for the latent's own prior.
  importance: K of the likelihood "importance". noise: whether samples are drawn from p(x | z), or
    are its mean.
  Raises UserError for what does not fit together.
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
  codes = {}  # real numbers
  view = ("importance", "noise")

  def __post_init__(self):
    aim, plain = self.aim, type(self.latent) in (latents.GaussianLatent, latents.Laplace)
    for wrong, why in [
      (not (hasattr(self.encoder, "out") and hasattr(self.decoder, "out")),
       "encoder and decoder: this network cannot be asked for a number of answers; use 'mlp'"),
      (self.completes and self.spec.fields["known"].shape != self.spec.shape,
       "conditions: 'known' must be a part of x, of its shape"),
      (isinstance(aim, aims.TotalCorrelation | aims.Factor) and not plain,
       "aim: dimensions are told apart for latent 'gaussian' or 'laplace' only"),
      (isinstance(aim, aims.MMD) and self.pseudo_inputs,
       "aim 'mmd' compares with the latent's own prior; use pseudo_inputs=0"),
      (isinstance(aim, aims.Importance) and isinstance(self.latent, latents.Categorical),
       "aim 'importance': soft choices have no density; use latent 'gaussian'"),
      (isinstance(aim, aims.Importance) and aim.doubly and self.pseudo_inputs,
       "aim.doubly: the prior must not depend on the encoder; use pseudo_inputs=0"),
      (self.pseudo_inputs and isinstance(self.latent, latents.Categorical),
       "pseudo_inputs: soft choices have no density; use latent 'gaussian'"),
      (self.completes and self.pseudo_inputs,
       "conditions: the prior of pseudo_inputs knows nothing of 'known'; use pseudo_inputs=0"),
    ]:  # fmt: skip
      if wrong:
        raise core.UserError(why)

  @property
  def conditions(self) -> tuple[str, ...]:
    """What either network is told."""
    told = (*self.encoder.conditions, *self.decoder.conditions)
    return tuple(dict.fromkeys(conditioning.names(told)))

  @property
  def completes(self) -> bool:
    """Whether a part of x is given, and the rest modelled."""
    return "known" in self.conditions

  def free(self, cond: core.Batch) -> jax.Array | None:
    """Which dimensions are modelled, [B, *event]: 1, or 0 where they are known; None for all."""
    if not self.completes or "known" not in cond:
      return None
    value, there = core.partial(cond["known"])
    return jnp.broadcast_to(1 - there, value.shape)

  @property
  def trained(self) -> tuple[str, ...]:
    """The groups of the bound."""
    return ("encoder", "decoder", *["prior"] * bool(self.pseudo_inputs))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return self.aim.objectives(self)

  @functools.cached_property
  def modules(self) -> dict[str, Any]:
    """Encoder and decoder, with as many answers as are needed."""
    out = math.prod(self.spec.shape) * self.head.size
    return {
      "encoder": self.encoder.clone(out=self.latent.outputs),
      "decoder": self.decoder.clone(out=out),
    }

  def init(self, key, batch, loaded):
    x, z = batch["x"], jnp.zeros((len(batch["x"]), *self.latent.shape))
    keys = dict(zip(("encoder", "decoder", "discriminator", "prior"), jax.random.split(key, 4)))
    cond, params, buffers = core.given(self, batch), {}, {}
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
      first, second = jax.random.split(keys["prior"])
      pick = jax.random.randint(first, (self.pseudo_inputs,), 0, len(x))
      noisy = x[pick] + 0.1 * jax.random.normal(second, (self.pseudo_inputs, *x.shape[1:]))
      params["prior"], buffers["prior"] = loaded.get("prior") or ({"inputs": noisy}, {})
    return params, buffers

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def once(self, params, buffers, batch, key, train=False) -> aims.Pass:
    """One z for each example."""
    noise, z_key, *keys = jax.random.split(key, 4)
    cond = core.given(self, batch)
    x, nats = self._stored(batch["x"], cond, noise)
    q, buffers = self._encode(params, buffers, x, cond, train=train, key=keys[0])
    z = self.latent.sample(z_key, q, soft=train)
    if train:
      buffers = moments.seen(buffers, "encoder", self.latent.mean(q))
    out, buffers = self._decode(params, buffers, z, cond, train=train, key=keys[1])
    kl = self.latent.kl(q)
    if self.pseudo_inputs:
      own = jnp.sum(self.latent.log_prob(q, z), axis=-1)
      kl = (own - self.log_prior(params, buffers, z))[:, None]
    likely = jnp.sum(self._likely(out, x, cond), axis=-1) + nats
    return aims.Pass(q, z, likely, kl, buffers)

  def weights(self, params, buffers, batch, key, samples, train=False, through_z=False):
    """(log w_k [K, B] of (2), buffers); through_z: q's density is not differentiated by q."""
    noise, z_key, *keys = jax.random.split(key, 4)
    cond = core.given(self, batch)
    x, nats = self._stored(batch["x"], cond, noise)
    q, buffers = self._encode(params, buffers, x, cond, train=train, key=keys[0])
    z = jax.vmap(lambda k: self.latent.sample(k, q))(jax.random.split(z_key, samples))
    flat = z.reshape(-1, *self.latent.shape)
    if train:
      buffers = moments.seen(buffers, "encoder", self.latent.mean(q))
    many = jax.tree.map(lambda a: jnp.tile(a, (samples, *[1] * (a.ndim - 1))), cond)
    out, buffers = self._decode(params, buffers, flat, many, train=train, key=keys[1])
    density = jax.lax.stop_gradient(q) if through_z else q
    own = jnp.sum(self.latent.log_prob(density, z), axis=-1)
    out = out.reshape(samples, len(x), *out.shape[1:])
    likely = jnp.sum(self._likely(out, x, cond), axis=-1)
    prior = self.log_prior(params, buffers, flat).reshape(samples, len(x))
    return likely + nats + prior - own, buffers

  def log_prior(self, params, buffers, z):
    """log p(z) [B] of z [B, *shape]."""
    if not self.pseudo_inputs:
      prior = self.latent.prior((len(z),))
      return jnp.sum(self.latent.log_prob(prior, z), axis=-1)
    q, _ = self._encode(params, buffers, params["prior"]["inputs"], {})
    each = jnp.sum(self.latent.log_prob(q, z[:, None]), axis=-1)  # [B, K]
    return jax.nn.logsumexp(each, axis=1) - math.log(self.pseudo_inputs)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event], cut to the data's range."""
    split = jax.vmap(functools.partial(jax.random.split, num=3))(keys)
    z_keys, x_keys, prior_keys = jnp.unstack(split, axis=1)
    z = jax.vmap(self.latent.sample)(z_keys, self._prior(params, buffers, prior_keys))
    out, _ = self._decode(params, buffers, z, cond)
    x = jax.vmap(self.head.sample)(x_keys, out) if self.noise else self.head.mean(out)
    x = jnp.clip(x, *self.spec.range) if self.spec.range else x
    return self._completed(x, cond)

  def _prior(self, params, buffers, keys):
    """What z is drawn from, [N, outputs]."""
    if not self.pseudo_inputs:
      return self.latent.prior((len(keys),))
    q, _ = self._encode(params, buffers, params["prior"]["inputs"], {})
    pick = lambda key: jax.random.randint(key, (), 0, self.pseudo_inputs)
    return q[jax.vmap(pick)(keys)]

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    given = self.spec.suffix(self.conditions)
    total = lambda *args: sum(self.parts(*args).values())
    free = self.share if self.completes else None
    bound = functools.partial(core.Likelihood, core.LOWER_BOUND, free=free)
    return {
      f"elbo{given}": bound(total, self.parts),
      f"importance-{self.importance}{given}": bound(self.estimate),
    }

  def share(self, batch: core.Batch) -> jax.Array:
    """The share of x that is modelled, [B]."""
    free = self.free(core.given(self, batch))
    return jnp.mean(free, axis=range(1, free.ndim))

  def parts(self, params, buffers, batch, key):
    """The two terms of (1), nats [B] each; their sum bounds log p(x)."""
    p = self.once(params, buffers, batch, key)
    return {"reconstruction": p.reconstruction, "kl": -jnp.sum(p.kl, axis=-1)}

  def estimate(self, params, buffers, batch, key):
    """(2) with K = importance, nats [B]."""
    return estimate(self, params, buffers, batch, key, self.importance)

  def encode(self, params, buffers, x, cond=None):
    """x [N, *event] -> the z [N, *shape] that stands for it."""
    return self.latent.mean(self._encode(params, buffers, x, cond or {})[0])

  def decode(self, params, buffers, z, cond=None):
    """z [N, *shape] -> the mean of x [N, *event], and what cond says is known as it is."""
    x = self.head.mean(self._decode(params, buffers, z, cond or {})[0])
    return self._completed(x, cond or {})

  def reconstruct(self, params, buffers, x, cond=None):
    """x [N, *event] there and back, given what cond says is known of it."""
    return self.decode(params, buffers, self.encode(params, buffers, x, cond), cond)

  def _encode(self, params, buffers, x, cond, **training):
    args = self.modules["encoder"], "encoder", params, buffers, x, None, cond
    return core.call(*args, **training)

  def _decode(self, params, buffers, z, cond, **training):
    args = self.modules["decoder"], "decoder", params, buffers, z, None, cond
    out, buffers = core.call(*args, **training)
    return out.reshape(len(z), *self.spec.shape, self.head.size), buffers

  def _stored(self, x, cond, key):
    """(x, nats [B] or one for all): dequantized where the head is a density of data on levels."""
    if not self.head.density:
      return x, 0.0
    free = self.free(cond)
    x, nats = likelihood.dequantize(x, key, self.spec)
    return x, nats if free is None else nats * jnp.mean(free, axis=range(1, free.ndim))

  def _likely(self, out, x, cond):
    """Nats of each dimension, 0 of those that are not modelled, [..., D]."""
    nats, free = self.head.log_prob(out, x), self.free(cond)
    nats = nats if free is None else nats * free
    return nats.reshape(*nats.shape[: -len(self.spec.shape)], -1)

  def _completed(self, x, cond):
    """With what is known as it is."""
    free = self.free(cond)
    return x if free is None else x * free + core.partial(cond["known"]).value


def estimate(
  model: Any, params: core.Params, buffers: core.Buffers, batch: core.Batch, key, samples: int
) -> jax.Array:
  """(2) with K = samples, nats [B]; one sample after the other, so memory does not grow."""

  def add(total, key):
    log_w, _ = model.weights(params, buffers, batch, key, 1)
    return jnp.logaddexp(total, log_w[0]), None

  start = jnp.full(len(batch["x"]), -jnp.inf)
  total, _ = jax.lax.scan(add, start, jax.random.split(key, samples))
  return total - math.log(samples)
