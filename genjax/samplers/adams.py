"""Adams' methods: eps is extrapolated from earlier answers along the probability flow.

With rho = sigma/alpha the flow is d(x/alpha) = eps drho, so a step from t to s is that of DDIM,
which takes eps to be constant, and a correction,

    xs = alpha_s x0 + sigma_s eps_0 + alpha_s (rho_s - rho_t) (sum_j w_j eps_j - eps_0),      (1)

where eps_0 is the newest of the k answers eps_j and sum_j w_j eps_j the mean of eps over the step's
rho. Take for eps the polynomial through the answers in a variable y that grows along with rho. With
v = (y - y_t) / (y_s - y_t) and r = (rho - rho_t) / (rho_s - rho_t), the weights are those that are
right for the powers of v,

    sum_j w_j v_j^i = integral_0^1 v^i dr = 1 - i integral_0^1 v^(i-1) r(v) dv               (2)

    lms     y = rho: Adams and Bashforth with uneven steps; the sampler that k-diffusion calls LMS
    deis    y = t: tAB-DEIS; or y = log(rho)                    Zhang & Chen 2023, arXiv:2204.13902
    pndm    w = 55/24, -59/24, 37/24, -9/24, as for even steps of rho, whatever the steps are; three
            pseudo Runge-Kutta steps first: F-PNDM              Liu et al. 2022, arXiv:2202.09778

lms and deis are of order k. DEIS in rho is lms; its authors' choice is t with k = 3 on a grid even
in sqrt(t) ("quadratic"), other libraries took log(rho). pndm is of order 2 on grids even in t: its
weights yield the mean over even t, which differs from that over rho by h^2 rho''/(12 rho') deps/dt;
it is of order 4 where rho is linear in t, as in "edm".

The first steps of lms and deis have fewer answers and use those. A step from pure noise (rho is
infinite) is DDIM's, and one to sigma = 0 returns x0.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.samplers import grids, multistep

_BASHFORTH = np.array([55, -59, 37, -9]) / 24

Order = Annotated[int, core.Bounds(1, 4)]
# y: ((process, t) -> y, (process, y) -> rho)
VARIABLES = {
  "rho": (lambda p, t: _rho(p, t), lambda p, y: y),
  "log_rho": (lambda p, t: jnp.log(_rho(p, t)), lambda p, y: jnp.exp(y)),
  "t": (lambda p, t: t, lambda p, y: _rho(p, y)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LMS:
  """Equations (1) and (2) in rho. order: answers used."""

  steps: core.Size = 20
  order: Order = 4
  grid: core.Grid = grids.UniformGrid()
  variable = "rho"

  def start(self, xt):
    return multistep.PastAnswers.none(xt, self.order)

  def step(self, field, process, xt, t, s, z, memory, history):
    place, rho = VARIABLES[self.variable]
    x0, eps, memory = field.at(xt, t, memory)
    history = history.add(eps, place(process, t))  # its `x0` is our eps, its `lam` our y
    y, length = history.lam, place(process, s) - place(process, t)
    r = lambda v: _relative(process, rho(process, y[0] + v * length), t, s)
    weights = _weights((y - y[0]) / length, r, history.count)
    mean = jnp.tensordot(weights, history.x0, 1)
    return _step(process, x0, eps, mean, t, s), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class DEIS(LMS):
  """The same in another variable, a name in VARIABLES."""

  order: Order = 3
  variable: str = "t"

  def __post_init__(self):
    if self.variable not in VARIABLES:
      raise core.unknown("variable", self.variable, VARIABLES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PNDM:
  """Equation (1) with constant weights; the first three steps take four evaluations each."""

  steps: core.Size = 50
  grid: core.Grid = grids.UniformGrid()

  def start(self, xt):
    return multistep.PastAnswers.none(xt, 4)

  def step(self, field, process, xt, t, s, z, memory, history):
    x0, eps, memory = field.at(xt, t, memory)
    history = history.add(eps, t)
    move = lambda mean, s: _step(process, x0, eps, mean, t, s)
    mean, memory = jax.lax.cond(
      history.count < 4,
      lambda memory: _runge_kutta(field, move, eps, t, s, memory),
      lambda memory: (jnp.tensordot(_BASHFORTH.astype(eps.dtype), history.x0, 1), memory),
      memory,
    )
    return move(mean, s), memory, history


def _runge_kutta(field, move, eps, t, s, memory):
  """The mean of eps by Kutta's rule, each evaluation at where the one before it leads."""
  s = jnp.where(s > 0, s, t)  # a step to the data asks for no mean, and no network knows its end

  def stage(carry, inputs):
    mean, eps, memory = carry
    stop, weight = inputs
    _, eps, memory = field.at(move(eps, stop), stop, memory)
    return (mean + weight * eps, eps, memory), None

  stops, weights = jnp.stack([(t + s) / 2, (t + s) / 2, s]), jnp.array([2, 2, 1], eps.dtype) / 6
  (mean, _, memory), _ = jax.lax.scan(stage, (eps / 6, eps, memory), (stops, weights))
  return mean, memory


def _rho(process, t):
  alpha, sigma = process.coefficients(t)
  return sigma / alpha


def _relative(process, rho, t, s):
  """r of (2)."""
  return (rho - _rho(process, t)) / (_rho(process, s) - _rho(process, t))


def _step(process, x0, eps, mean, t, s):
  """xs of (1), for the mean of eps over the step."""
  alpha_s, sigma_s = process.coefficients(s)
  change = alpha_s * (_rho(process, s) - _rho(process, t))
  fine = (sigma_s > 0) & jnp.isfinite(change)
  return alpha_s * x0 + sigma_s * eps + jnp.where(fine, change * (mean - eps), 0)


def _weights(v, r, count):
  """w [k] of (2) for the times v [k] of which the first `count` exist; 0 for the others."""
  nodes, i = jnp.asarray((multistep.NODES + 1) / 2, v.dtype), jnp.arange(len(v))  # on [0, 1]
  before = nodes ** jnp.maximum(i - 1, 0)[:, None]
  moments = 1 - i * jnp.sum(jnp.asarray(multistep.GAUSS / 2, v.dtype) * before * r(nodes), axis=1)
  return multistep.solve(v, moments, count)
