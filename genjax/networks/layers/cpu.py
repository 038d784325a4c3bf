"""The same arithmetic in forms that a CPU runs faster.

Elsewhere, and on several devices, where a batch is cut into parts that these forms would mix, only
the plain forms of `convolution` and `attention` are used. What each form gains, and on what
machine, is measured in experiments/speed; here is why.

    convolve   The gradient of a convolution with respect to its kernel is itself a convolution, in
               which examples play the part of channels and the map that of the kernel:

                   dL/dw[i, j, c, d] = sum_b sum_uv x[b, u + i, v + j, c] dL/dy[b, u, v, d]

               It is slow on large maps unless the sum over b is cut into slices of a few examples.
    double     Convolving a map whose pixels were doubled sees each pixel several times: four 2 x 2
               kernels, one for each position in the square, see it once (4/9 of the products).
    attend     The scores of a few examples at a time stay in cache. They are normalised after the
               product with the values, and made again for derivatives (Rabe & Staats 2021,
               arXiv:2112.05682), which need no product that the result did (Dao et al. 2022,
               arXiv:2205.14135, appendix B).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_SLICE = 8
_SMALL = 100  # pixels of a map below which slicing gains nothing
_SCORES = 2**21  # made together, 8 MB: they stay in cache


def alone() -> bool:
  """Whether these forms are for this process: it computes on one CPU device."""
  return jax.default_backend() == "cpu" and jax.device_count() == 1


def _convolve(x, kernel, rows=(1, 1), columns=(1, 1)):
  numbers = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(x, kernel, (1, 1), (rows, columns), dimension_numbers=numbers)


@jax.custom_jvp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x [B, H, W, C] with zeros around, kernel [3, 3, C, D] -> [B, H, W, D]."""
  return _convolve(x, kernel)


@convolve.defjvp
def _convolve_jvp(primals, tangents):
  # We cut x * dw, whose transpose the gradient is: both modes of differentiation work.
  (x, kernel), (dx, dkernel) = primals, tangents
  size = _SLICE if x.shape[1] * x.shape[2] >= _SMALL else len(x)
  parts = [_convolve(x[i : i + size], dkernel) for i in range(0, len(x), size)]
  return _convolve(x, kernel), _convolve(dx, kernel) + jnp.concatenate(parts)


def double(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """The same after each pixel became 2 x 2 pixels -> [B, 2H, 2W, D]."""
  b, h, w, _ = x.shape
  merge = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], kernel.dtype)
  kernels = jnp.einsum("pri,qsj,ijcd->pqrscd", merge, merge, kernel)
  pads = ((1, 0), (0, 1))  # an even pixel looks up and left, an odd one down and right
  y = [[_convolve(x, kernels[p, q], pads[p], pads[q]) for q in (0, 1)] for p in (0, 1)]
  y = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2)  # [B, H, 2, W, 2, D]
  return y.reshape(b, 2 * h, 2 * w, -1)


@jax.custom_jvp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """As attention.attend, in float32: q [B, N, heads, d], k and v [B, M, heads, d] -> like q."""

  def one(q, k, v):  # of one example: [N, heads, d] -> [N, heads, d]
    weights = _weights(q, k)
    o = jnp.einsum("hnm,mhd->hnd", weights, v) / weights.sum(axis=-1, keepdims=True)
    return o.swapaxes(0, 1)

  return _by_blocks(one, q, k, v)


@attend.defjvp
def _attend_jvp(primals, tangents):
  # With weights w and o = w v / sum w:  do = (dw v + w dv - (sum dw) o) / sum w.
  @jax.checkpoint
  def one(q, k, v, o, dq, dk, dv):
    weights, scale = _weights(q, k), q.shape[-1] ** -0.5
    dw = weights * (_scores(scale * dq, k) + _scores(scale * q, dk))
    do = jnp.einsum("hnm,mhd->hnd", dw, v) + jnp.einsum("hnm,mhd->hnd", weights, dv)
    do = do - dw.sum(axis=-1, keepdims=True) * o.swapaxes(0, 1)
    return (do / weights.sum(axis=-1, keepdims=True)).swapaxes(0, 1)

  o = attend(*primals)
  return o, _by_blocks(one, *primals, o, *tangents)


def _weights(q, k):
  """Before they are normalised, [heads, N, M]; the largest of each query is 1."""
  scores = _scores(q / q.shape[-1] ** 0.5, k)
  return jnp.exp(scores - lax.stop_gradient(scores.max(axis=-1, keepdims=True)))


def _by_blocks(one, q, k, *others):
  """one(q, k, ...) of every example, of as many together as _SCORES allows."""
  size = max(1, _SCORES // (q.shape[1] * q.shape[2] * k.shape[1]))
  return lax.map(lambda args: one(*args), (q, k, *others), batch_size=min(size, len(q)))


# A primitive for the sake of its transpose: sums over the queries are twice as fast with the scores
# as the right factor, and JAX would put them on the left.
_SCORES_P = Primitive("scores")


def _scores(q, k):
  """Products of q [..., N, heads, d] and k [..., M, heads, d]: [..., heads, N, M]."""
  return _SCORES_P.bind(q, k)


@_SCORES_P.def_impl
def _product(q, k):
  return jnp.einsum("...nhd,...mhd->...hnm", q, k)


@_SCORES_P.def_abstract_eval
def _shape(q, k):
  out = jax.eval_shape(_product, q, k)
  return jax.core.ShapedArray(out.shape, out.dtype)


def _to_queries(ds, q, k):
  return jnp.einsum("...hnm,...mhd->...nhd", ds, k)


def _to_keys(ds, q, k):
  return jnp.moveaxis(jnp.einsum("...nhd,...hnm->...hdm", q, ds), -1, -3)


def _batch(args, axes):
  (size,) = {a.shape[axis] for a, axis in zip(args, axes) if axis is not None}
  whole = lambda a: jnp.broadcast_to(a, (size, *a.shape))
  front = [whole(a) if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(args, axes)]
  return _scores(*front), 0


mlir.register_lowering(_SCORES_P, mlir.lower_fun(_product, multiple_results=False))
ad.defbilinear(_SCORES_P, _to_queries, _to_keys)
batching.primitive_batchers[_SCORES_P] = _batch
