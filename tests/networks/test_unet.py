"""The U-Net: parity with an independent implementation, and what must hold for any weights."""

import functools
import math
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from genjax import core
from genjax.networks import unet
from genjax.networks.layers import attention, convolution

KEY = jax.random.key(0)
TINY = dict(channels=(4,), attention=(True,), layers=1, groups=2, head_dim=4)
TWO_LEVELS = dict(channels=(4, 4), attention=(False, False))


@functools.partial(jax.jit, static_argnums=0)
def apply(net, params, *args):
  return net.apply(params, *args)


def build(*args, **fields):
  """Returns a tiny network with random weights.

  A new network has zeros in some layers, which would hide errors in the layers before them.
  """
  net = unet.UNet(**{**TINY, **fields})
  rng = np.random.default_rng(0)
  draw = lambda a: jnp.asarray(0.3 * rng.standard_normal(a.shape), jnp.float32)
  return net, jax.tree.map(draw, jax.eval_shape(net.init, KEY, *args))


def inputs(*shape):
  x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
  return jnp.asarray(x), jnp.linspace(0, 999.0, shape[0])


# The name in diffusers of each layer of ours.
RENAMED = {
  "query": "to_q",
  "key": "to_k",
  "value": "to_v",
  "out": "to_out.0",
  "norm": "group_norm",
  "time": "time_emb_proj",
  "skip": "conv_shortcut",
}
TOP = {
  "stem": "conv_in",
  "norm": "conv_norm_out",
  "out": "conv_out",
  "time/Dense_0": "time_embedding.linear_1",
  "time/Dense_1": "time_embedding.linear_2",
}


def foreign_name(path, levels=3):
  """Translates the path of a parameter into its name in diffusers.

  Example: down1_0/conv1/kernel -> down_blocks.1.resnets.0.conv1.weight.
  """
  *path, leaf = path
  leaf = "bias" if leaf == "bias" else "weight"
  if "/".join(path) in TOP:
    return f"{TOP['/'.join(path)]}.{leaf}"
  place, index, *of_attention = path[0].split("_")
  level = int(place[-1]) if place != "middle" else 0
  block = {
    "down": f"down_blocks.{level}",
    "up": f"up_blocks.{levels - 1 - level}",
    "middle": "mid_block",
  }[place.rstrip("0123456789")]
  if index in ("half", "double"):
    return f"{block}.{'down' if index == 'half' else 'up'}samplers.0.conv.{leaf}"
  kind = "attentions" if of_attention else "resnets"
  return f"{block}.{kind}.{index}.{RENAMED.get(path[1], path[1])}.{leaf}"


