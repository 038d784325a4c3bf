"""Hierarchical variational autoencoders (Sønderby et al. 2016, arXiv:1602.02282; VDVAE: Child 2021,
arXiv:2011.10650).

The latents are z = (z_1, ..., z_L), each drawn given those before it, from the coarsest resolution
to the finest; networks/ladder.py is both p(z_i | z_<i) and q(z_i | z_<i, x). In nats per example,

    log p(x) >= E_q [log p(x | z) - sum_i KL(q(z_i | z_<i, x) || p(z_i | z_<i))]                (1)
    log p(x) >= E log 1/K sum_k w_k,
                w = p(x | z) prod_i p(z_i | z_<i) / q(z_i | z_<i, x),   z ~ q                   (2)

with the KLs of (1) in closed form. The aims "elbo" and "importance" of aims.py minimise minus
one or the other; `free_bits` are those of a block. "elbo" logs the KL of each block, "kl_00"
being the coarsest. A code is all z, one after the other, each the mean of its q given the means
before.
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
  """kl [B, blocks], z [B, D] of all blocks; q is told by none."""

  def logs(self) -> core.Metrics:
    each = jnp.mean(self.kl, axis=0)
    return super().logs() | {f"kl_{i:02}": each[i] for i in range(len(each))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HVAE:
  """One group, "hvae".

  ladder: an entry of ladder.py; its `out` is set here. head: of heads.py; aim: "elbo" or
    "importance" of aims.py.
  importance: K of the likelihood "importance". temperature: by which the deviations of p(z) are
    multiplied in samples. noise: whether samples are drawn from p(x | z), or are its mean.
  Raises UserError for another aim.
  """

  spec: core.DataSpec
  ladder: core.Ladder = ladder.Ladder()
  head: core.Head
  aim: core.Aim = aims.Elbo()
  importance: core.Size = 100
  temperature: core.NonNegative = 1.0
  noise: bool = False
  pretrained = ()
  codes = {}  # real numbers
  view = ("importance", "temperature", "noise")
  conditions = ()

  def __post_init__(self):
    if type(self.aim) not in (aims.Elbo, aims.Importance):
      raise core.UserError("hvae: the aims of a hierarchy are 'elbo' and 'importance'")
    if getattr(self.aim, "doubly", False):
      raise core.UserError("aim.doubly needs an encoder apart from the decoder; use 'vae'")

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (core.Objective("hvae", ("hvae",), functools.partial(self.aim.loss, self)),)

  @functools.cached_property
  def module(self) -> Any:
    """The ladder, with as many answers as are needed."""
    return self.ladder.clone(out=self.spec.shape[-1] * self.head.size)

  @property
  def size(self) -> int:
    """D, how many numbers all z are."""
    return sum(math.prod(shape) for shape in self.module.shapes)

  def init(self, key, batch, loaded):
    if "hvae" in loaded:
      return tuple({"hvae": part} for part in loaded["hvae"])
    x = batch["x"]
    params, own = core.init(self.module, key, x, self._cut(jnp.zeros((len(x), self.size))))
    return {"hvae": params}, {"hvae": {**own, "codes": moments.nothing((self.size,))}}

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def once(self, params, buffers, batch, key, train=False) -> HierarchyPass:
    """One z for each example."""
    first, second = jax.random.split(key)
    x, nats = self._stored(batch["x"], first)
    (out, z, kl, _), buffers = self._posterior(params, buffers, x, second, train)
    if train:
      buffers = moments.seen(buffers, "hvae", _join(z))
    return HierarchyPass(None, _join(z), self._likely(out, x) + nats, kl, buffers)

  def weights(self, params, buffers, batch, key, samples, train=False):
    """(log w_k [K, B] of (2), buffers)."""
    first, second = jax.random.split(key)
    x, nats = self._stored(batch["x"], first)
    many = jnp.tile(x, (samples, *[1] * (x.ndim - 1)))
    (out, z, _, ratio), buffers = self._posterior(params, buffers, many, second, train)
    if train:
      buffers = moments.seen(buffers, "hvae", _join(z))
    log_w = self._likely(out, many) + nats - jnp.sum(ratio, axis=1)
    return log_w.reshape(samples, len(x)), buffers

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event], cut to the data's range."""
    z_keys, x_keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    out, _ = self._call(params, buffers, "generate", self._eps(z_keys), self.temperature)
    out = self._numbers(out)
    x = jax.vmap(self.head.sample)(x_keys, out) if self.noise else self.head.mean(out)
    return jnp.clip(x, *self.spec.range) if self.spec.range else x

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    whole = lambda *args: sum(self.parts(*args).values())
    return {
      "elbo": core.Likelihood(core.LOWER_BOUND, whole, self.parts),
      f"importance-{self.importance}": core.Likelihood(core.LOWER_BOUND, self.estimate),
    }

  def parts(self, params, buffers, batch, key):
    """The two terms of (1), nats [B] each; their sum bounds log p(x)."""
    p = self.once(params, buffers, batch, key)
    return {"reconstruction": p.reconstruction, "kl": -jnp.sum(p.kl, axis=-1)}

  def estimate(self, params, buffers, batch, key):
    """(2) with K = importance, nats [B]."""
    return vae.estimate(self, params, buffers, batch, key, self.importance)

  def encode(self, params, buffers, x, cond=None):
    """x [N, *event] -> the means of q along the way [N, D]."""
    still = self._cut(jnp.zeros((len(x), self.size)))
    return _join(self._call(params, buffers, "posterior", x, still)[0].z)

  def decode(self, params, buffers, z, cond=None):
    """z [N, D] -> the mean of x [N, *event]."""
    return self.head.mean(self._numbers(self._call(params, buffers, "decode", self._cut(z))[0]))

  def reconstruct(self, params, buffers, x, cond=None):
    """x [N, *event] there and back."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _posterior(self, params, buffers, x, key, train):
    """(ladder.Pass, buffers) of a draw for each x."""
    keys = jax.random.split(key, len(x))
    return self._call(params, buffers, "posterior", x, self._eps(keys), train=train)

  def _call(self, params, buffers, method, *args, **training):
    return core.call(self.module, "hvae", params, buffers, *args, method=method, **training)

  def _eps(self, keys):
    """The noise of every block, of each example by its key."""
    return self._cut(core.draw(keys, jax.random.normal, (self.size,)))

  def _cut(self, flat):
    """[N, D] -> one [N, h, w, code] for each block; `_join` puts them together."""
    shapes = self.module.shapes
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = zip(jnp.split(flat, ends, axis=1), shapes)
    return tuple(part.reshape(len(flat), *shape) for part, shape in parts)

  def _stored(self, x, key):
    """(x, nats): dequantized where the head is a density of data on levels."""
    return likelihood.dequantize(x, key, self.spec) if self.head.density else (x, 0.0)

  def _likely(self, out, x):
    """log p(x | z) [N]."""
    return jnp.sum(self.head.log_prob(self._numbers(out), x).reshape(len(x), -1), axis=1)

  def _numbers(self, out):
    """The head's numbers [N, *event, size]."""
    return out.reshape(len(out), *self.spec.shape, self.head.size)


def _join(z):
  return jnp.concatenate([part.reshape(len(part), -1) for part in z], axis=1)
