"""networks/layers/recurrent.py against flax's cell, which keeps a matrix for each gate."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from genjax.networks.layers import recurrent

X = jax.random.normal(jax.random.key(0), (3, 7, 4))


def test_lstm_is_flaxs():
  ours, theirs = recurrent.LSTM(5), nn.RNN(nn.LSTMCell(5))
  params = ours.init(jax.random.key(1), X)["params"]
  params["bias"] = jax.random.normal(jax.random.key(2), (20,))
  parts = {name: jnp.split(p, 4, axis=-1) for name, p in params.items()}
  cell = {}
  for k, gate in enumerate("ifgo"):
    cell[f"i{gate}"] = {"kernel": parts["kernel"][k]}
    cell[f"h{gate}"] = {"kernel": parts["recurrent"][k], "bias": parts["bias"][k]}
  chex.assert_trees_all_close(
    ours.apply({"params": params}, X), theirs.apply({"params": {"cell": cell}}, X), atol=1e-6
  )


def test_a_new_lstm_remembers():
  """Only its forget gate is biased, and what it hands on keeps its length."""
  params = recurrent.LSTM(5).init(jax.random.key(1), X)["params"]
  np.testing.assert_array_equal(params["bias"], np.repeat([0.0, 1.0, 0.0, 0.0], 5))
  back = params["recurrent"]
  np.testing.assert_allclose(back @ back.T, np.eye(5), atol=1e-5)


def test_the_future_does_not_change_the_past():
  net = recurrent.LSTM(5)
  params = net.init(jax.random.key(1), X)
  other = X.at[:, 4:].add(1.0)
  h, again = net.apply(params, X), net.apply(params, other)
  np.testing.assert_array_equal(h[:, :4], again[:, :4])
  assert bool(jnp.all(h[:, 4] != again[:, 4]))
