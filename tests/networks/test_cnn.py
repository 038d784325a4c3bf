"""Convolutional networks of codes and pictures: how many numbers each place gets."""

import jax
import jax.numpy as jnp
import pytest

from genjax import core
from genjax.networks import autoencoders, cnn

SPEC = core.DataSpec(shape=(4, 6, 1))  # 24 pixels, a grid of 2 x 3 places
WAYS = dict(widths=(4,), blocks=1, spec=SPEC)
NETS = {
  "down": (lambda out: autoencoders.Down(**WAYS, out=out), (1, 4, 6, 1), 6),
  "up": (lambda out: autoencoders.Up(**WAYS, out=out), (1, 2, 3, 5), 24),
  "deconv": (lambda out: cnn.Deconv(widths=(4, 4), groups=2, spec=SPEC, out=out), (1, 5), 24),
}


@pytest.mark.parametrize("name", NETS)
def test_outputs_are_an_equal_share_for_each_place(name):
  make, shape, places = NETS[name]
  x = jnp.ones(shape)
  init = lambda net: jax.eval_shape(net.init_with_output, jax.random.key(0), x)
  out, _ = init(make(2 * places))
  assert out.size == 2 * places
  with pytest.raises(core.UserError, match=rf"{name}: out={places + 1} must be a multiple of"):
    init(make(places + 1))
