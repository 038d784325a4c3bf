"""The multilayer perceptron for points, flattened images and codes, with time and conditions."""

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
  """Raises UserError unless `name` is in ACTIVATIONS."""
  if name not in ACTIVATIONS:
    raise core.unknown("activation", name, ACTIVATIONS)


def activate(name: str, x: jax.Array) -> jax.Array:
  """Applies the activation `name`; "" returns x unchanged."""
  return ACTIVATIONS[name](x) if name else x


class MLP(nn.Module):
  """net(x, t, cond, train): x [B, *event], flattened -> the shape of x, or [B, out].

  If there is a cond["beside"] [B, ...], it is flattened too and joined to the input.

  widths: widths of the hidden layers.
  activation: a name in ACTIVATIONS.
  batch_norm: whether each hidden layer is normalised over the batch (collection "batch_stats").
  out: number of outputs; 0 returns the shape of x.
  time_width: number of sinusoids of t [B] that are joined to the input, even; unused without t.
  conditions: the fields that it is told, see layers/conditioning.py. Vectors are added to the first
    layer, channels are more inputs, tokens are attended to after each hidden layer.
  dtype: type of the computation; parameters, norms and the result are float32.
  spec: the data; needed where there are conditions.

  Raises UserError for an unknown activation or a condition that it cannot be told.
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

    # Vectors and tokens enter at a hidden layer.
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
    h = x.reshape(len(x), -1)  # [B, D]
    size = h.shape[-1]

    # The input: x, what lies beside it, and time.
    first = self.widths[0] if self.widths else 0
    told = conditioning.hear(self, cond, len(x), first, first, label="LabelEmbedding_0")
    h = conditioning.join(embeddings.beside(h, cond), told.channels)
    if t is not None:
      time = embeddings.sinusoids(t, self.time_width)
      h = jnp.concatenate([h, time], axis=-1)

    for i, width in enumerate(self.widths):
      h = nn.Dense(width, dtype=self.dtype)(h)
      if i == 0 and told.vector is not None:
        h += told.vector
      if self.batch_norm:
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=jnp.float32)
        h = norm(h)
      h = ACTIVATIONS[self.activation](h)

      # The hidden layer attends to the tokens as a sequence of one place.
      if told.tokens is not None:
        look = attention.Look(heads=1, dtype=self.dtype)
        h += look(h[:, None], told.tokens, told.seen)[:, 0]

    h = nn.Dense(self.out or size)(h)
    return h if self.out else h.reshape(x.shape)
