"""Restricted Boltzmann machine (Smolensky 1986), by persistent contrastive divergence.

Visible units v in {0, 1}^D and hidden units h in {0, 1}^H; F is the free energy of v.

    p(v) = exp(-F(v)) / Z,   F(v) = -b.v - sum_j softplus(c_j + (v W)_j)                     (1)
    p(h_j = 1 | v) = sigmoid(c_j + (v W)_j),   p(v_i = 1 | h) = sigmoid(b_i + (W h)_i)       (2)

The mean negative log-likelihood has the same gradient as

    L = mean F(data) - mean F(chain),   chain ~ p(v) held fixed                              (3)

(Tieleman 2008). The chains move a few Gibbs sweeps (2) at each training step and are never
restarted: they are free state in the buffers.

There are three likelihoods: the exact one, for so few hidden units that Z can be summed over all
their states,

    Z = sum_h exp(c.h + sum_i softplus(b_i + (W h)_i))                                       (4)

the pseudo-likelihood sum_i log p(v_i | all other v), and -F(v), which is not normalized.
"""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core

# Up to this many hidden units, Z of (4) is summed: 2^20 states.
ENUMERABLE = 20


class Weights(NamedTuple):
  """The parameters of the machine.

  w: [D, H], between visible and hidden units.
  b: [D], biases of the visible units.
  c: [H], biases of the hidden units.
  """

  w: jax.Array
  b: jax.Array
  c: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class RBM:
  """Restricted Boltzmann machine with one parameter group, "rbm", a `Weights`.

  The persistent chains are free state: buffers["chains"] [chains, D].

  hidden: number of hidden units, H.
  chains: number of persistent chains.
  gibbs: Gibbs sweeps of each chain at each training step.
  sweeps: Gibbs sweeps from random bits to a sample.

  Raises UserError for data that are not binary.
  """

  spec: core.DataSpec
  hidden: core.Size = 16
  chains: core.Size = 64
  gibbs: core.Size = 1
  sweeps: core.Size = 1000
  pretrained = ()
  # Fields that may be changed after training.
  view = ("sweeps",)
  conditions = ()

  def __post_init__(self):
    if self.spec.levels != 2 or self.spec.range != (0.0, 1.0):
      raise core.UserError("an RBM models binary data; set data.binarize or choose binary data")

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """One objective: contrastive divergence, equation (3)."""
    return (core.Objective("rbm", ("rbm",), self.loss),)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns small random weights, or loaded ones, and chains of random bits."""
    keys = jax.random.split(key)
    v = _flat(batch["x"])

    # Visible biases start at the logits of the mean of the data (Hinton 2012, section 8.1).
    mean = jnp.clip(jnp.mean(v, 0), 0.05, 0.95)
    w = 0.01 * jax.random.normal(keys[0], (v.shape[1], self.hidden))
    start = Weights(w, jnp.log(mean / (1 - mean)), jnp.zeros(self.hidden)), {}
    weights, own = loaded.get("rbm") or start

    chains = jax.random.bernoulli(keys[1], shape=(self.chains, v.shape[1])).astype(jnp.float32)
    return {"rbm": weights}, {"rbm": own, "chains": chains}

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Changes nothing: the chains move in `loss`."""
    return params, buffers, {}

  def loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns equation (3), after the chains have moved; logs the mean F of the data."""
    p = params["rbm"]
    keys = jax.random.split(key, self.chains)
    # No gradient passes through the chains: they are samples, held fixed in (3).
    chains = self._gibbs(jax.lax.stop_gradient(p), buffers["chains"], keys, 0, self.gibbs)

    data = jnp.mean(free_energy(p, _flat(batch["x"])))
    model = jnp.mean(free_energy(p, chains))
    return data - model, ({**buffers, "chains": chains}, {"data_energy": data})

  def _gibbs(self, p: Weights, v: jax.Array, keys: jax.Array, first: int, last: int) -> jax.Array:
    """Returns v [N, D] after the sweeps numbered first ... last - 1 of (2).

    Chain i draws from keys[i] alone, so it does not depend on the other chains.
    """

    def sweep(i, v):
      # Number 0 is left for the start of a chain, see `trajectory`.
      now = jax.vmap(jax.random.fold_in, (0, None))(keys, i + 1)
      h_key, v_key = jnp.unstack(jax.vmap(jax.random.split)(now), axis=1)
      h = _bernoulli(h_key, p.c + v @ p.w)
      return _bernoulli(v_key, p.b + h @ p.w.T)

    return jax.lax.fori_loop(first, last, sweep, v)

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event] in {0, 1}: for each of keys [N], a new chain of `sweeps` sweeps."""
    return self.trajectory(params, buffers, keys, cond, 1)[-1]

  def trajectory(
    self,
    params: core.Params,
    buffers: core.Buffers,
    keys: jax.Array,
    cond: core.Batch,
    frames: int,
  ) -> jax.Array:
    """Returns the chains of `sample` at `frames` equally spaced sweeps, [frames, N, *event]."""
    p = params["rbm"]

    # Logits of 0: each chain starts from fair coins.
    start = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
    v = _bernoulli(start, jnp.zeros((len(keys), len(p.b))))

    film = []
    ends = [self.sweeps * frame // frames for frame in range(frames + 1)]
    for first, last in itertools.pairwise(ends):
      v = self._gibbs(p, v, keys, first, last)
      film.append(v.reshape(len(keys), *self.spec.shape))
    return jnp.stack(film)

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """The likelihoods "pseudo", "free_energy" and, for few hidden units, "enumerated"."""
    kinds = {
      "pseudo": core.Likelihood(core.PSEUDO, self.pseudo_log_prob),
      "free_energy": core.Likelihood(
        core.UNNORMALIZED, lambda params, buffers, batch, key: -self.energy(params, buffers, batch)
      ),
    }
    if self.hidden <= ENUMERABLE:
      kinds["enumerated"] = core.Likelihood(core.EXACT, self.log_prob)
    return kinds

  def energy(self, params: core.Params, buffers: core.Buffers, batch: core.Batch) -> jax.Array:
    """Returns F(v) of equation (1), [B] nats."""
    return free_energy(params["rbm"], _flat(batch["x"]))

  def log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns log p(v) of equation (1) with Z of (4), [B] nats."""
    return -self.energy(params, buffers, batch) - log_partition(params["rbm"])

  def pseudo_log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns the pseudo-likelihood sum_i log p(v_i | all other v), [B] nats."""
    p = params["rbm"]
    v = _flat(batch["x"])

    def one(i):
      # Z cancels: only v and v with unit i flipped have the same other units.
      flipped = v.at[:, i].set(1 - v[:, i])
      return jax.nn.log_sigmoid(free_energy(p, flipped) - free_energy(p, v))

    return jnp.sum(jax.lax.map(one, jnp.arange(v.shape[1])), 0)


def free_energy(p: Weights, v: jax.Array) -> jax.Array:
  """Returns F(v) of equation (1) for v [N, D]: [N] nats."""
  return -v @ p.b - jnp.sum(jax.nn.softplus(p.c + v @ p.w), -1)


def log_partition(p: Weights) -> jax.Array:
  """Returns log Z of equation (4), a scalar."""
  hidden = len(p.c)
  # Up to 2^12 states are summed at a time, so that memory stays small: all states of the first
  # units, once for each state of the others.
  block = min(hidden, 12)
  bits = lambda n: jnp.asarray((np.arange(2**n)[:, None] >> np.arange(n)) & 1, jnp.float32)
  low = bits(block)  # [2^block, block]
  high = bits(hidden - block)

  def one(top):
    h = jnp.concatenate([low, jnp.broadcast_to(top, (len(low), hidden - block))], 1)
    return jax.nn.logsumexp(h @ p.c + jnp.sum(jax.nn.softplus(p.b + h @ p.w.T), 1))

  return jax.nn.logsumexp(jax.lax.map(one, high))


def _bernoulli(keys: jax.Array, logits: jax.Array) -> jax.Array:
  """Draws bits [N, D], as float32, with logits [N, D]; row i uses keys[i] alone."""
  u = core.draw(keys, jax.random.uniform, logits.shape[1:])
  return (u < jax.nn.sigmoid(logits)).astype(jnp.float32)


def _flat(x: jax.Array) -> jax.Array:
  """Returns x [B, *event] as [B, D]."""
  return jnp.asarray(x).reshape(len(x), -1)
