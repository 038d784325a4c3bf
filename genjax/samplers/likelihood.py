"""Log-likelihoods of a field: along its probability flow, and by the variational bound.

Both are written on the circle, where all Gaussian processes are one: with phi = atan(sigma/alpha)
and y = xt / sqrt(alpha^2 + sigma^2) the pair (x0, eps) of gaussian.py gives

    y = x0 cos(phi) + eps sin(phi),      dy/dphi = eps cos(phi) - x0 sin(phi) = v             (1)

so that only v, the first phi (of the least time) and the last (of t = 1) are asked of a process.

Flow (Chen et al. 2018, arXiv:1806.07366; Song et al. 2021, arXiv:2011.13456, eq. 39): with y(1) the
end of (1) that starts at the data, and N the distribution that sampling starts from,

    log p(x) = log N(y(1)) + integral tr(dv/dy) dphi                                          (2)

by classical Runge-Kutta steps, even in phi^(1/4). The trace is exact (`probes` = 0, D forward
derivatives) or Hutchinson's e^T (dv/dy) e with signs e drawn once per example: unbiased.

Bound (Kingma et al. 2021, arXiv:2107.00630, eq. 11 and 18; Ho et al. 2020, eq. 5):

    -log p(x) <= KL(q(y(1) | x) || N)  -  E log p(x | y(first))  +  diffusion                  (3)
                 prior                    reconstruction
    diffusion  = integral E |v - v_hat|^2 cot(phi) dphi                     in continuous time
               = sum_k KL(q(x_{k-1} | x_k, x0) || p(x_{k-1} | x_k))         over states of a chain

the last term estimated at `terms` stratified times (ln(phi) uniform, or k). Reconstruction is
p(x_i | y_i), proportional over the levels to N(y_i; x_i cos(phi), sin(phi)^2), or for continuous
data a Gaussian of width tan(phi). A step of a chain whose variance is the posterior's costs
|x0 - x0_hat|^2 (snr_{k-1} - snr_k) / 2. Data on levels of width w begin at tan(phi) = w/6, unless
the process settles its own first noise (a chain, a learned schedule): (3) holds from any, there the
levels can still be told apart (0.003 nats), and what a network errs on less noise is not paid.

Dequantization: data on levels of width w get uniform noise before (2): by Jensen's inequality, the
mean of log p(x + noise) + D ln w is a lower bound of log P(x). The bound (3) does not need it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import chains, gaussian, learned
from genjax.samplers import solvers

RHO = 4.0  # of the grid of (2)
CLEAR = 1 / 6  # the noise that leaves levels apart, in their widths
NEAR, FAR = 24, 12  # levels on each side of one; deviations of the noise beyond which none is meant


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flow:
  """Equation (2). steps: of four evaluations each; probes: of the trace, 0 for the exact one."""

  steps: core.Size = 32
  probes: core.Count = 1

  def log_prob(
    self, field: solvers.VectorField, process, x: jax.Array, key: jax.Array
  ) -> jax.Array:
    """Nats [B] of the density at x [B, *event]; differentiable."""
    ends = jnp.stack(_angles(process)) ** (1 / RHO)
    width = (ends[1] - ends[0]) / self.steps
    speed = self._speed(field, process, x, key)

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
    first, last = (_norm(process, t) for t in (process.least, 1.0))
    (y, change), _ = jax.lax.scan(step, (x / first, jnp.zeros(len(x), x.dtype)), starts)
    normal = _log_normal(y, 0.0, process.std(1.0) / last)
    return _total(normal) + change - x[0].size * jnp.log(first)

  def _speed(self, field, process, x, key):
    """(phi, y) -> (v, trace [B]) of (1) and (2)."""
    if self.probes:
      probes = jax.random.rademacher(key, (self.probes, *x.shape), x.dtype)
      mean = self.probes
    else:
      basis = jnp.eye(x[0].size, dtype=x.dtype).reshape(-1, 1, *x.shape[1:])
      probes, mean = jnp.broadcast_to(basis, (x[0].size, *x.shape)), 1

    def speed(phi, y):
      velocity = lambda y: _v(field, process, phi, y)
      v, push = jax.linearize(velocity, y)
      traces = jax.lax.map(lambda e: _total(e * push(e)), probes)
      return v, jnp.sum(traces, 0) / mean

    return speed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
  """Equation (3). terms: times at which the diffusion term is estimated for each example."""

  terms: core.Size = 16

  def parts(self, field, process, x: jax.Array, key: jax.Array, spec) -> dict[str, jax.Array]:
    """The three terms as nats of log-likelihood [B], each mostly negative: their sum bounds it."""
    at_data, along = jax.random.split(key)
    first = _first(process, spec)
    term = self._state if isinstance(process, chains.Chain) else self._moment

    def one(i):
      u_key, eps_key = jax.random.split(jax.random.fold_in(along, i))
      u = (i + jax.random.uniform(u_key, (len(x),))) / self.terms
      return term(field, process, x, u, jax.random.normal(eps_key, x.shape), first)

    diffusion = jnp.mean(jax.lax.map(one, jnp.arange(self.terms)), 0)
    return {**end_nats(process, x, at_data, spec), "diffusion": -diffusion}

  def _moment(self, field, process, x, u, eps, first):
    """The integrand for u uniform in [0, 1), ln(phi) being linear in it: [B]."""
    _, last = _angles(process)
    span = jnp.log(last / first)
    phi = first * jnp.exp(u * span)
    cos, sin = core.expand(jnp.cos(phi), x), core.expand(jnp.sin(phi), x)
    error = _v(field, process, phi, cos * x + sin * eps) - (cos * eps - sin * x)
    return span * phi * jnp.cos(phi) / jnp.sin(phi) * _total(error**2)

  def _state(self, field, process, x, u, eps, _):
    """The same of a sum over the states 2 ... T."""
    last = process.steps - 1
    t = (jnp.minimum(jnp.floor(u * last), last - 1) + 2) / process.steps
    xt = gaussian.corrupt(process, x, eps, t)
    x0, _, memory = field.at(xt, t, field.start(xt))
    fraction = field.fraction(memory) if field.fraction else 0.0
    return last * step_nats(process, x, t, x0, fraction)


def end_nats(process, x, key, spec) -> dict[str, jax.Array]:
  """The first two terms of (3), [B] nats of log-likelihood: "prior" and "reconstruction"."""
  first, (_, last) = _first(process, spec), _angles(process)
  y = jnp.cos(first) * x + jnp.sin(first) * jax.random.normal(key, x.shape)
  std = process.std(1.0) / _norm(process, 1.0)
  mean, ratio = jnp.cos(last) * x / std, (jnp.sin(last) / std) ** 2
  prior = (ratio - 1 - jnp.log(ratio) + mean**2) / 2
  reconstruction = _reconstruction(x, y, first, spec)
  return {"prior": -_total(prior), "reconstruction": _total(reconstruction)}


def step_nats(process, x0, t, guess, fraction) -> jax.Array:
  """KL(q(x_{k-1} | xt, x0) || p(x_{k-1} | xt)) of a chain's step, [B] nats; 0 at k = 1.

  guess: the x0 of p; fraction: of its variance, see solvers.Field.
  """
  (alpha, sigma), t_s = process.coefficients(t), jnp.maximum(t - 1 / process.steps, 0)
  alpha_s, sigma_s = process.coefficients(t_s)
  later = t > 1.5 / process.steps
  sigma_s = jnp.where(later, sigma_s, sigma)
  wider = -2 * core.expand(jnp.log(sigma_s / sigma), x0) * fraction  # ln of the variances' ratio
  gained = core.expand((alpha_s / sigma_s) ** 2 - (alpha / sigma) ** 2, x0)
  nats = wider + jnp.expm1(-wider) + jnp.exp(-wider) * gained * (x0 - guess) ** 2
  return jnp.where(later, _total(nats) / 2, 0)


def dequantize(x: jax.Array, key: jax.Array, spec: core.DataSpec) -> tuple[jax.Array, float]:
  """(x + uniform noise on its levels, nats to add to a density at it)."""
  if not spec.levels:
    return x, 0.0
  width = spec.level_width
  return x + width * (jax.random.uniform(key, x.shape) - 0.5), x[0].size * np.log(width)


def _first(process, spec):
  """phi at which (3) begins."""
  least, _ = _angles(process)
  if not spec.levels or isinstance(process, chains.Chain | learned.Learned):
    return least
  return jnp.maximum(least, np.arctan(CLEAR * spec.level_width))


def _angles(process):
  """phi at the least time and at t = 1."""
  pairs = (process.coefficients(jnp.asarray(t)) for t in (process.least, 1.0))
  return tuple(jnp.arctan2(sigma, alpha) for alpha, sigma in pairs)


def _norm(process, t):
  return jnp.hypot(*process.coefficients(jnp.asarray(t)))


def _v(field, process, phi, y):
  """v at y on the circle, phi a scalar or [B]."""
  cos, sin = jnp.maximum(jnp.cos(phi), 0), jnp.sin(phi)
  t = jnp.clip(process.time(jnp.log(cos / sin)), process.least, 1)
  x0, eps, _ = field.at(y * core.expand(_norm(process, t), y), t, field.start(y))
  return core.expand(cos, y) * eps - core.expand(sin, y) * x0


def _reconstruction(x, y, phi, spec):
  """log p(x_i | y_i), of x's shape."""
  if not spec.levels:
    return _log_normal(x, y / jnp.cos(phi), jnp.tan(phi))
  (low, high), width = spec.range, spec.level_width
  score = lambda level: -((y - jnp.cos(phi) * level) ** 2) / (2 * jnp.sin(phi) ** 2)

  def total(first, last, level):  # log of the sum over the levels numbered so
    add = lambda i, a: jnp.logaddexp(a, level(i))
    return jax.lax.fori_loop(first, last, add, jnp.full_like(y, -jnp.inf))

  def near(i):  # the i-th after x itself
    level = x + i * width
    there = (level > low - width / 2) & (level < high + width / 2)
    return jnp.where(there, score(level), -jnp.inf)

  every = lambda: total(0, spec.levels, lambda i: score(low + i * width))
  if spec.levels < 2 * NEAR:
    return score(x) - every()
  # Of many levels only those near x can be meant, unless the noise is as large as they are apart.
  small = FAR * jnp.tan(phi) < NEAR * width
  return score(x) - jax.lax.cond(small, lambda: total(-NEAR, NEAR + 1, near), every)


def _log_normal(x, mean, std):
  return -(((x - mean) / std) ** 2) / 2 - jnp.log(std) - np.log(2 * np.pi) / 2


def _total(a):
  """Sum over an example's dimensions: [B, *event] -> [B]."""
  return jnp.sum(a.reshape(len(a), -1), axis=1)