def draw(name, shape):
  """Draws the weights of a name as golden/make_unet2d.py does.

  They are moved from torch's layout (outputs first) to that of flax (outputs last).
  """
  foreign = shape[-1:] + shape[-2:-1] + shape[:-2]
  values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(foreign)
  fan_in = math.prod(foreign[1:]) if len(shape) > 1 else 10
  is_scale = "norm" in name and name.endswith("weight")
  values = (is_scale + values / math.sqrt(fan_in)).astype(np.float32)
  return values.transpose({1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[len(shape)])


@pytest.mark.slow
def test_equals_diffusers_unet2d():
  golden = np.load(pathlib.Path(__file__).parents[1] / "golden" / "unet2d.npz")
  net = unet.UNet()
  shapes = jax.eval_shape(net.init, KEY, golden["x"], golden["t"])
  assert sum(a.size for a in jax.tree.leaves(shapes)) == 4_023_233
  named = lambda path, a: draw(foreign_name([k.key for k in path[1:]]), a.shape)
  params = jax.tree_util.tree_map_with_path(named, shapes)
  y = jax.jit(net.apply)(params, golden["x"], golden["t"])
  np.testing.assert_allclose(y, golden["y"], atol=1e-4 * np.abs(golden["y"]).max())


@pytest.mark.slow
def test_any_size_keeps_its_shape():
  t = jax.ShapeDtypeStruct((2,), jnp.float32)
  net = unet.UNet(**{**TINY, **TWO_LEVELS}, patch=2)
  params = jax.eval_shape(net.init, KEY, *inputs(2, 8, 8, 1))
  for size in range(1, 34):
    shape = (2, size, 34 - size, 1)
    y = jax.eval_shape(net.apply, params, jax.ShapeDtypeStruct(shape, jnp.float32), t)
    assert y.shape == shape and y.dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("height, width", [(5, 7), (1, 1)])
def test_other_sizes_are_zero_padding_and_cropping(height, width):
  x, t = inputs(2, height, width, 1)
  net, params = build(x, t, **TWO_LEVELS)
  padded = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
  whole = apply(net, params, padded, t)
  np.testing.assert_allclose(apply(net, params, x, t), whole[:, :height, :width], atol=1e-5)


def test_starts_at_zero():
  net = unet.UNet(**{**TINY, "attention": (False,)})
  y, _ = jax.jit(net.init_with_output)(KEY, *inputs(2, 6, 6, 1))
  np.testing.assert_array_equal(y, 0)


def test_examples_do_not_meet():
  x, t = inputs(9, 12, 12, 1)  # large enough for the sliced convolutions of networks/cpu.py
  net, params = build(x, t)
  together, alone = apply(net, params, x, t), apply(net, params, x[4:5], t[4:5])
  np.testing.assert_allclose(together[4:5], alone, atol=1e-5 * np.abs(alone).max())


def test_depends_on_time():
  x, t = inputs(2, 6, 6, 1)
  net, params = build(x, t)
  assert np.abs(apply(net, params, x, t) - apply(net, params, x, t + 0.5)).max() > 1e-3


def test_dropout_only_when_training():
  x, t = inputs(2, 6, 6, 1)
  net, params = build(x, t, dropout=0.5)
  train = jax.jit(lambda key: net.apply(params, x, t, train=True, rngs={"dropout": key}))
  a, b = train(jax.random.key(0)), train(jax.random.key(1))
  plain = apply(unet.UNet(**TINY), params, x, t)
  np.testing.assert_array_equal(apply(net, params, x, t), plain)
  assert min(np.abs(a - plain).max(), np.abs(a - b).max()) > 1e-3


def test_half_precision_compute_is_close_and_keeps_float32_outside():
  x, t = inputs(2, 6, 6, 1)
  net, params = build(x, t)
  half = unet.UNet(**TINY, dtype=jnp.bfloat16)
  shapes = jax.eval_shape(half.init, KEY, x, t)
  assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(shapes))
  y, exact = apply(half, params, x, t), apply(net, params, x, t)
  assert y.dtype == jnp.float32
  assert 0 < np.abs(y - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.slow
def test_half_precision_gradients_are_close_and_what_is_delicate_is_float32():
  """Exponentials, norms, maxima and sums over pixels stay in float32, on the way back too."""
  x, t = inputs(16, 16, 16, 1)
  fields = dict(channels=(8, 16), attention=(False, True), head_dim=8)
  params = build(x, t, **fields)[1]

  def loss(params, dtype):
    return jnp.mean((unet.UNet(**TINY | fields, dtype=dtype).apply(params, x, t) - x) ** 2)

  gradient = jax.jit(jax.grad(loss), static_argnums=1)
  exact, half = gradient(params, jnp.float32), gradient(params, jnp.bfloat16)
  for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(exact), jax.tree.leaves(half)):
    assert jnp.linalg.norm(a - b) < 0.05 * jnp.linalg.norm(a) + 1e-6, jax.tree_util.keystr(path)
  jaxpr = jax.make_jaxpr(jax.grad(loss), static_argnums=1)(params, jnp.bfloat16)
  halves = [e for e in equations(jaxpr.jaxpr) if e.invars[0].aval.dtype == jnp.bfloat16]
  names = {e.primitive.name for e in halves}
  assert {"conv_general_dilated", "dot_general"} <= names
  assert not {"exp", "log", "rsqrt", "sqrt", "integer_pow", "reduce_max"} & names
  for e in halves:
    if e.primitive.name == "reduce_sum":
      assert e.invars[0].aval.size <= len(x) * e.outvars[0].aval.size


