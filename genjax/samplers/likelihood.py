"""Log-likelihoods of a field: along its probability flow, and by the variational bound.

Both are written on the circle, where all Gaussian processes look the same. With the angle
phi = atan(sigma/alpha) and y = xt / sqrt(alpha^2 + sigma^2), the pair (x0, eps) of gaussian.py
gives

    y = x0 cos(phi) + eps sin(phi),      dy/dphi = eps cos(phi) - x0 sin(phi) = v             (1)

What remains of a process are its first angle (at the least time) and its last one (at t = 1).

Flow (Chen et al. 2018, arXiv:1806.07366; Song et al. 2021, arXiv:2011.13456, eq. 39): let y(1) be
the end of the path (1) that starts at the data, and N the distribution that sampling starts from.
Then

    log p(x) = log N(y(1)) + integral tr(dv/dy) dphi                                          (2)

computed by classical Runge-Kutta steps, even in phi^(1/4). The trace is exact (`probes` = 0, by D
forward derivatives for D dimensions), or Hutchinson's unbiased estimate e^T (dv/dy) e with random
signs e, which each example draws once and keeps along its path.

Bound (Kingma et al. 2021, arXiv:2107.00630, eq. 11 and 18; Ho et al. 2020, arXiv:2006.11239,
eq. 5):

    -log p(x) <= KL(q(y(1) | x) || N)  -  E log p(x | y(first))  +  diffusion                  (3)
                 prior                    reconstruction
    diffusion  = integral E |v - v_hat|^2 cot(phi) dphi                     in continuous time
               = sum_k KL(q(x_{k-1} | x_k, x0) || p(x_{k-1} | x_k))         over states of a chain

The diffusion term is estimated at `terms` stratified times, uniform in ln(phi) or in k. A step of a
chain whose variance is the posterior's costs |x0 - x0_hat|^2 (snr_{k-1} - snr_k) / 2.

The reconstruction term is the probability p(x_i | y_i) of the right level of each dimension: over
the levels it is proportional to N(y_i; x_i cos(phi), sin(phi)^2). For continuous data it is the
density of a Gaussian of standard deviation tan(phi).

The bound holds for any first angle. For data on levels of width w it begins at tan(phi) = w/6,
where the levels can still be told apart: the reconstruction costs 0.004 nats for each neighbouring
level, and the network's errors at less noise than that cost nothing. A chain and a learned schedule
bring a first noise level of their own, and the bound begins there.

Dequantization: data on levels of width w get uniform noise before (2). By Jensen's inequality, the
mean of log p(x + noise) + D ln w is a lower bound of log P(x). The bound (3) needs no such noise.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import chains, gaussian, learned
from genjax.samplers import solvers

# The steps of (2) are even in phi^(1/RHO): the flow turns fastest near the data.
RHO = 4.0
# Noise of this standard deviation, in widths of a level, still lets the levels be told apart.
CLEAR = 1 / 6
# How many levels on each side of x compete in the reconstruction term.
NEAR = 24
# Levels further away than this many standard deviations of the noise have no weight.
FAR = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flow:
  """Log-density along the probability flow, equation (2).

  steps: Runge-Kutta steps from the data to the noise, of four evaluations of the field each.
  probes: random probes of Hutchinson's trace estimator; 0 computes the exact trace.
  """

  steps: core.Size = 32
  probes: core.Count = 1

  def log_prob(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    x: jax.Array,
    key: jax.Array,
  ) -> jax.Array:
    """Returns the log-density at x [B, *event] in nats [B]; differentiable."""
    # With u = phi^(1/RHO) for time, steps of equal width crowd near the data.
    ends = jnp.stack(_angles(process)) ** (1 / RHO)
    width = (ends[1] - ends[0]) / self.steps
    speed = self._speed(field, process, x, key)

    # The derivative by u of the state (y, integral of the trace).
    def rate(u, state):
      phi = u**RHO
      return jax.tree.map(lambda a: RHO * u ** (RHO - 1) * a, speed(phi, state[0]))

    def step(state, u):
      ahead = lambda k, h: jax.tree.map(lambda a, b: a + h * b, state, k)
      k1 = rate(u, state)
      k2 = rate(u + width / 2, ahead(k1, width / 2))
      k3 = rate(u + width / 2, ahead(k2, width / 2))
      k4 = rate(u + width, ahead(k3, width))
      mean = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
      return ahead(mean, width), None

    starts = (ends[0] + width * jnp.arange(self.steps)).astype(x.dtype)
    # x is xt at the least time and y = x / first, so the densities of x and y differ by first^D.
    first, last = (_norm(process, t) for t in (process.least, 1.0))
    state = x / first, jnp.zeros(len(x), x.dtype)
    (y, change), _ = jax.lax.scan(step, state, starts)

    normal = _log_normal(y, 0.0, process.std(1.0) / last)
    return _total(normal) + change - x[0].size * jnp.log(first)

  def _speed(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    x: jax.Array,
    key: jax.Array,
  ) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Returns the function (phi, y) -> (v [B, *event], trace [B]) of (1) and (2)."""
    # The trace is the sum of e^T (dv/dy) e over all unit vectors e, or the mean over random signs.
    if self.probes:
      probes = jax.random.rademacher(key, (self.probes, *x.shape), x.dtype)
      mean = self.probes
    else:
      basis = jnp.eye(x[0].size, dtype=x.dtype).reshape(-1, 1, *x.shape[1:])
      probes = jnp.broadcast_to(basis, (x[0].size, *x.shape))
      mean = 1

    def speed(phi, y):
      velocity = lambda y: _v(field, process, phi, y)
      v, push = jax.linearize(velocity, y)
      traces = jax.lax.map(lambda e: _total(e * push(e)), probes)  # [probes, B]
      return v, jnp.sum(traces, 0) / mean

    return speed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
  """The variational bound, equation (3).

  terms: number of times at which the diffusion term is estimated for each example.
  """

  terms: core.Size = 16

  def parts(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    x: jax.Array,
    key: jax.Array,
    spec: core.DataSpec,
  ) -> dict[str, jax.Array]:
    """Returns the terms "prior", "reconstruction" and "diffusion" for x [B, *event].

    Each term is [B] in nats of log-likelihood, hence mostly negative; their sum is the bound.
    """
    at_data, along = jax.random.split(key)
    first = _first(process, spec)
    term = self._state if isinstance(process, chains.Chain) else self._moment

    # The estimate [B] at random times in the i-th of `terms` equal parts of [0, 1].
    def one(i):
      u_key, eps_key = jax.random.split(jax.random.fold_in(along, i))
      u = (i + jax.random.uniform(u_key, (len(x),))) / self.terms
      return term(field, process, x, u, jax.random.normal(eps_key, x.shape), first)

    # One after the other, so that storage does not grow with `terms`.
    diffusion = jnp.mean(jax.lax.map(one, jnp.arange(self.terms)), 0)
    return {**end_nats(process, x, at_data, spec), "diffusion": -diffusion}

  def _moment(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    x: jax.Array,
    u: jax.Array,
    eps: jax.Array,
    first: jax.Array,
  ) -> jax.Array:
    """Estimates the integral of (3) at the angle first (last/first)^u, [B].

    u: [B], uniform in [0, 1).
    first: the angle at which the integral begins.
    """
    _, last = _angles(process)
    span = jnp.log(last / first)
    phi = first * jnp.exp(u * span)
    cos = core.expand(jnp.cos(phi), x)
    sin = core.expand(jnp.sin(phi), x)

    # v_hat - v at y = cos x + sin eps; dphi = span phi du.
    error = _v(field, process, phi, cos * x + sin * eps) - (cos * eps - sin * x)
    return span * phi * jnp.cos(phi) / jnp.sin(phi) * _total(error**2)

  def _state(
    self,
    field: solvers.VectorField,
    process: chains.Chain,
    x: jax.Array,
    u: jax.Array,
    eps: jax.Array,
    _: jax.Array,
  ) -> jax.Array:
    """Estimates the sum of (3) over the states 2 ... T at one of them, [B].

    u: [B], uniform in [0, 1), which selects the state.
    """
    last = process.steps - 1
    t = (jnp.minimum(jnp.floor(u * last), last - 1) + 2) / process.steps
    xt = gaussian.corrupt(process, x, eps, t)
    x0, _, memory = field.at(xt, t, field.start(xt))

    fraction = field.fraction(memory) if field.fraction else 0.0
    return last * step_nats(process, x, t, x0, fraction)


