"""The multilayer perceptron, for points, flattened images and codes, with time and conditions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import attention, conditioning, embeddings

ACTIVATIONS = {
  "elu": nn.elu,
  "gelu": nn.gelu,
  "leaky_relu": lambda x: nn.leaky_relu(x, 0.2),
  "relu": nn.relu,
  "sigmoid": nn.sigmoid,
  "silu": nn.silu,
  "softplus": nn.softplus,
  "tanh": nn.tanh,
}


def check_activation(name: str) -> None:
  """core.UserError unless there is one of this name."""
  if name not in ACTIVATIONS:
    raise core.unknown("activation", name, ACTIVATIONS)


def activate(name: str, x: jax.Array) -> jax.Array:
  """By the activation of this name; as it is for ""."""
  return ACTIVATIONS[name](x) if name else x


class MLP(nn.Module):
  """net(x, t, cond, train): x [B, *event], flattened -> x's shape, or [B, out].

  cond["beside"] [B, ...], where present, is one more part of the input.

  widths: of the hidden layers.
  activation: a name of ACTIVATIONS.
  batch_norm: normalise each hidden layer over the batch (collection "batch_stats").
  out: number of outputs; 0 returns x's shape.
  time_width: number of sinusoids of t [B] beside x in the input, even; unused without t.
  conditions: the fields it is told, see layers/conditioning.py: a vector is added to the first
    layer, channels are more inputs, tokens are attended to after each hidden layer.
  dtype: of the computation; parameters, norms and the result are float32.
  spec: what the data is; needed where there are conditions.
  """

  widths: tuple[core.Size, ...] = (128, 128, 128)
  activation: str = "silu"
  batch_norm: bool = False
  out: core.Count = 0
  time_width: core.Size = 64
  conditions: tuple[str, ...] = ()
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    check_activation(self.activation)
    hidden = conditioning.WAYS if self.widths else ("channels", "values")
    conditioning.check("mlp", self.conditions, self.spec, hidden)

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    t: jax.Array | None = None,
    cond: dict[str, Any] | None = None,
    train: bool = False,
  ) -> jax.Array:
    h = x.reshape(len(x), -1)
    size = h.shape[-1]
    first = self.widths[0] if self.widths else 0
    told = conditioning.hear(self, cond, len(x), first, first, label="LabelEmbedding_0")
    h = conditioning.join(embeddings.beside(h, cond), told.channels)
    if t is not None:
      h = jnp.concatenate([h, embeddings.sinusoids(t, self.time_width)], axis=-1)
    for i, width in enumerate(self.widths):
      h = nn.Dense(width, dtype=self.dtype)(h)
      if i == 0 and told.vector is not None:
        h += told.vector
      if self.batch_norm:
        h = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=jnp.float32)(h)
      h = ACTIVATIONS[self.activation](h)
      if told.tokens is not None:
        h += attention.Look(heads=1, dtype=self.dtype)(h[:, None], told.tokens, told.seen)[:, 0]
    h = nn.Dense(self.out or size)(h)
    return h if self.out else h.reshape(x.shape)