def equations(jaxpr):
  """Yields all equations of a jaxpr, those of nested ones too."""
  for e in jaxpr.eqns:
    if e.invars and hasattr(e.invars[0].aval, "dtype"):
      yield e
    for inner in jaxprs_in_params(e.params):
      yield from equations(inner)


def test_null_label_is_its_own_learned_row():
  x, t = inputs(3, 6, 6, 1)
  spec = core.DataSpec(shape=(6, 6, 1), classes=2, kind="image")
  label = jnp.array([0, 1, 2])
  net, params = build(x, t, {"label": label}, conditions=("label",), spec=spec)
  assert params["params"]["label"]["Embed_0"]["embedding"].shape[0] == 3
  y, null = apply(net, params, x, t, {"label": label}), apply(net, params, x, t, {})
  np.testing.assert_allclose(y[2], null[2], atol=1e-5)
  assert min(np.abs(y[i] - null[i]).max() for i in (0, 1)) > 1e-3


@pytest.mark.slow
def test_forward_mode_agrees_with_reverse_mode_and_differences():
  x, t = inputs(9, 12, 12, 1)
  net, params = build(x, t, attention=(False,))
  dx, cotangent = inputs(9, 12, 12, 1)[0] ** 2, jnp.cos(x)
  f = lambda params, x, t: jnp.vdot(cotangent, net.apply(params, x, t))
  point, towards = (params, x, t), (jax.tree.map(jnp.sin, params), dx, jnp.ones_like(t))
  _, forward = jax.jit(lambda p, d: jax.jvp(f, p, d))(point, towards)
  reverse = jax.jit(jax.grad(f, argnums=(0, 1, 2)))(*point)
  products = jax.tree.map(jnp.vdot, reverse, towards)
  np.testing.assert_allclose(forward, sum(jax.tree.leaves(products)), rtol=1e-4)
  value = lambda s: jax.jit(f)(*jax.tree.map(lambda p, d: p + s * d, point, towards))
  np.testing.assert_allclose(forward, (value(1e-3) - value(-1e-3)) / 2e-3, rtol=0.02)


def test_attention_is_softmax_attention():
  rng = np.random.default_rng(0)
  q, k, v = rng.standard_normal((3, 2, 5, 3, 4))
  expected = np.zeros_like(q)
  for b, n, h in np.ndindex(2, 5, 3):
    weights = np.exp([q[b, n, h] @ k[b, m, h] / 2 for m in range(5)])
    expected[b, n, h] = weights / weights.sum() @ v[b, :, h]
  np.testing.assert_allclose(attention.attend(*map(jnp.asarray, (q, k, v))), expected, atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_depth_to_space_inverts_space_to_depth(patch):
  x = jnp.arange(2 * 6 * 12 * 3.0).reshape(2, 6, 12, 3)
  folded = convolution.space_to_depth(x, patch)
  corner = x[0, :patch, patch : 2 * patch]
  np.testing.assert_array_equal(folded[0, 0, 1], corner.reshape(-1))
  np.testing.assert_array_equal(convolution.depth_to_space(folded, patch), x)


@pytest.mark.parametrize(
  "fields, words",
  [
    (dict(attention=(True, False)), "one entry for each"),
    (dict(channels=(9,)), "groups=2 must divide channels 9"),
    (dict(channels=(6,)), "head_dim=4 must divide channels 6"),
  ],
)
def test_misfits_are_refused(fields, words):
  with pytest.raises(core.UserError, match=words):
    unet.UNet(**{**TINY, **fields})


def test_conditional_needs_labels():
  x, t = inputs(2, 6, 6, 1)
  with pytest.raises(core.UserError, match="labels"):
    unet.UNet(**TINY, conditions=("label",)).init(KEY, x, t)
