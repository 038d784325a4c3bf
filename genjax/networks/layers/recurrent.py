"""Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gates (Gers et al. 2000).

    i, f, g, o = W x_t + U h_{t-1} + b
    c_t = S(f) c_{t-1} + S(i) tanh(g),   h_t = S(o) tanh(c_t),   S the logistic function        (1)

A new one remembers: b is 1 for f, 0 otherwise (Jozefowicz et al. 2015, ICML, section 3.2), and U is
orthogonal. W x of all times is one product.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core


class LSTM(nn.Module):
  """x [B, T, D] -> h [B, T, width], float32, by (1) from c = h = 0.

  width: of the state. dtype: of the products.
  """

  width: core.Size
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    glorot, square = nn.initializers.glorot_uniform(), nn.initializers.orthogonal()
    kernel = self.param("kernel", glorot, (x.shape[-1], 4 * self.width)).astype(self.dtype)
    back = self.param("recurrent", square, (self.width, 4 * self.width)).astype(self.dtype)
    bias = self.param("bias", _remember, (4 * self.width,))

    def step(state, now):
      c, h = state
      gates = now + (h.astype(self.dtype) @ back).astype(jnp.float32)
      i, f, g, o = jnp.split(gates, 4, axis=-1)
      c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
      h = nn.sigmoid(o) * jnp.tanh(c)
      return (c, h), h

    into = (x.astype(self.dtype) @ kernel).astype(jnp.float32) + bias
    start = jnp.zeros((len(x), self.width))
    _, h = jax.lax.scan(step, (start, start), jnp.moveaxis(into, 1, 0))
    return jnp.moveaxis(h, 0, 1)


def _remember(key: jax.Array, shape: tuple[int], dtype: Any = jnp.float32) -> jax.Array:
  width = shape[0] // 4
  return jnp.zeros(shape, dtype).at[width : 2 * width].set(1.0)