def end_nats(
  process: gaussian.Process, x: jax.Array, key: jax.Array, spec: core.DataSpec
) -> dict[str, jax.Array]:
  """Returns the first two terms of (3), "prior" and "reconstruction", for x [B, *event].

  Each is [B] in nats of log-likelihood.
  """
  first = _first(process, spec)
  _, last = _angles(process)
  y = jnp.cos(first) * x + jnp.sin(first) * jax.random.normal(key, x.shape)

  # KL(N(cos x, sin^2) || N(0, std^2)) of each dimension, in units of std.
  std = process.std(1.0) / _norm(process, 1.0)
  mean = jnp.cos(last) * x / std
  ratio = (jnp.sin(last) / std) ** 2
  prior = (ratio - 1 - jnp.log(ratio) + mean**2) / 2

  reconstruction = _reconstruction(x, y, first, spec)
  return {"prior": -_total(prior), "reconstruction": _total(reconstruction)}


def step_nats(
  process: chains.Chain,
  x0: jax.Array,
  t: jax.Array,
  guess: jax.Array,
  fraction: jax.Array | float,
) -> jax.Array:
  """Returns KL(q(x_{k-1} | xt, x0) || p(x_{k-1} | xt)) of a chain's step in nats [B]; 0 at k = 1.

  t: [B], times of the states k.
  guess: the x0 [B, *event] that p uses.
  fraction: which variance p has, from 0 (the posterior's) to 1, see solvers.VectorField.
  """
  alpha, sigma = process.coefficients(t)
  t_s = jnp.maximum(t - 1 / process.steps, 0)
  alpha_s, sigma_s = process.coefficients(t_s)

  # At k = 1, x_{k-1} is the data and sigma_s = 0: any finite number will do.
  later = t > 1.5 / process.steps
  sigma_s = jnp.where(later, sigma_s, sigma)

  # ln(variance of p / variance of q), and the growth of the signal-to-noise ratio.
  wider = -2 * core.expand(jnp.log(sigma_s / sigma), x0) * fraction
  gained = core.expand((alpha_s / sigma_s) ** 2 - (alpha / sigma) ** 2, x0)
  nats = wider + jnp.expm1(-wider) + jnp.exp(-wider) * gained * (x0 - guess) ** 2
  return jnp.where(later, _total(nats) / 2, 0)


