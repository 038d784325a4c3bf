"""A noise schedule that is learnt (Kingma et al. 2021, arXiv:2107.00630, section 4 and appendix H).

    gamma(t) = gamma_0 + (gamma_1 - gamma_0) g(t),   alpha^2 = S(-gamma),  sigma^2 = S(gamma)   (1)

with the logistic function S, so that gamma = -2 log(alpha/sigma). g rises from 0 to 1: with weights
that are made positive by softplus,

    g(t) prop. to w t + sum_j a_j (S(b_j t + c_j) - S(c_j))                                   (2)
"""

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian

TABLE = 1001  # times at which gamma is inverted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned(gaussian.Process):
  """gamma_min, gamma_max: where gamma_0 and gamma_1 start; hidden: terms of the sum in (2)."""

  gamma_min: float = -13.3
  gamma_max: float = 5.0
  hidden: core.Size = 32
  ends: Any = dataclasses.field(default=None, init=False)
  shape: Any = dataclasses.field(default=None, init=False)

  def __post_init__(self):
    if self.gamma_min >= self.gamma_max:
      raise core.UserError("process.gamma_min must lie below process.gamma_max")

  def weights(self) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(ends [2], weights of (2)) to begin with: gamma is nearly linear in t."""
    centers = np.linspace(-4, 4, self.hidden)
    small = np.full(self.hidden, np.log(np.expm1(1e-2)))
    steep = np.full(self.hidden, np.log(np.expm1(8.0)))
    shape = {"w": np.log(np.expm1(1.0)), "a": small, "b": steep, "c": centers - 4}
    ends = jnp.array([self.gamma_min, self.gamma_max], jnp.float32)
    return ends, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), shape)

  def bound(self, ends: jax.Array, shape: dict[str, jax.Array]) -> "Learned":
    """The process with these weights."""
    new = copy.copy(self)
    object.__setattr__(new, "ends", ends)
    object.__setattr__(new, "shape", shape)
    return new

  def gamma(self, t: jax.Array) -> jax.Array:
    """Equation (1), from gamma_0 at the least time."""
    ends, shape = self.weights() if self.ends is None else (self.ends, self.shape)
    positive = {k: v if k == "c" else jax.nn.softplus(v) for k, v in shape.items()}
    w, a, b, c = (positive[k] for k in "wabc")
    rise = lambda t: (
      w * t + jnp.sum(a * (jax.nn.sigmoid(b * t[..., None] + c) - jax.nn.sigmoid(c)), axis=-1)
    )
    u = (jnp.asarray(t) - self.least) / (1 - self.least)
    return ends[0] + (ends[1] - ends[0]) * rise(u) / rise(jnp.ones(()))

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    gamma = self.gamma(t)
    root = lambda x: jnp.sqrt(jax.nn.sigmoid(x))
    return jnp.where(t > 0, root(-gamma), 1.0), jnp.where(t > 0, root(gamma), 0.0)

  def time(self, lam: jax.Array) -> jax.Array:
    t = jnp.linspace(self.least, 1, TABLE)
    return jnp.interp(-2 * lam, self.gamma(t), t)
