"""Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gates (Gers et al. 2000).

    i, f, g, o = W x_t + U h_{t-1} + b
    c_t = S(f) c_{t-1} + S(i) tanh(g),   h_t = S(o) tanh(c_t),   S the logistic function        (1)

A new network tends to remember: b starts at 1 for the forget gate f and at 0 for the other gates
(Jozefowicz et al. 2015, ICML, section 3.2). U, one matrix for the four gates, starts orthogonal.
W x_t of all times is computed in one matrix product.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core


class LSTM(nn.Module):
  """A sequence x [B, T, D] -> the states h [B, T, width], float32, by (1) from c = h = 0.

  width: size of the state.
  dtype: type of the matrix products; gates and states are float32.
  """

  width: core.Size
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    glorot = nn.initializers.glorot_uniform()
    square = nn.initializers.orthogonal()
    size = 4 * self.width

    # W, U and b of (1).
    kernel = self.param("kernel", glorot, (x.shape[-1], size)).astype(self.dtype)
    back = self.param("recurrent", square, (self.width, size)).astype(self.dtype)
    bias = self.param("bias", _remember, (size,))

    def step(state, now):  # eq. 1; now: W x_t + b
      c, h = state
      gates = now + (h.astype(self.dtype) @ back).astype(jnp.float32)
      i, f, g, o = jnp.split(gates, 4, axis=-1)

      c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
      h = nn.sigmoid(o) * jnp.tanh(c)
      return (c, h), h

    into = (x.astype(self.dtype) @ kernel).astype(jnp.float32) + bias  # [B, T, 4 width]
    start = jnp.zeros((len(x), self.width))

    # `scan` runs over the first axis, so time comes first inside.
    _, h = jax.lax.scan(step, (start, start), jnp.moveaxis(into, 1, 0))
    return jnp.moveaxis(h, 0, 1)


def _remember(key: jax.Array, shape: tuple[int], dtype: Any = jnp.float32) -> jax.Array:
  """Returns an initial bias [4 width]: 1 for the forget gate, the second of four, 0 otherwise."""
  width = shape[0] // 4
  return jnp.zeros(shape, dtype).at[width : 2 * width].set(1.0)
