"""Gaussian corruption, and the algebra of what a network may predict about it.

One notation serves every process: t = 0 is data, t = 1 is noise, and

    xt = alpha(t) x0 + sigma(t) eps,   eps ~ N(0, I)                                       (1)

Every prediction is linear in the pair (x0, eps), so it is one row (a, b) of coefficients,

    out = a x0 + b eps                                                                      (2)

        x0     (1, 0)                    v         (-sigma, alpha)
        eps    (0, 1)                    velocity  (alpha', sigma'), that is dxt/dt
        score  (0, -1/sigma)             F         (sigma/s, -s alpha) / std(xt), s = sigma_data
        mu     the mean of q(x_{k-1} | xt, x0), for chains of states k: `Chain.posterior`

All conversions are then the same: solve (1) and (2) for (x0, eps) and apply another row. With
det = alpha b - sigma a,

    x0 = (b xt - sigma out) / det,   eps = (alpha out - a xt) / det                         (3)

A process and a prediction do not go together where det = 0: eps, for example, cannot recover x0
from pure noise (alpha = 0).

For data of standard deviation s = sigma_data, xt has the standard deviation

    std(xt) = sqrt(alpha^2 s^2 + sigma^2)                                                   (4)

Networks see xt divided by it (c_in of EDM; for DDPM with s = 1 it is 1), and sampling starts with
noise of this size. F is the target that has variance 1 and is least correlated with xt. It is the
preconditioning of EDM, for any process: alpha = 1 gives Karras et al. 2022, eq. 7, and
alpha^2 + sigma^2 = s = 1 gives F = -v.

Sources: Ho et al. 2020 (DDPM, arXiv:2006.11239); Salimans & Ho 2022 (v, arXiv:2202.00512); Karras
et al. 2022 (EDM, arXiv:2206.00364); Lipman et al. 2023 (velocity, arXiv:2210.02747).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core

# Rows of (2) by name: (process, t) -> (a, b), each of t's shape.
ROWS = {
  "x0": lambda p, t: (jnp.ones_like(t), jnp.zeros_like(t)),
  "eps": lambda p, t: (jnp.zeros_like(t), jnp.ones_like(t)),
  "score": lambda p, t: (jnp.zeros_like(t), -1 / p.coefficients(t)[1]),
  "v": lambda p, t: _v(*p.coefficients(t)),
  "velocity": lambda p, t: p.rates(t),
  "F": lambda p, t: _f(*p.coefficients(t), p.sigma_data, p.std(t)),
  "mu": lambda p, t: p.posterior(t),
}


def _v(alpha: jax.Array, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
  return -sigma, alpha


def _f(alpha: jax.Array, sigma: jax.Array, s: float, std: jax.Array) -> tuple[jax.Array, jax.Array]:
  return sigma / s / std, -s * alpha / std


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
  """Base of all processes; each defines `coefficients` and the inverse, `time`.

  sigma_data: standard deviation of x0, s of (4).
  """

  sigma_data: core.Positive = 1.0

  @property
  def least(self) -> float:
    """The smallest time that training sees."""
    return 1e-3

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (alpha, sigma) at times t, of t's shape; (1, 0) at t = 0."""
    raise NotImplementedError

  def time(self, lam: jax.Array) -> jax.Array:
    """Returns the time at which log(alpha/sigma) is lam."""
    raise NotImplementedError

  def rates(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the derivatives (alpha', sigma') by t, of t's shape."""
    t = jnp.asarray(t)
    # One forward derivative serves all times, since each coefficient depends on its own time.
    return jax.jvp(self.coefficients, (t,), (jnp.ones_like(t),))[1]

  def std(self, t: jax.Array) -> jax.Array:
    """Returns the standard deviation of xt, (4), of t's shape."""
    alpha, sigma = self.coefficients(t)
    return jnp.sqrt((alpha * self.sigma_data) ** 2 + sigma**2)

  def snap(self, u: jax.Array) -> jax.Array:
    """Maps u in [0, 1] to a time that training sees, from `least` to 1."""
    return self.least + (1 - self.least) * u

  def visit(self, t: jax.Array) -> jax.Array:
    """Returns the time that training sees nearest to t."""
    return jnp.clip(t, self.least, 1)

  def c_noise(self, t: jax.Array) -> jax.Array:
    """Returns the noise level as the network sees it, about as wide as DDPM's 0 ... 999."""
    return 1000 * t

  def seen(self, xt: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the inputs of a network, (xt/std(xt), c_noise(t)); xt [B, *event], t [B]."""
    return xt / core.expand(self.std(t), xt), self.c_noise(t)

  def grid(self, steps: int) -> np.ndarray:
    """Returns [steps + 1] even times from 1 to 0."""
    return np.linspace(1, 0, steps + 1)

  def posterior(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the row of mu; raises UserError for processes that are no chain."""
    raise core.UserError(
      "prediction='mu' is the mean of a step from state to state, and this process has no states; "
      "use process 'ddpm' or 'ncsn'"
    )

  def check(self, prediction: str) -> None:
    """Raises UserError for an unknown prediction, or one that does not determine (x0, eps)."""
    if prediction not in ROWS:
      raise core.unknown("prediction", prediction, ROWS)

    if not self._solvable(prediction):
      # What to recommend: the predictions that do not fail in the same way.
      others = [name for name in ("v", "velocity", "x0", "F") if self._solvable(name)]
      raise core.UserError(
        f"prediction={prediction!r} with a process of zero terminal signal-to-noise ratio: pure "
        f"noise does not determine x0; use one of {', '.join(others)}"
      )

  def _solvable(self, prediction: str) -> bool:
    """Returns whether det of (3) differs from 0 at all times that training sees."""
    # A configuration may be made while a function is traced; here numbers are needed.
    with jax.ensure_compile_time_eval():
      t = self.snap(jnp.linspace(0, 1, 1001))
      alpha, sigma = self.coefficients(t)
      a, b = ROWS[prediction](self, t)
      return bool(jnp.all(jnp.abs(alpha * b - sigma * a) > 0))


def corrupt(process: Process, x0: jax.Array, eps: jax.Array, t: jax.Array) -> jax.Array:
  """Returns xt of (1), [B, *event].

  x0, eps: data and noise, [B, *event].
  t: times, [B] or a scalar.
  """
  alpha, sigma = process.coefficients(t)  # [B]
  return core.expand(alpha, x0) * x0 + core.expand(sigma, x0) * eps


def project(
  process: Process, prediction: str, x0: jax.Array, eps: jax.Array, t: jax.Array
) -> jax.Array:
  """Returns the target (2) of a network that predicts `prediction`, [B, *event]."""
  a, b = ROWS[prediction](process, t)  # [B]
  return core.expand(a, x0) * x0 + core.expand(b, x0) * eps


def solve(
  process: Process, prediction: str, out: jax.Array, xt: jax.Array, t: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the pair (x0, eps) that a network's output `out` at xt stands for: (3).

  out, xt: [B, *event].
  t: times, [B] or a scalar.
  """
  pair = *process.coefficients(t), *ROWS[prediction](process, t)
  alpha, sigma, a, b = (core.expand(c, xt) for c in pair)  # [B, 1, ..., 1]
  det = alpha * b - sigma * a
  return (b * xt - sigma * out) / det, (alpha * out - a * xt) / det
