"""Convolution and attention in forms that run faster on a CPU.

Each form computes what its plain form in `convolution` or `attention` computes. The plain forms are
used on every other kind of device, and on several CPU devices: there a batch is divided among the
devices, and the forms below would mix its parts. What each form gains, and on which machine, is
measured in experiments/speed. Why each is faster:

    convolve   The gradient of a convolution with respect to its kernel is itself a convolution, in
               which examples take the place of channels and the map takes that of the kernel:

                   dL/dw[i, j, c, d] = sum_b sum_uv x[b, u + i, v + j, c] dL/dy[b, u, v, d]     (1)

               On large maps it is slow unless the sum over b is cut into slices of a few examples.
    double     A 3 x 3 convolution after each pixel became 2 x 2 equal pixels multiplies the same
               pixel by several entries of the kernel. Four 2 x 2 kernels, one for each position in
               the square, hold the sums of these entries and need 4/9 of the products.
    attend     The scores of a few examples at a time stay in the cache. They are normalised after
               the product with the values, and computed again for the derivatives (Rabe & Staats
               2021, arXiv:2112.05682). The derivatives reuse the result, so the product with the
               values is not computed a second time (Dao et al. 2022, arXiv:2205.14135, appendix B).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# Examples in one slice of the sum over b in (1).
_SLICE = 8
# On maps of fewer pixels slicing gains nothing.
_SMALL = 100
# Attention scores computed together: 8 MB of float32, which stay in the cache.
_SCORES = 2**21


def alone() -> bool:
  """Returns whether this process should use these forms: it computes on one CPU device."""
  return jax.default_backend() == "cpu" and jax.device_count() == 1


def _convolve(
  x: jax.Array,
  kernel: jax.Array,
  rows: tuple[int, int] = (1, 1),
  columns: tuple[int, int] = (1, 1),
) -> jax.Array:
  """Convolves x [B, H, W, C] with a kernel [h, w, C, D].

  rows, columns: number of zeros before and after the map.
  """
  numbers = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(x, kernel, (1, 1), (rows, columns), dimension_numbers=numbers)


@jax.custom_jvp
def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves x [B, H, W, C], with zeros around, with a kernel [3, 3, C, D] -> [B, H, W, D]."""
  return _convolve(x, kernel)


