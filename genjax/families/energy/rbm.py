"""Restricted Boltzmann machine (Smolensky 1986), by persistent contrastive divergence.

    p(v) = exp(-F(v)) / Z,   F(v) = -b.v - sum_j softplus(c_j + (v W)_j)                     (1)
    p(h_j = 1 | v) = sigmoid(c_j + (v W)_j),   p(v_i = 1 | h) = sigmoid(b_i + (W h)_i)       (2)

The gradient of the mean negative log-likelihood is that of

    L = mean F(data) - mean F(chain),   chain ~ p(v) held fixed                              (3)

(Tieleman 2008), where the chains are moved a few Gibbs sweeps (2) at each step and never restarted:
they are free state in the buffers. Likelihoods: exact where Z can be summed over hidden states,

    Z = sum_h exp(c.h + sum_i softplus(b_i + (W h)_i))                                       (4)

the pseudo-likelihood sum_i log p(v_i | all other v), and -F, unnormalized.
"""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core

ENUMERABLE = 20  # hidden units whose states are summed


class Weights(NamedTuple):
  """w [D, H], b [D] of the visible, c [H] of the hidden units."""

  w: jax.Array
  b: jax.Array
  c: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RBM:
  """One group, "rbm", of class Weights; the chains [chains, D] are buffers["chains"].

  hidden: units. chains: persistent ones. gibbs: sweeps per step; sweeps: from noise to a sample.
  Raises UserError for data that are not binary.
  """

  spec: core.DataSpec
  hidden: core.Size = 16
  chains: core.Size = 64
  gibbs: core.Size = 1
  sweeps: core.Size = 1000
  pretrained = ()
  view = ("sweeps",)
  conditions = ()

  def __post_init__(self):
    if self.spec.levels != 2 or self.spec.range != (0.0, 1.0):
      raise core.UserError("an RBM models binary data; set data.binarize or choose binary data")

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (core.Objective("rbm", ("rbm",), self.loss),)

  def init(self, key, batch, loaded):
    keys = jax.random.split(key)
    v = _flat(batch["x"])
    mean = jnp.clip(jnp.mean(v, 0), 0.05, 0.95)  # Hinton 2012, section 8.1
    w = 0.01 * jax.random.normal(keys[0], (v.shape[1], self.hidden))
    start = Weights(w, jnp.log(mean / (1 - mean)), jnp.zeros(self.hidden)), {}
    weights, own = loaded.get("rbm") or start
    chains = jax.random.bernoulli(keys[1], shape=(self.chains, v.shape[1])).astype(jnp.float32)
    return {"rbm": weights}, {"rbm": own, "chains": chains}

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def loss(self, params, buffers, batch, key, step):
    """Equation (3); the chains move first."""
    p = params["rbm"]
    keys = jax.random.split(key, self.chains)
    chains = self._gibbs(jax.lax.stop_gradient(p), buffers["chains"], keys, 0, self.gibbs)
    data, model = jnp.mean(free_energy(p, _flat(batch["x"]))), jnp.mean(free_energy(p, chains))
    return data - model, ({**buffers, "chains": chains}, {"data_energy": data})

  def _gibbs(self, p, v, keys, first, last):
    """The sweeps first ... last - 1 of (2), from v [N, D]; chain i draws from keys[i] alone."""

    def sweep(i, v):
      now = jax.vmap(jax.random.fold_in, (0, None))(keys, i + 1)  # 0 is the start's
      h_key, v_key = jnp.unstack(jax.vmap(jax.random.split)(now), axis=1)
      h = _bernoulli(h_key, p.c + v @ p.w)
      return _bernoulli(v_key, p.b + h @ p.w.T)

    return jax.lax.fori_loop(first, last, sweep, v)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event] in {0, 1}: one fresh chain of `sweeps` for each."""
    return self.trajectory(params, buffers, keys, cond, 1)[-1]

  def trajectory(self, params, buffers, keys, cond, frames):
    """The same chains, seen `frames` times at equal distances: [frames, N, *event]."""
    p = params["rbm"]
    start = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
    v = _bernoulli(start, jnp.zeros((len(keys), len(p.b))))
    film, ends = [], [self.sweeps * frame // frames for frame in range(frames + 1)]
    for first, last in itertools.pairwise(ends):
      v = self._gibbs(p, v, keys, first, last)
      film.append(v.reshape(len(keys), *self.spec.shape))
    return jnp.stack(film)

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    kinds = {
      "pseudo": core.Likelihood(core.PSEUDO, self.pseudo_log_prob),
      "free_energy": core.Likelihood(
        core.UNNORMALIZED, lambda params, buffers, batch, key: -self.energy(params, buffers, batch)
      ),
    }
    if self.hidden <= ENUMERABLE:
      kinds["enumerated"] = core.Likelihood(core.EXACT, self.log_prob)
    return kinds

  def energy(self, params, buffers, batch):
    """F(v) of (1): [B] nats."""
    return free_energy(params["rbm"], _flat(batch["x"]))

  def log_prob(self, params, buffers, batch, key):
    """[B] nats, with Z of (4)."""
    return -self.energy(params, buffers, batch) - log_partition(params["rbm"])

  def pseudo_log_prob(self, params, buffers, batch, key):
    """sum_i log p(v_i | v without i), [B] nats."""
    p, v = params["rbm"], _flat(batch["x"])

    def one(i):
      flipped = v.at[:, i].set(1 - v[:, i])
      return jax.nn.log_sigmoid(free_energy(p, flipped) - free_energy(p, v))

    return jnp.sum(jax.lax.map(one, jnp.arange(v.shape[1])), 0)


def free_energy(p: Weights, v: jax.Array) -> jax.Array:
  """F(v) of (1): [N, D] -> [N]."""
  return -v @ p.b - jnp.sum(jax.nn.softplus(p.c + v @ p.w), -1)


def log_partition(p: Weights) -> jax.Array:
  """log Z by (4), in blocks of the hidden states."""
  hidden = len(p.c)
  block = min(hidden, 12)
  bits = lambda n: jnp.asarray((np.arange(2**n)[:, None] >> np.arange(n)) & 1, jnp.float32)
  low, high = bits(block), bits(hidden - block)

  def one(top):
    h = jnp.concatenate([low, jnp.broadcast_to(top, (len(low), hidden - block))], 1)
    return jax.nn.logsumexp(h @ p.c + jnp.sum(jax.nn.softplus(p.b + h @ p.w.T), 1))

  return jax.nn.logsumexp(jax.lax.map(one, high))


def _bernoulli(keys, logits):
  u = core.draw(keys, jax.random.uniform, logits.shape[1:])
  return (u < jax.nn.sigmoid(logits)).astype(jnp.float32)


def _flat(x):
  return jnp.asarray(x).reshape(len(x), -1)
