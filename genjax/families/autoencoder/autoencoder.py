"""Autoencoders: x to a code z and back, with what keeps the code from being a copy.

An encoder f and a decoder g are trained to give back what went in (Rumelhart et al. 1986; Hinton &
Salakhutdinov 2006),

    L = E_x [ error(g(f(x~)), x) ] + penalty,      x~ = x, or a damaged copy                    (1)

    loss      mse             mean over dimensions of |g - x|^2, in the units of x
              cross_entropy   -sum [ p log S(g) + (1 - p) log(1 - S(g)) ], nats per example, where p
                              is x as a share of its range and S(g) the probability of its end

A code as wide as the data needs more than (1). It may be narrower; noisier (`corruption`: Vincent
et al. 2010); made of few or of binary entries (`code`); or pay a `penalty`:

    l1           w E sum_j |z_j|                                                                (2)
    kl           w sum_j KL(rho || rho_j), rho_j the mean of z_j over the batch, in (0, 1)      (3)
    contractive  w E ||df/dx||_F^2               Rifai et al. 2011 (ICML, 833), eq. 4           (4)

(3) is that of Ng 2011 (CS294A notes, section 3). A linear autoencoder finds the subspace of the
principal components (Baldi & Hornik 1989).

greedy = n > 0 trains the layers of a dense stack one after the other (Bengio et al. 2007), each for
n steps on the codes of those below, which no longer move, with the error of those codes; then all
of them by (1). There is no `sample`: what a code is drawn from is families/latent.py's to learn.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from genjax import core
from genjax.families import moments
from genjax.families.autoencoder import codes
from genjax.networks import autoencoders
from genjax.processes import corruptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Free:
  """No penalty."""

  def __call__(self, encode, x: jax.Array, z: jax.Array) -> jax.Array:
    """encode: x [B, *event] -> z [B, code]; a number."""
    return jnp.zeros(())


@dataclasses.dataclass(frozen=True, kw_only=True)
class L1:
  """Equation (2). weight: w."""

  weight: core.NonNegative = 1e-4

  def __call__(self, encode, x: jax.Array, z: jax.Array) -> jax.Array:
    return self.weight * jnp.mean(jnp.sum(jnp.abs(z), axis=-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KL:
  """Equation (3). rate: rho; weight: w."""

  rate: core.Fraction = 0.1
  weight: core.NonNegative = 1e-3

  def __post_init__(self):
    if not 0 < self.rate < 1:
      raise core.UserError(f"penalty.rate={self.rate}: expected a number between 0 and 1")

  def __call__(self, encode, x: jax.Array, z: jax.Array) -> jax.Array:
    mean = jnp.clip(jnp.mean(z, axis=0), 1e-6, 1 - 1e-6)
    on = self.rate * jnp.log(self.rate / mean)
    off = (1 - self.rate) * jnp.log((1 - self.rate) / (1 - mean))
    return self.weight * jnp.sum(on + off)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contractive:
  """Equation (4), exactly: a forward derivative for each dimension of x, or, where the code has
  fewer, a backward one for each of those. weight: w."""

  weight: core.NonNegative = 1e-3

  def __call__(self, encode, x: jax.Array, z: jax.Array) -> jax.Array:
    if x[0].size <= z[0].size:
      side, derivative = x, jax.linearize(encode, x)[1]
    else:
      side, derivative = z, jax.vjp(encode, x)[1]
    basis = jnp.eye(side[0].size, dtype=side.dtype).reshape(-1, 1, *side.shape[1:])
    square = lambda e: optax.tree.norm(derivative(jnp.broadcast_to(e, side.shape)), squared=True)
    return self.weight * jnp.sum(jax.lax.map(square, basis)) / len(x)


PENALTIES = {"none": Free, "l1": L1, "kl": KL, "contractive": Contractive}
# name: (answer g [B, ...], x [B, ...], (low, high) of x) -> [B]
LOSSES = {
  "mse": lambda out, x, limits: jnp.mean((_flat(out) - _flat(x)) ** 2, axis=1),
  "cross_entropy": lambda out, x, limits: _cross_entropy(_flat(out), _flat(x), limits),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoencoder:
  """One group, "autoencoder"; with `greedy`, the groups "layer_0", "layer_1", ....

  codec: the network, of autoencoders.py. code: of codes.py. corruption: of corruptions.py.
  loss: a name in LOSSES. penalty: of PENALTIES.
  greedy: steps for each layer alone, 0 to train all at once.
  Raises UserError for what does not fit together.
  """

  spec: core.DataSpec
  codec: core.Codec = autoencoders.Dense()
  code: core.Code = codes.Plain()
  corruption: core.Corruption = corruptions.Clean()
  penalty: core.Penalty = Free()
  loss: str = "mse"
  greedy: core.Count = 0
  pretrained = ()
  codes = {}  # real numbers
  conditions = ()

  def __post_init__(self):
    if self.loss not in LOSSES:
      raise core.unknown("loss", self.loss, LOSSES)
    if self.loss == "cross_entropy" and not self.spec.range:
      raise core.UserError("loss='cross_entropy' needs data in a range; use 'mse'")
    if not hasattr(self.codec, "encode"):
      raise core.UserError("codec: it has several codes; use it in a 'vqvae2'")
    autoencoders.check_answer(self.codec, self.spec)
    several = isinstance(self.codec, autoencoders.Dense) and len(self.codec.widths) > 1
    if self.greedy and not several:
      raise core.UserError("greedy needs codec 'dense' with several widths; use greedy=0")
    if isinstance(self.penalty, KL) and getattr(self.code, "activation", "") != "sigmoid":
      raise core.UserError(
        "penalty 'kl' is of rates; use code.name='plain', code.activation='sigmoid'"
      )

  @property
  def stages(self) -> tuple[Any, ...]:
    """The modules, from the data to the code."""
    return self.codec.layers() if self.greedy else (self.codec,)

  @property
  def groups(self) -> tuple[str, ...]:
    return tuple(f"layer_{i}" for i in range(len(self.stages))) if self.greedy else ("autoencoder",)

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """All at once, or each layer in its time, then all."""
    alone = []
    for i, group in enumerate(self.groups * bool(self.greedy)):
      due = core.between(i * self.greedy, (i + 1) * self.greedy)
      alone.append(core.Objective(group, (group,), functools.partial(self.layer_loss, i), due))
    due = core.between(len(alone) * self.greedy, math.inf)
    return (*alone, core.Objective("autoencoder", self.groups, self.whole_loss, due))

  def init(self, key, batch, loaded):
    params, buffers, h = {}, {}, batch["x"]
    for i, (group, stage) in enumerate(zip(self.groups, self.stages)):
      own = loaded.get(group) or core.init(stage, jax.random.fold_in(key, i), h)
      params[group], buffers[group] = own
      h = self._up(params, buffers, h, i)[0]
    first = self.groups[0]
    if "codes" not in buffers[first]:
      buffers[first] = {**buffers[first], "codes": moments.nothing(h.shape)}
    return params, buffers

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def whole_loss(self, params, buffers, batch, key, step):
    """Equation (1), mean over the batch."""
    x, limits = batch["x"], self.spec.range or (0.0, 1.0)
    damage, *keys = jax.random.split(key, 2 + 2 * len(self.stages))
    seen = self.corruption(damage, x, limits)
    z, buffers = self._encode(params, buffers, seen, keys[: len(self.stages)])
    out, buffers = self._decode(params, buffers, z, keys[len(self.stages) :])
    error = jnp.mean(LOSSES[self.loss](out, x, limits))
    encode = lambda x: self._encode(params, buffers, x)[0]
    penalty = self.penalty(encode, x, z)
    buffers = moments.seen(buffers, self.groups[0], z)
    return error + penalty, (buffers, {"error": error, "penalty": penalty})

  def layer_loss(self, i, params, buffers, batch, key, step):
    """The same of one layer, of what those below make of x."""
    h, (damage, up, down) = batch["x"], jax.random.split(key, 3)
    for j in range(i):
      h, _ = self._up(params, buffers, h, j)
    limits = (self.spec.range or (0.0, 1.0)) if i == 0 else (jnp.min(h), jnp.max(h))
    seen = self.corruption(damage, h, limits)
    z, buffers = self._up(params, buffers, seen, i, key=up, train=True)
    stage, group = self.stages[i], self.groups[i]
    out, buffers = core.call(
      stage, group, params, buffers, z, train=True, key=down, method="decode"
    )
    error = jnp.mean(LOSSES["mse" if i else self.loss](out, h, limits))
    return error, (buffers, {})

  def encode(self, params, buffers, x, cond=None):
    """x [N, *event] -> its code [N, code]."""
    return self._encode(params, buffers, x)[0]

  def decode(self, params, buffers, z, cond=None):
    """Codes [N, code] -> [N, *event] in the units of x."""
    out = self._decode(params, buffers, z)[0].reshape(len(z), *self.spec.shape)
    if self.loss == "mse":
      return out
    low, high = self.spec.range
    return low + (high - low) * jax.nn.sigmoid(out)

  def reconstruct(self, params, buffers, x, cond=None):
    """x [N, *event], or a damaged copy, there and back."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _encode(self, params, buffers, h, keys=()):
    """(z, buffers); with one key for each stage, as in training."""
    for i in range(len(self.stages)):
      training = dict(key=keys[i], train=True) if keys else {}
      h, buffers = self._up(params, buffers, h, i, **training)
    return h, buffers

  def _up(self, params, buffers, h, i, **training):
    """Through stage i; the last one's code is made what it has to be."""
    args = self.stages[i], self.groups[i], params, buffers, h
    h, buffers = core.call(*args, method="encode", **training)
    if i < len(self.stages) - 1:
      return h, buffers
    key = training.get("key")
    return self.code(h, None if key is None else jax.random.fold_in(key, 1)), buffers

  def _decode(self, params, buffers, z, keys=()):
    for i in reversed(range(len(self.stages))):
      training = dict(key=keys[i], train=True) if keys else {}
      args = self.stages[i], self.groups[i], params, buffers, z
      z, buffers = core.call(*args, method="decode", **training)
    return z, buffers


def _cross_entropy(logits, x, limits):
  low, high = limits
  share = (x - low) / (high - low)
  return jnp.sum(jax.nn.softplus(logits) - share * logits, axis=1)


def _flat(a):
  return a.reshape(len(a), -1)
