"""A noise schedule that is learnt (Kingma et al. 2021, arXiv:2107.00630, section 4 and appendix H).

    gamma(t) = gamma_0 + (gamma_1 - gamma_0) g(t),   alpha^2 = S(-gamma),  sigma^2 = S(gamma)   (1)

with the logistic function S, so that gamma = -2 log(alpha/sigma). The function g rises from 0 to 1.
It is a small monotone network, whose weights w, a and b are made positive by softplus:

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

# gamma is inverted by interpolation between this many times.
TABLE = 1001


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned(gaussian.Process):
  """The variance-preserving process (1), with initial weights until `bound` gives it others.

  gamma_min: initial gamma_0, at the data.
  gamma_max: initial gamma_1, at the noise.
  hidden: number of terms in the sum of (2).
  ends: gamma_0 and gamma_1 [2], set by `bound`.
  shape: the weights of (2) before softplus, set by `bound`.
  Raises UserError unless gamma_min < gamma_max.
  """

  gamma_min: float = -13.3
  gamma_max: float = 5.0
  hidden: core.Size = 32
  ends: Any = dataclasses.field(default=None, init=False)
  shape: Any = dataclasses.field(default=None, init=False)

  def __post_init__(self):
    if self.gamma_min >= self.gamma_max:
      raise core.UserError("process.gamma_min must lie below process.gamma_max")

  def weights(self) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns initial weights, (ends [2], shape), with which gamma is nearly linear in t."""
    # log(expm1(y)) is the inverse of softplus.
    small = np.full(self.hidden, np.log(np.expm1(1e-2)))
    steep = np.full(self.hidden, np.log(np.expm1(8.0)))

    # With b = 8 and c from -8 to 0, the sigmoids rise one after the other in 0 <= t <= 1.
    centers = np.linspace(-4, 4, self.hidden)
    shape = {"w": np.log(np.expm1(1.0)), "a": small, "b": steep, "c": centers - 4}

    ends = jnp.array([self.gamma_min, self.gamma_max], jnp.float32)
    return ends, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), shape)

  def bound(self, ends: jax.Array, shape: dict[str, jax.Array]) -> "Learned":
    """Returns the process with these weights, as `weights` lists them."""
    # dataclasses.replace does not accept fields of init=False.
    new = copy.copy(self)
    object.__setattr__(new, "ends", ends)
    object.__setattr__(new, "shape", shape)
    return new

  def gamma(self, t: jax.Array) -> jax.Array:
    """Returns gamma(t) of (1), of t's shape; g is 0 at the least time and 1 at t = 1."""
    ends, shape = self.weights() if self.ends is None else (self.ends, self.shape)
    positive = {k: v if k == "c" else jax.nn.softplus(v) for k, v in shape.items()}
    w, a, b, c = (positive[k] for k in "wabc")

    # Equation (2), before it is scaled to end at 1.
    rise = lambda t: (
      w * t + jnp.sum(a * (jax.nn.sigmoid(b * t[..., None] + c) - jax.nn.sigmoid(c)), axis=-1)
    )

    u = (jnp.asarray(t) - self.least) / (1 - self.least)
    return ends[0] + (ends[1] - ends[0]) * rise(u) / rise(jnp.ones(()))

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (alpha, sigma) of (1) at times t; exactly (1, 0) at t = 0."""
    gamma = self.gamma(t)
    # Even gamma_0 leaves a little noise, but a sampler must end with none.
    root = lambda x: jnp.sqrt(jax.nn.sigmoid(x))
    return jnp.where(t > 0, root(-gamma), 1.0), jnp.where(t > 0, root(gamma), 0.0)

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam, by interpolation in a table of gamma."""
    t = jnp.linspace(self.least, 1, TABLE)
    return jnp.interp(-2 * lam, self.gamma(t), t)
