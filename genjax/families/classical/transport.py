"""Gaussian optimal transport: from one domain to another by mean and covariance alone.

Of two data sets that nothing pairs, x and y, let m and S be the mean and covariance of each. Among
all maps that take a Gaussian of y's moments to one of x's, the one that moves points least is
(Dowson & Landau 1982; Peyré & Cuturi 2019, arXiv:1803.00567, remark 2.31)

    T(y) = m_x + A (y - m_y),   A = S_y^(-1/2) (S_y^(1/2) S_x S_y^(1/2))^(1/2) S_y^(-1/2)       (1)

with A symmetric and positive. For data that are not Gaussian it is what the simplest translation
does: the right place, size and tilt, and the shape of y. Nothing has a gradient: the moments are
means over all batches so far.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianTransport:
  """One group, "transport": mean and cov of "x" and "y".

  floor: added to the variances, so that constant dimensions have a root.
  Raises UserError for data without a second domain "y" of the same size.
  """

  spec: core.DataSpec
  floor: core.Positive = 1e-6
  objectives = ()
  pretrained = ()
  conditions = ("y",)

  def __post_init__(self):
    y = self.spec.fields.get("y")
    if not y:
      raise core.UserError("gaussian_transport: needs two domains; use data 'domains'")
    if math.prod(y.shape) != math.prod(self.spec.shape):
      raise core.UserError(
        f"gaussian_transport: y {y.shape} is not as large as x {self.spec.shape}"
      )

  def init(self, key, batch, loaded):
    if "transport" in loaded:
      params, own = loaded["transport"]
    else:
      params, own = {name: _moments(_flat(batch[name])) for name in ("x", "y")}, {}
    return {"transport": params}, {"transport": own}

  def refresh(self, params, buffers, batch, key, step):
    """The moments of all batches so far; logs how far (1) moves the batch's y, root mean square."""
    new = {name: _moments(_flat(batch[name])) for name in ("x", "y")}
    mix = lambda old, now: old + (now - old) / (step + 1)
    params = {**params, "transport": jax.tree.map(mix, params["transport"], new)}
    y = _flat(batch["y"])
    moved = jnp.sqrt(jnp.mean(jnp.sum((self._map(params, y) - y) ** 2, axis=1)))
    return params, buffers, {"transport/moved": moved}

  def sample(self, params, buffers, keys, cond):
    """cond["y"] [N, *event of y] -> T(y) [N, *event], cut to the data's range; nothing is drawn."""
    y = _flat(core.partial(cond["y"]).value)
    x = self._map(params, y).reshape(len(y), *self.spec.shape)
    return jnp.clip(x, *self.spec.range) if self.spec.range else x

  def _map(self, params, y):
    """Equation (1) for y [N, D]."""
    x_mean, x_cov = self._mean_cov(params["transport"]["x"])
    y_mean, y_cov = self._mean_cov(params["transport"]["y"])
    return x_mean + (y - y_mean) @ gain(x_cov, y_cov)

  def _mean_cov(self, moments):
    mean, second = moments["mean"], moments["second"]
    return mean, second - jnp.outer(mean, mean) + self.floor * jnp.eye(len(mean))


def gain(x_cov: jax.Array, y_cov: jax.Array) -> jax.Array:
  """A of (1) for two covariances [D, D]."""
  root = _power(y_cov, 0.5)
  inverse = _power(y_cov, -0.5)
  return inverse @ _power(root @ x_cov @ root, 0.5) @ inverse


def _power(matrix, exponent):
  """Of a symmetric positive matrix."""
  values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
  return (vectors * jnp.maximum(values, 1e-12) ** exponent) @ vectors.T


def _moments(a):
  return {"mean": jnp.mean(a, axis=0), "second": jnp.matmul(a.T, a, precision="highest") / len(a)}


def _flat(a):
  return jnp.asarray(a).reshape(len(a), -1)