@convolve.defjvp
def _convolve_jvp(
  primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
  x, kernel = primals
  dx, dkernel = tangents

  # Reverse mode transposes x * dkernel into (1), so the slices are cut here: both modes work.
  size = _SLICE if x.shape[1] * x.shape[2] >= _SMALL else len(x)
  parts = [_convolve(x[i : i + size], dkernel) for i in range(0, len(x), size)]
  return _convolve(x, kernel), _convolve(dx, kernel) + jnp.concatenate(parts)


def double(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves x [B, H, W, C] after each pixel became 2 x 2 equal pixels -> [B, 2H, 2W, D].

  kernel: [3, 3, C, D], that of the plain form.
  """
  b, h, w, _ = x.shape

  # merge[p, r, i] is 1 where row i of the kernel falls on row r of the two rows of x that an output
  # row sees. At p = 0 these are the row above and, twice, its own; at p = 1 its own, twice, and the
  # row below. Columns are alike.
  merge = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], kernel.dtype)
  kernels = jnp.einsum("pri,qsj,ijcd->pqrscd", merge, merge, kernel)  # [2, 2, 2, 2, C, D]

  # Position 0 looks up or left, position 1 down or right.
  pads = ((1, 0), (0, 1))
  y = [[_convolve(x, kernels[p, q], pads[p], pads[q]) for q in (0, 1)] for p in (0, 1)]
  y = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2)  # [B, H, 2, W, 2, D]
  return y.reshape(b, 2 * h, 2 * w, -1)


@jax.custom_jvp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
  """Returns softmax(q k^T / sqrt(d)) v for each head: float32 [B, N, heads, d].

  q: queries, float32 [B, N, heads, d].
  k, v: keys and values, float32 [B, M, heads, d].
  """

  def one(q, k, v):  # one example, q [N, heads, d] -> [N, heads, d]
    weights = _weights(q, k)
    o = jnp.einsum("hnm,mhd->hnd", weights, v) / weights.sum(axis=-1, keepdims=True)
    return o.swapaxes(0, 1)

  return _by_blocks(one, q, k, v)


@attend.defjvp
def _attend_jvp(
  primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
  # For weights w and o = w v / sum w:  do = (dw v + w dv - (sum dw) o) / sum w.
  # The checkpoint computes w again in reverse mode instead of keeping it.
  @jax.checkpoint
  def one(q, k, v, o, dq, dk, dv):
    weights = _weights(q, k)
    scale = q.shape[-1] ** -0.5
    dw = weights * (_scores(scale * dq, k) + _scores(scale * q, dk))

    do = jnp.einsum("hnm,mhd->hnd", dw, v) + jnp.einsum("hnm,mhd->hnd", weights, dv)
    do = do - dw.sum(axis=-1, keepdims=True) * o.swapaxes(0, 1)
    return (do / weights.sum(axis=-1, keepdims=True)).swapaxes(0, 1)

  o = attend(*primals)
  return o, _by_blocks(one, *primals, o, *tangents)


def _weights(q: jax.Array, k: jax.Array) -> jax.Array:
  """Returns attention weights before normalisation, [heads, N, M]: each query's largest is 1."""
  scores = _scores(q / q.shape[-1] ** 0.5, k)
  # The largest score cancels in o, so it needs no derivative.
  return jnp.exp(scores - lax.stop_gradient(scores.max(axis=-1, keepdims=True)))


def _by_blocks(
  one: Callable[..., jax.Array], q: jax.Array, k: jax.Array, *others: jax.Array
) -> jax.Array:
  """Returns one(q, k, ...) of every example, computed on blocks of at most _SCORES scores."""
  scores = q.shape[1] * q.shape[2] * k.shape[1]  # of one example
  size = max(1, _SCORES // scores)
  return lax.map(lambda args: one(*args), (q, k, *others), batch_size=min(size, len(q)))


# The product is a primitive so that we can choose its transpose: sums over the queries are twice as
# fast with the scores as the right factor, and JAX would put them on the left.
_SCORES_P = Primitive("scores")


def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
  """Returns the products of q [..., N, heads, d] and k [..., M, heads, d]: [..., heads, N, M]."""
  return _SCORES_P.bind(q, k)


@_SCORES_P.def_impl
def _product(q: jax.Array, k: jax.Array) -> jax.Array:
  return jnp.einsum("...nhd,...mhd->...hnm", q, k)


@_SCORES_P.def_abstract_eval
def _shape(q: jax.Array, k: jax.Array) -> jax.core.ShapedArray:
  out = jax.eval_shape(_product, q, k)
  return jax.core.ShapedArray(out.shape, out.dtype)


def _to_queries(ds: jax.Array, q: jax.Array, k: jax.Array) -> jax.Array:
  """Returns the gradient [..., N, heads, d] for q from that of the scores [..., heads, N, M]."""
  return jnp.einsum("...hnm,...mhd->...nhd", ds, k)


def _to_keys(ds: jax.Array, q: jax.Array, k: jax.Array) -> jax.Array:
  """Returns the gradient [..., M, heads, d] for k; `ds` is the right factor of the product."""
  return jnp.moveaxis(jnp.einsum("...nhd,...hnm->...hdm", q, ds), -1, -3)


def _batch(args: Sequence[jax.Array], axes: Sequence[int | None]) -> tuple[jax.Array, int]:
  """Returns the scores of a batch, and 0, the batch's axis; `axes` are those of q and k."""
  (size,) = {a.shape[axis] for a, axis in zip(args, axes) if axis is not None}
  whole = lambda a: jnp.broadcast_to(a, (size, *a.shape))
  front = [whole(a) if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(args, axes)]
  return _scores(*front), 0


mlir.register_lowering(_SCORES_P, mlir.lower_fun(_product, multiple_results=False))
ad.defbilinear(_SCORES_P, _to_queries, _to_keys)
batching.primitive_batchers[_SCORES_P] = _batch
