"""Gaussian optimal transport: maps one domain to another by their means and covariances alone.

Let x and y be two data sets whose examples are not paired, and m and S the mean and covariance of
each. Among all maps that take a Gaussian with the moments of y to a Gaussian with the moments of x,
the one that moves points the least is (Dowson & Landau 1982; Peyré & Cuturi 2019, arXiv:1803.00567,
remark 2.31)

    T(y) = m_x + A (y - m_y),   A = S_y^(-1/2) (S_y^(1/2) S_x S_y^(1/2))^(1/2) S_y^(-1/2)       (1)

with A symmetric and positive definite. It is the simplest baseline for translation between domains:
data that are not Gaussian arrive with the mean and covariance of x, but keep the shape of y.

Nothing is trained by gradients. The moments are means over all batches so far.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianTransport:
  """Optimal transport from y to x, with one parameter group, "transport".

  The group holds, for each of "x" and "y", the "mean" E a [D] and the "second" moment E a a^T
  [D, D].

  floor: added to all variances, so that constant dimensions have an inverse root too.

  Raises UserError for data without a second domain "y" of as many dimensions as x.
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
        f"gaussian_transport: y {y.shape} is not as large as x {self.spec.shape}; "
        "use domains of one size"
      )

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns the moments of the first batch, or loaded ones."""
    if "transport" in loaded:
      params, own = loaded["transport"]
    else:
      params = {name: _moments(_flat(batch[name])) for name in ("x", "y")}
      own = {}
    return {"transport": params}, {"transport": own}

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Updates the moments with a batch.

    Logs "moved", the root mean square distance by which (1) moves the y of the batch.
    """
    # The mean over all batches, of which this is number `step` + 1.
    new = {name: _moments(_flat(batch[name])) for name in ("x", "y")}
    mix = lambda old, now: old + (now - old) / (step + 1)
    params = {**params, "transport": jax.tree.map(mix, params["transport"], new)}

    y = _flat(batch["y"])
    square = jnp.sum((self._map(params, y) - y) ** 2, axis=1)
    moved = jnp.sqrt(jnp.mean(square))
    return params, buffers, {"transport/moved": moved}

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Returns T(y) [N, *event] for cond["y"] [N, *event of y], clipped to the range of the data.

    The map is deterministic: the keys are not used.
    """
    y = _flat(core.partial(cond["y"]).value)
    x = self._map(params, y).reshape(len(y), *self.spec.shape)
    return jnp.clip(x, *self.spec.range) if self.spec.range else x

  def _map(self, params: core.Params, y: jax.Array) -> jax.Array:
    """Returns T(y) of equation (1) for y [N, D]."""
    x_mean, x_cov = self._mean_cov(params["transport"]["x"])
    y_mean, y_cov = self._mean_cov(params["transport"]["y"])

    # Rows are examples; A is symmetric, so it needs no transpose.
    return x_mean + (y - y_mean) @ gain(x_cov, y_cov)

  def _mean_cov(self, moments: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Returns (mean [D], covariance [D, D] with the floor) of the moments of one domain."""
    mean = moments["mean"]
    second = moments["second"]
    return mean, second - jnp.outer(mean, mean) + self.floor * jnp.eye(len(mean))


def gain(x_cov: jax.Array, y_cov: jax.Array) -> jax.Array:
  """Returns A of equation (1) for two covariances [D, D]."""
  root = _power(y_cov, 0.5)
  inverse = _power(y_cov, -0.5)
  return inverse @ _power(root @ x_cov @ root, 0.5) @ inverse


def _power(matrix: jax.Array, exponent: float) -> jax.Array:
  """Returns a power of a symmetric positive definite matrix [D, D]."""
  # Rounding can break the symmetry and make small eigenvalues negative.
  values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
  return (vectors * jnp.maximum(values, 1e-12) ** exponent) @ vectors.T


def _moments(a: jax.Array) -> dict[str, jax.Array]:
  """Returns the mean [D] and the second moment E a a^T [D, D] of a [B, D]."""
  # The covariance is a small difference of second moments, so these need all their digits.
  second = jnp.matmul(a.T, a, precision="highest") / len(a)
  return {"mean": jnp.mean(a, axis=0), "second": second}


def _flat(a: jax.Array) -> jax.Array:
  """Returns a [B, *event] as [B, D]."""
  return jnp.asarray(a).reshape(len(a), -1)
