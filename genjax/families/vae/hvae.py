"""Hierarchical variational autoencoders (Sønderby et al. 2016, arXiv:1602.02282; VDVAE: Child 2021,
arXiv:2011.10650).

The latents are z = (z_1, ..., z_L), from the coarsest resolution to the finest, each drawn given
those before it. One network, networks/ladder.py, gives both p(z_i | z_<i) and q(z_i | z_<i, x). In
nats per example,

    log p(x) >= E_q [log p(x | z) - sum_i KL(q(z_i | z_<i, x) || p(z_i | z_<i))]                (1)
    log p(x) >= E log 1/K sum_k w_k,
                w = p(x | z) prod_i p(z_i | z_<i) / q(z_i | z_<i, x),   z ~ q                   (2)

where each KL of (1), given z_<i, has a closed form. The aim "elbo" of aims.py minimises minus (1),
the aim "importance" minus (2). `free_bits` are nats for each block i. "elbo" logs the KL of each
block; "kl_00" is the coarsest.

A code is the latents of all blocks joined into one vector. It holds the mean of q(z_i | z_<i, x) in
place of each z_i, where z_<i are the means of the blocks before.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.families import moments
from genjax.families.vae import aims, vae
from genjax.networks import ladder
from genjax.samplers import likelihood


class HierarchyPass(aims.Pass):
  """One pass of a batch through the ladder.

  q: None, since the posterior of all blocks together is not given by one set of numbers.
  z: [B, D], samples of the latents of all blocks, one block after the other.
  reconstruction: [B], log p(x | z) in nats.
  kl: [B, blocks], the KL of each block in nats.
  buffers: the buffers after the pass.
  """

  def logs(self) -> core.Metrics:
    """Returns the logs of a Pass, and the mean KL of each block."""
    each = jnp.mean(self.kl, axis=0)
    return super().logs() | {f"kl_{i:02}": each[i] for i in range(len(each))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HVAE:
  """Hierarchical variational autoencoder with one parameter group, "hvae".

  ladder: a class of ladder.py. The model sets its number of outputs, `out`.
  head: a class of heads.py.
  aim: "elbo" or "importance" of aims.py.
  importance: K of the likelihood "importance".
  temperature: factor of the standard deviations of p(z) in samples.
  noise: whether samples are drawn from p(x | z); otherwise they are its mean.

  Raises UserError for another aim, and for aim.doubly.
  """

  spec: core.DataSpec
  ladder: core.Ladder = ladder.Ladder()
  head: core.Head
  aim: core.Aim = aims.Elbo()
  importance: core.Size = 100
  temperature: core.NonNegative = 1.0
  noise: bool = False
  pretrained = ()
  # The entries of a code are real numbers, not integers.
  codes = {}
  # Fields that may be changed after training.
  view = ("importance", "temperature", "noise")
  conditions = ()

  def __post_init__(self):
    if type(self.aim) not in (aims.Elbo, aims.Importance):
      raise core.UserError("aim: an 'hvae' can have the aims 'elbo' and 'importance' only")
    if getattr(self.aim, "doubly", False):
      raise core.UserError("aim.doubly needs an encoder separate from the decoder; use 'vae'")

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """One objective, the loss of the aim."""
    return (core.Objective("hvae", ("hvae",), functools.partial(self.aim.loss, self)),)

  @functools.cached_property
  def module(self) -> Any:
    """The ladder, with as many outputs for each pixel as the head needs."""
    return self.ladder.clone(out=self.spec.shape[-1] * self.head.size)

  @property
  def size(self) -> int:
    """D, the number of dimensions of all latents together."""
    return sum(math.prod(shape) for shape in self.module.shapes)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns new or loaded parameters, with the moments of the codes."""
    if "hvae" in loaded:
      return tuple({"hvae": part} for part in loaded["hvae"])

    x = batch["x"]
    noise = self._cut(jnp.zeros((len(x), self.size)))
    params, own = core.init(self.module, key, x, noise)
    return {"hvae": params}, {"hvae": {**own, "codes": moments.nothing((self.size,))}}

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
  ) -> HierarchyPass:
    """Returns a pass with one sample of z for each example."""
    first, second = jax.random.split(key)
    x, nats = self._stored(batch["x"], first)

    (out, z, kl, _), buffers = self._posterior(params, buffers, x, second, train)
    if train:
      buffers = moments.seen(buffers, "hvae", _join(z))

    likely = self._likely(out, x) + nats
    return HierarchyPass(None, _join(z), likely, kl, buffers)

  def weights(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    samples: int,
    train: bool = False,
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (log w_k of (2) [K, B], buffers), with K = samples."""
    first, second = jax.random.split(key)
    x, nats = self._stored(batch["x"], first)

    # All samples pass as one batch, [K B, ...].
    many = jnp.tile(x, (samples, *[1] * (x.ndim - 1)))
    (out, z, _, ratio), buffers = self._posterior(params, buffers, many, second, train)
    if train:
      buffers = moments.seen(buffers, "hvae", _join(z))

    # log w of (2), where `ratio` [K B, blocks] is log q(z_i | z_<i, x) - log p(z_i | z_<i).
    log_w = self._likely(out, many) + nats - jnp.sum(ratio, axis=1)
    return log_w.reshape(samples, len(x)), buffers

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event], one example for each of keys [N], clipped to the range of the data."""
    # One key for the noise of the ladder, one for that of p(x | z).
    z_keys, x_keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    out, _ = self._call(params, buffers, "generate", self._eps(z_keys), self.temperature)
    out = self._numbers(out)

    x = jax.vmap(self.head.sample)(x_keys, out) if self.noise else self.head.mean(out)
    return jnp.clip(x, *self.spec.range) if self.spec.range else x

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """The lower bounds "elbo" (1) and "importance" (2)."""
    whole = lambda *args: sum(self.parts(*args).values())
    return {
      "elbo": core.Likelihood(core.LOWER_BOUND, whole, self.parts),
      f"importance-{self.importance}": core.Likelihood(core.LOWER_BOUND, self.estimate),
    }

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
    return vae.estimate(self, params, buffers, batch, key, self.importance)

  def encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the codes [N, D] of x [N, *event]: the mean of q in each block."""
    # Without noise, each z_i is the mean of its q.
    still = self._cut(jnp.zeros((len(x), self.size)))
    found, _ = self._call(params, buffers, "posterior", x, still)
    return _join(found.z)

  def decode(
    self, params: core.Params, buffers: core.Buffers, z: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the mean x [N, *event] of p(x | z) for z [N, D]."""
    out, _ = self._call(params, buffers, "decode", self._cut(z))
    return self.head.mean(self._numbers(out))

  def reconstruct(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns x [N, *event] after encoding and decoding."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _posterior(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, key: jax.Array, train: bool
  ) -> tuple[Any, core.Buffers]:
    """Returns (a ladder.LadderPass with a sample of q for each of x [N, *event], buffers)."""
    keys = jax.random.split(key, len(x))
    return self._call(params, buffers, "posterior", x, self._eps(keys), train=train)

  def _call(
    self, params: core.Params, buffers: core.Buffers, method: str, *args: Any, **training: Any
  ) -> tuple[Any, core.Buffers]:
    """Calls a method of the ladder: (its output, buffers)."""
    return core.call(self.module, "hvae", params, buffers, *args, method=method, **training)

  def _eps(self, keys: jax.Array) -> tuple[jax.Array, ...]:
    """Draws the noise of all blocks, for each of keys [N]."""
    return self._cut(core.draw(keys, jax.random.normal, (self.size,)))

  def _cut(self, flat: jax.Array) -> tuple[jax.Array, ...]:
    """Returns [N, D] as one picture [N, h, w, code] for each block, the inverse of `_join`."""
    # The ends of all blocks but the last one.
    shapes = self.module.shapes
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

    parts = zip(jnp.split(flat, ends, axis=1), shapes)
    return tuple(part.reshape(len(flat), *shape) for part, shape in parts)

  def _stored(self, x: jax.Array, key: jax.Array) -> tuple[jax.Array, float]:
    """Returns (x as the head models it, nats to add to its log-density).

    If the head is a density and the data are on levels, x is dequantized.
    """
    return likelihood.dequantize(x, key, self.spec) if self.head.density else (x, 0.0)

  def _likely(self, out: jax.Array, x: jax.Array) -> jax.Array:
    """Returns log p(x | z), [N] nats, from the output of the ladder."""
    nats = self.head.log_prob(self._numbers(out), x)  # [N, *event]
    return jnp.sum(nats.reshape(len(x), -1), axis=1)

  def _numbers(self, out: jax.Array) -> jax.Array:
    """Returns the output of the ladder as the numbers of the head, [N, *event, size]."""
    return out.reshape(len(out), *self.spec.shape, self.head.size)


def _join(z: ladder.Latents) -> jax.Array:
  """Returns the pictures [N, h, w, code] of all blocks as one vector for each example, [N, D]."""
  return jnp.concatenate([part.reshape(len(part), -1) for part in z], axis=1)