def dequantize(x: jax.Array, key: jax.Array, spec: core.DataSpec) -> tuple[jax.Array, float]:
  """Adds uniform noise of one level's width to data on levels.

  Returns (the noisy x [B, *event], the nats D ln w to add to a log-density there). Continuous data
  stay as they are.
  """
  if not spec.levels:
    return x, 0.0
  width = spec.level_width
  return x + width * (jax.random.uniform(key, x.shape) - 0.5), x[0].size * np.log(width)


def _first(process: gaussian.Process, spec: core.DataSpec) -> jax.Array:
  """Returns the angle at which the bound (3) begins."""
  least, _ = _angles(process)
  if not spec.levels or isinstance(process, chains.Chain | learned.Learned):
    return least
  return jnp.maximum(least, np.arctan(CLEAR * spec.level_width))


def _angles(process: gaussian.Process) -> tuple[jax.Array, jax.Array]:
  """Returns the angle phi at the least time and at t = 1."""
  pairs = (process.coefficients(jnp.asarray(t)) for t in (process.least, 1.0))
  return tuple(jnp.arctan2(sigma, alpha) for alpha, sigma in pairs)


def _norm(process: gaussian.Process, t: jax.Array | float) -> jax.Array:
  """Returns sqrt(alpha^2 + sigma^2) at time t."""
  return jnp.hypot(*process.coefficients(jnp.asarray(t)))


def _v(
  field: solvers.VectorField, process: gaussian.Process, phi: jax.Array, y: jax.Array
) -> jax.Array:
  """Returns the v of (1) that the field predicts at y [B, *event]; phi is a scalar or [B]."""
  # At pi/2 the cosine may fall below 0 by rounding.
  cos = jnp.maximum(jnp.cos(phi), 0)
  sin = jnp.sin(phi)

  # From the circle to the process: its time, and its xt = y sqrt(alpha^2 + sigma^2).
  t = jnp.clip(process.time(jnp.log(cos / sin)), process.least, 1)
  x0, eps, _ = field.at(y * core.expand(_norm(process, t), y), t, field.start(y))
  return core.expand(cos, y) * eps - core.expand(sin, y) * x0


def _reconstruction(x: jax.Array, y: jax.Array, phi: jax.Array, spec: core.DataSpec) -> jax.Array:
  """Returns log p(x_i | y_i) of each dimension, [B, *event]."""
  if not spec.levels:
    return _log_normal(x, y / jnp.cos(phi), jnp.tan(phi))
  low, high = spec.range
  width = spec.level_width

  # log N(y; level cos, sin^2), without the terms that all levels share.
  score = lambda level: -((y - jnp.cos(phi) * level) ** 2) / (2 * jnp.sin(phi) ** 2)

  # log of the sum over the levels of the numbers first ... last - 1, one at a time to save storage.
  def total(first, last, level):
    add = lambda i, a: jnp.logaddexp(a, level(i))
    return jax.lax.fori_loop(first, last, add, jnp.full_like(y, -jnp.inf))

  # The score of the i-th level above x, -infinity beyond the ends of the range.
  def near(i):
    level = x + i * width
    there = (level > low - width / 2) & (level < high + width / 2)
    return jnp.where(there, score(level), -jnp.inf)

  every = lambda: total(0, spec.levels, lambda i: score(low + i * width))
  if spec.levels < 2 * NEAR:
    return score(x) - every()

  # Of many levels only those near x have any weight, unless the noise is wide.
  small = FAR * jnp.tan(phi) < NEAR * width
  return score(x) - jax.lax.cond(small, lambda: total(-NEAR, NEAR + 1, near), every)


def _log_normal(x: jax.Array, mean: jax.Array | float, std: jax.Array | float) -> jax.Array:
  """Returns log N(x; mean, std^2) of each dimension."""
  return -(((x - mean) / std) ** 2) / 2 - jnp.log(std) - np.log(2 * np.pi) / 2


def _total(a: jax.Array) -> jax.Array:
  """Returns the sum over the dimensions of each example, [B, *event] -> [B]."""
  return jnp.sum(a.reshape(len(a), -1), axis=1)
