"""Gaussian corruption and the algebra of what a network may predict about it.

One notation for every process: t = 0 is data, t = 1 is noise,

    xt = alpha(t) x0 + sigma(t) eps,   eps ~ N(0, I)                                       (1)

A prediction is linear in the pair (x0, eps), so it is one row (a, b) of coefficients,

    out = a x0 + b eps                                                                      (2)

        x0     (1, 0)                    v         (-sigma, alpha)
        eps    (0, 1)                    velocity  (alpha', sigma'), that is dxt/dt
        score  (0, -1/sigma)             F         (sigma/s, -s alpha) / std(xt), s = sigma_data
        mu     the mean of q(x_{k-1} | xt, x0), for chains of states k: `Chain.posterior`

and all conversions are one: solve (1), (2) for (x0, eps), then apply another row. With
det = alpha b - sigma a,

    x0 = (b xt - sigma out) / det,   eps = (alpha out - a xt) / det                         (3)

A pair is illegal where det = 0: eps cannot recover x0 from pure noise (alpha = 0). For data of
standard deviation s = sigma_data, that of xt is sqrt(alpha^2 s^2 + sigma^2). Networks see xt
divided by it (c_in, 1 for DDPM with s = 1), sampling starts with it, and F is the answer that is
least correlated with xt and has variance 1: EDM's, for any process (alpha = 1: Karras et al., 2022,
eq. 7; alpha^2 + sigma^2 = s = 1: F = -v).

Sources: Ho et al. 2020 (DDPM, arXiv:2006.11239); Salimans & Ho 2022 (v, arXiv:2202.00512); Karras
et al. 2022 (EDM, arXiv:2206.00364); Lipman et al. 2023 (velocity, arXiv:2210.02747).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core

# name: (process, t) -> (a, b), of t's shape
ROWS = {
  "x0": lambda p, t: (jnp.ones_like(t), jnp.zeros_like(t)),
  "eps": lambda p, t: (jnp.zeros_like(t), jnp.ones_like(t)),
  "score": lambda p, t: (jnp.zeros_like(t), -1 / p.coefficients(t)[1]),
  "v": lambda p, t: _v(*p.coefficients(t)),
  "velocity": lambda p, t: p.rates(t),
  "F": lambda p, t: _f(*p.coefficients(t), p.sigma_data, p.std(t)),
  "mu": lambda p, t: p.posterior(t),
}


def _v(alpha, sigma):
  return -sigma, alpha


def _f(alpha, sigma, s, std):
  return sigma / s / std, -s * alpha / std


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
  """What all processes share; each has `coefficients` and its inverse `time` of its own.

  sigma_data: standard deviation of x0, for what is scaled by that of xt.
  """

  sigma_data: core.Positive = 1.0

  @property
  def least(self) -> float:
    """The smallest time that training sees."""
    return 1e-3

  def coefficients(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha, sigma) at times t, of t's shape; (1, 0) at t = 0."""
    raise NotImplementedError

  def time(self, lam: jax.Array) -> jax.Array:
    """The time at which log(alpha/sigma) is lam."""
    raise NotImplementedError

  def rates(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(alpha', sigma'), derivatives by t."""
    t = jnp.asarray(t)
    return jax.jvp(self.coefficients, (t,), (jnp.ones_like(t),))[1]

  def std(self, t: jax.Array) -> jax.Array:
    """Standard deviation of xt."""
    alpha, sigma = self.coefficients(t)
    return jnp.sqrt((alpha * self.sigma_data) ** 2 + sigma**2)

  def snap(self, u: jax.Array) -> jax.Array:
    """Any u in [0, 1] to a time of training, from `least` to 1."""
    return self.least + (1 - self.least) * u

  def visit(self, t: jax.Array) -> jax.Array:
    """The time of training that is nearest to t."""
    return jnp.clip(t, self.least, 1)

  def c_noise(self, t: jax.Array) -> jax.Array:
    """What the network sees of the time: about as wide a range as DDPM's 0 ... 999."""
    return 1000 * t

  def seen(self, xt: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What a network sees of xt [B, *event] and t [B]: (xt/std(xt), c_noise(t))."""
    return xt / core.expand(self.std(t), xt), self.c_noise(t)

  def grid(self, steps: int) -> np.ndarray:
    """[steps + 1] even times from 1 to 0. UserError if the process has too few."""
    return np.linspace(1, 0, steps + 1)

  def posterior(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The row of mu."""
    raise core.UserError("prediction='mu' is of a step from state to state; use 'ddpm' or 'ncsn'")

  def check(self, prediction: str) -> None:
    """UserError if `prediction` cannot be solved for (x0, eps) at some time."""
    if prediction not in ROWS:
      raise core.unknown("prediction", prediction, ROWS)
    if not self._solvable(prediction):
      others = [name for name in ("v", "velocity", "x0", "F") if self._solvable(name)]
      raise core.UserError(
        f"prediction={prediction!r} with a process of zero terminal signal-to-noise ratio: pure "
        f"noise does not determine x0; use one of {', '.join(others)}"
      )

  def _solvable(self, prediction):
    """Whether det of (3) is not 0 at any time."""
    with jax.ensure_compile_time_eval():
      t = self.snap(jnp.linspace(0, 1, 1001))
      alpha, sigma = self.coefficients(t)
      a, b = ROWS[prediction](self, t)
      return bool(jnp.all(jnp.abs(alpha * b - sigma * a) > 0))


def corrupt(process: Process, x0: jax.Array, eps: jax.Array, t: jax.Array) -> jax.Array:
  """xt of (1); t [B] or scalar, arrays [B, *event]."""
  alpha, sigma = process.coefficients(t)
  return core.expand(alpha, x0) * x0 + core.expand(sigma, x0) * eps


def project(process: Process, prediction: str, x0, eps, t) -> jax.Array:
  """What a network that predicts `prediction` should say of the pair (x0, eps): (2)."""
  a, b = ROWS[prediction](process, t)
  return core.expand(a, x0) * x0 + core.expand(b, x0) * eps


def solve(process: Process, prediction: str, out, xt, t) -> tuple[jax.Array, jax.Array]:
  """(x0, eps) that a network's output `out` at `xt` stands for: (3)."""
  pair = *process.coefficients(t), *ROWS[prediction](process, t)
  alpha, sigma, a, b = (core.expand(c, xt) for c in pair)
  det = alpha * b - sigma * a
  return (b * xt - sigma * out) / det, (alpha * out - a * xt) / det
