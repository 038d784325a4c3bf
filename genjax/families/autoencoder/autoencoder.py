"""Autoencoders: networks that map x to a code z and back to x.

An encoder f and a decoder g are trained to reproduce their input (Rumelhart et al. 1986; Hinton &
Salakhutdinov 2006),

    L = E_x [ error(g(f(x~)), x) ] + penalty,      x~ = x, or a damaged copy of x               (1)

with one of two errors, where g is the output of the decoder:

    mse             mean over dimensions of (g - x)^2, with g in the units of x
    cross_entropy   -sum [ p log S(g) + (1 - p) log(1 - S(g)) ], in nats per example. S is the
                    sigmoid, p = (x - low) / (high - low) is x scaled to [0, 1] by its range

A code as wide as the data could simply copy it. There are four ways to prevent this: make the code
narrower than x; damage the input (`corruption`: Vincent et al. 2010); allow few or only binary
entries in the code (`code`); or add a `penalty`:

    l1           w E sum_j |z_j|                                                                (2)
    kl           w sum_j KL(rho || rho_j), rho_j the mean of z_j over the batch, in (0, 1)      (3)
    contractive  w E ||df/dx||_F^2               Rifai et al. 2011 (ICML, 833), eq. 4           (4)

(3) is the sparsity penalty of Ng 2011 (CS294A notes, section 3). A linear autoencoder finds the
subspace of the principal components (Baldi & Hornik 1989).

greedy = n > 0 first trains the layers of a dense stack one after the other (Bengio et al. 2007).
Each layer is trained for n steps to reproduce the codes of the layers below it, which stay fixed
meanwhile. After that, (1) trains all layers together.

An autoencoder has no `sample`: families/latent/latent.py trains a model of the codes for that.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
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

  def __call__(
    self, encode: Callable[[jax.Array], jax.Array], x: jax.Array, z: jax.Array
  ) -> jax.Array:
    """Returns the penalty of a batch, a scalar; all penalties are called in this way.

    encode: x [B, *event] -> z [B, code], the encoder as it is after training: without noise.
    x: [B, *event], the undamaged data.
    z: [B, code], the codes of this training step, made from the damaged data.
    """
    return jnp.zeros(())


@dataclasses.dataclass(frozen=True, kw_only=True)
class L1:
  """Sum of absolute values, equation (2).

  weight: w.
  """

  weight: core.NonNegative = 1e-4

  def __call__(
    self, encode: Callable[[jax.Array], jax.Array], x: jax.Array, z: jax.Array
  ) -> jax.Array:
    return self.weight * jnp.mean(jnp.sum(jnp.abs(z), axis=-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KL:
  """KL divergence of the mean activations from a small rate, equation (3).

  rate: rho, the mean activation that is aimed at.
  weight: w.

  Raises UserError for a rate that is 0 or 1.
  """

  rate: core.Fraction = 0.1
  weight: core.NonNegative = 1e-3

  def __post_init__(self):
    if not 0 < self.rate < 1:
      raise core.UserError(
        f"penalty.rate={self.rate}: expected a number greater than 0 and less than 1"
      )

  def __call__(
    self, encode: Callable[[jax.Array], jax.Array], x: jax.Array, z: jax.Array
  ) -> jax.Array:
    # Clipped, so that a unit that is always off (or always on) costs a finite amount.
    mean = jnp.clip(jnp.mean(z, axis=0), 1e-6, 1 - 1e-6)
    on = self.rate * jnp.log(self.rate / mean)
    off = (1 - self.rate) * jnp.log((1 - self.rate) / (1 - mean))
    return self.weight * jnp.sum(on + off)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contractive:
  """Squared Frobenius norm of the encoder's Jacobian, equation (4), computed exactly.

  The cost is one derivative for each dimension of x (forward mode) or of z (reverse mode),
  whichever has fewer.

  weight: w.
  """

  weight: core.NonNegative = 1e-3

  def __call__(
    self, encode: Callable[[jax.Array], jax.Array], x: jax.Array, z: jax.Array
  ) -> jax.Array:
    if x[0].size <= z[0].size:
      # Forward mode: from a change of x to the change of z.
      side = x
      derivative = jax.linearize(encode, x)[1]
    else:
      # Reverse mode: from a weighting of z to the gradient by x.
      side = z
      derivative = jax.vjp(encode, x)[1]

    # Unit vectors [D, 1, *side.shape[1:]]. One derivative serves the whole batch, since the encoder
    # treats examples independently.
    basis = jnp.eye(side[0].size, dtype=side.dtype).reshape(-1, 1, *side.shape[1:])
    # `vjp` returns a tuple, hence the norm of a tree.
    square = lambda e: optax.tree.norm(derivative(jnp.broadcast_to(e, side.shape)), squared=True)
    return self.weight * jnp.sum(jax.lax.map(square, basis)) / len(x)


PENALTIES = {"none": Free, "l1": L1, "kl": KL, "contractive": Contractive}
# name -> error of the decoder's output g [B, ...] for x [B, ...] with range (low, high): [B]
LOSSES = {
  "mse": lambda out, x, limits: jnp.mean((_flat(out) - _flat(x)) ** 2, axis=1),
  "cross_entropy": lambda out, x, limits: _cross_entropy(_flat(out), _flat(x), limits),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoencoder:
  """Autoencoder with one parameter group, "autoencoder"; with `greedy`, "layer_0", "layer_1", ...

  codec: the encoder and decoder, a network of autoencoders.py.
  code: the kind of code, a class of codes.py.
  corruption: how the input is damaged in training, a class of corruptions.py.
  penalty: a class in PENALTIES.
  loss: the error of (1), a name in LOSSES.
  greedy: number of steps for each layer alone; 0 trains all layers together from the start.

  Raises UserError for options that do not fit each other or the data.
  """

  spec: core.DataSpec
  codec: core.Codec = autoencoders.Dense()
  code: core.Code = codes.Plain()
  corruption: core.Corruption = corruptions.Clean()
  penalty: core.Penalty = Free()
  loss: str = "mse"
  greedy: core.Count = 0
  pretrained = ()
  # The entries of a code are real numbers, not integers.
  codes = {}
  conditions = ()

  def __post_init__(self):
    if self.loss not in LOSSES:
      raise core.unknown("loss", self.loss, LOSSES)
    if self.loss == "cross_entropy" and not self.spec.range:
      raise core.UserError("loss='cross_entropy' needs data in a range; use loss='mse'")

    if not hasattr(self.codec, "encode"):
      raise core.UserError(
        "codec: this network makes several codes, an autoencoder has one; use it in a 'vqvae2'"
      )
    autoencoders.check_answer(self.codec, self.spec)
    # Only a stack of dense layers can be taken apart.
    several = isinstance(self.codec, autoencoders.Dense) and len(self.codec.widths) > 1
    if self.greedy and not several:
      raise core.UserError("greedy needs codec 'dense' with several widths; use greedy=0")

    if isinstance(self.penalty, KL) and getattr(self.code, "activation", "") != "sigmoid":
      raise core.UserError(
        "penalty 'kl' needs a code between 0 and 1; "
        "use code.name='plain', code.activation='sigmoid'"
      )

  @property
  def stages(self) -> tuple[Any, ...]:
    """The modules, ordered from the data to the code: the whole codec, or its layers."""
    return self.codec.layers() if self.greedy else (self.codec,)

  @property
  def groups(self) -> tuple[str, ...]:
    """The name of the parameter group of each stage."""
    if not self.greedy:
      return ("autoencoder",)
    return tuple(f"layer_{i}" for i in range(len(self.stages)))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """Equation (1) for all layers, after each layer has had its own `greedy` steps."""
    alone = []
    for i, group in enumerate(self.groups * bool(self.greedy)):
      due = core.Between(i * self.greedy, (i + 1) * self.greedy)
      loss = functools.partial(self.layer_loss, i)
      alone.append(core.Objective(group, (group,), loss, due))

    # Without `greedy` the list is empty, and (1) is due from step 0 on.
    due = core.Between(len(alone) * self.greedy, math.inf)
    return (*alone, core.Objective("autoencoder", self.groups, self.whole_loss, due))

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns new or loaded parameters; the moments of the codes lie with the first group."""
    params = {}
    buffers = {}
    h = batch["x"]
    # Each stage is initialised on the output of the stages below it.
    for i, (group, stage) in enumerate(zip(self.groups, self.stages)):
      own = loaded.get(group) or core.init(stage, jax.random.fold_in(key, i), h)
      params[group], buffers[group] = own
      h = self._up(params, buffers, h, i)[0]

    first = self.groups[0]
    if "codes" not in buffers[first]:
      buffers[first] = {**buffers[first], "codes": moments.nothing(h.shape)}
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

  def whole_loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns equation (1), a mean over the batch; logs its two terms."""
    x = batch["x"]
    limits = self.spec.range or (0.0, 1.0)
    n = len(self.stages)
    # Keys for the damage, for each stage of the encoder, and for each stage of the decoder.
    damage, *keys = jax.random.split(key, 2 + 2 * n)

    seen = self.corruption(damage, x, limits)
    z, buffers = self._encode(params, buffers, seen, keys[:n])
    out, buffers = self._decode(params, buffers, z, keys[n:])
    error = jnp.mean(LOSSES[self.loss](out, x, limits))

    # The penalty is on the code, and may differentiate the encoder at the undamaged x.
    encode = lambda x: self._encode(params, buffers, x)[0]
    penalty = self.penalty(encode, x, z)
    buffers = moments.seen(buffers, self.groups[0], z)
    return error + penalty, (buffers, {"error": error, "penalty": penalty})

  def layer_loss(
    self,
    i: int,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns the error of layer i alone, whose data are the codes h of the layers below it.

    There is no penalty. The error is `loss` for layer 0, and "mse" for all others.
    """
    h = batch["x"]
    damage, up, down = jax.random.split(key, 3)
    # The layers below do not change, and see undamaged data.
    for j in range(i):
      h, _ = self._up(params, buffers, h, j)

    # A hidden code has no known range: the range of the batch takes its place.
    limits = (self.spec.range or (0.0, 1.0)) if i == 0 else (jnp.min(h), jnp.max(h))
    seen = self.corruption(damage, h, limits)
    z, buffers = self._up(params, buffers, seen, i, key=up, train=True)

    stage = self.stages[i]
    group = self.groups[i]
    out, buffers = core.call(
      stage, group, params, buffers, z, train=True, key=down, method="decode"
    )
    error = jnp.mean(LOSSES["mse" if i else self.loss](out, h, limits))
    return error, (buffers, {})

  def encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the codes [N, code] of x [N, *event]."""
    return self._encode(params, buffers, x)[0]

  def decode(
    self, params: core.Params, buffers: core.Buffers, z: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns the data [N, *event] that the codes z [N, code] stand for, in the units of x."""
    out = self._decode(params, buffers, z)[0].reshape(len(z), *self.spec.shape)
    if self.loss == "mse":
      return out
    # The decoder gives logits, see the cross-entropy.
    low, high = self.spec.range
    return low + (high - low) * jax.nn.sigmoid(out)

  def reconstruct(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns x [N, *event], which may be damaged, after encoding and decoding."""
    return self.decode(params, buffers, self.encode(params, buffers, x))

  def _encode(
    self,
    params: core.Params,
    buffers: core.Buffers,
    h: jax.Array,
    keys: Sequence[jax.Array] = (),
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (z [N, code], buffers) for h [N, *event].

    keys: one for each stage, in training; none otherwise.
    """
    for i in range(len(self.stages)):
      training = dict(key=keys[i], train=True) if keys else {}
      h, buffers = self._up(params, buffers, h, i, **training)
    return h, buffers

  def _up(
    self, params: core.Params, buffers: core.Buffers, h: jax.Array, i: int, **training: Any
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (output of encoder stage i, buffers); the last stage applies `code` as well."""
    args = self.stages[i], self.groups[i], params, buffers, h
    h, buffers = core.call(*args, method="encode", **training)
    if i < len(self.stages) - 1:
      return h, buffers

    # `core.call` has used the key itself for dropout.
    key = training.get("key")
    return self.code(h, None if key is None else jax.random.fold_in(key, 1)), buffers

  def _decode(
    self,
    params: core.Params,
    buffers: core.Buffers,
    z: jax.Array,
    keys: Sequence[jax.Array] = (),
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (the decoder's output g of z [N, code], buffers); keys as in `_encode`."""
    for i in reversed(range(len(self.stages))):
      training = dict(key=keys[i], train=True) if keys else {}
      args = self.stages[i], self.groups[i], params, buffers, z
      z, buffers = core.call(*args, method="decode", **training)
    return z, buffers


def _cross_entropy(logits: jax.Array, x: jax.Array, limits: tuple[float, float]) -> jax.Array:
  """Returns the cross-entropy of x [B, D], scaled to [0, 1], under logits [B, D]: [B] nats."""
  low, high = limits
  share = (x - low) / (high - low)
  # log(1 - S(l)) = -softplus(l) and log S(l) = l - softplus(l), without overflow.
  return jnp.sum(jax.nn.softplus(logits) - share * logits, axis=1)


def _flat(a: jax.Array) -> jax.Array:
  """Returns a [B, ...] as [B, D]."""
  return a.reshape(len(a), -1)
