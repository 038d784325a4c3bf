"""Adams methods: eps is extrapolated from earlier evaluations along the probability flow.

With rho = sigma/alpha the flow is d(x/alpha) = eps drho. DDIM takes eps to be constant over a step
from t to s. An Adams method adds a correction,

    xs = alpha_s x0 + sigma_s eps_0 + alpha_s (rho_s - rho_t) (sum_j w_j eps_j - eps_0),      (1)

where eps_0 is the newest of the k answers eps_j, and sum_j w_j eps_j is the mean of eps over the
step's rho. The mean is that of the polynomial through the answers in a variable y, which grows
along with rho. With

    v = (y - y_t) / (y_s - y_t),      r = (rho - rho_t) / (rho_s - rho_t),

the weights are the ones that integrate the powers of v exactly,

    sum_j w_j v_j^i = integral_0^1 v^i dr = 1 - i integral_0^1 v^(i-1) r(v) dv               (2)

    lms     y = rho: Adams-Bashforth with uneven steps, the sampler that k-diffusion calls LMS
    deis    y = t (tAB-DEIS) or y = log(rho)       Zhang & Chen 2023, arXiv:2204.13902
    pndm    w = 55/24, -59/24, 37/24, -9/24, the weights for even steps of rho, used whatever the
            steps are; the first three steps are pseudo Runge-Kutta steps (F-PNDM)
                                                   Liu et al. 2022, arXiv:2202.09778

Both lms and deis are of order k. DEIS in rho is lms. The authors of DEIS chose y = t with k = 3 on
a grid even in sqrt(t) ("quadratic"); other libraries chose log(rho). On grids even in t, pndm is of
order 2: its weights yield the mean over even t, which differs from the mean over rho by
h^2 rho''/(12 rho') deps/dt. It is of order 4 where rho is linear in t, as in "edm".

The first steps of lms and deis use the answers that there are, fewer than k. A step from pure noise
(infinite rho) is DDIM's, and a step to sigma = 0 returns x0.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import grids, multistep, solvers

# Adams-Bashforth weights of four answers at even steps, the newest first.
_BASHFORTH = np.array([55, -59, 37, -9]) / 24

Order = Annotated[int, core.Bounds(1, 4)]
# name of y: ((process, t) -> y, (process, y) -> rho)
VARIABLES = {
  "rho": (lambda p, t: _rho(p, t), lambda p, y: y),
  "log_rho": (lambda p, t: jnp.log(_rho(p, t)), lambda p, y: jnp.exp(y)),
  "t": (lambda p, t: t, lambda p, y: _rho(p, y)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LMS:
  """Equations (1) and (2) with y = rho, one evaluation a step.

  order: k, how many answers the polynomial passes through.
  """

  steps: core.Size = 20
  order: Order = 4
  grid: core.Grid = grids.UniformGrid()
  variable = "rho"

  def start(self, xt: jax.Array) -> multistep.PastAnswers:
    """Returns the history before the first step, without answers."""
    return multistep.PastAnswers.none(xt, self.order)

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: multistep.PastAnswers,
  ) -> tuple[jax.Array, Any, multistep.PastAnswers]:
    """Takes the step (1) with the weights (2)."""
    place, rho = VARIABLES[self.variable]
    x0, eps, memory = field.at(xt, t, memory)

    # PastAnswers is written for DPM-Solver++: its field `x0` holds our eps, and `lam` our y.
    history = history.add(eps, place(process, t))
    y = history.lam
    length = place(process, s) - place(process, t)

    r = lambda v: _relative(process, rho(process, y[0] + v * length), t, s)
    weights = _weights((y - y[0]) / length, r, history.count)
    mean = jnp.tensordot(weights, history.x0, 1)
    return _step(process, x0, eps, mean, t, s), memory, history


@dataclasses.dataclass(frozen=True, kw_only=True)
class DEIS(LMS):
  """Equations (1) and (2) with any y, one evaluation a step.

  order: k, how many answers the polynomial passes through.
  variable: y, a name in VARIABLES.
  """

  order: Order = 3
  variable: str = "t"

  def __post_init__(self):
    if self.variable not in VARIABLES:
      raise core.unknown("variable", self.variable, VARIABLES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PNDM:
  """Equation (1) with constant weights, one evaluation a step but four in the first three steps."""

  steps: core.Size = 50
  grid: core.Grid = grids.UniformGrid()

  def start(self, xt: jax.Array) -> multistep.PastAnswers:
    """Returns the history before the first step, without answers."""
    return multistep.PastAnswers.none(xt, 4)

  def step(
    self,
    field: solvers.VectorField,
    process: gaussian.Process,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: multistep.PastAnswers,
  ) -> tuple[jax.Array, Any, multistep.PastAnswers]:
    """Takes the step (1), by Kutta's rule until there are four answers."""
    x0, eps, memory = field.at(xt, t, memory)
    # PastAnswers' field `x0` holds our eps.
    history = history.add(eps, t)
    move = lambda mean, s: _step(process, x0, eps, mean, t, s)

    mean, memory = jax.lax.cond(
      history.count < 4,
      lambda memory: _runge_kutta(field, move, eps, t, s, memory),
      lambda memory: (jnp.tensordot(_BASHFORTH.astype(eps.dtype), history.x0, 1), memory),
      memory,
    )
    return move(mean, s), memory, history


def _runge_kutta(
  field: solvers.VectorField,
  move: Callable[[jax.Array, jax.Array], jax.Array],
  eps: jax.Array,
  t: jax.Array,
  s: jax.Array,
  memory: Any,
) -> tuple[jax.Array, Any]:
  """Returns the mean of eps over the step from t to s by Kutta's rule, and the field's memory.

  move: (mean of eps, stop) -> x at the time `stop`, by equation (1) from t.
  eps: the answer at t. Each further evaluation is where the answer before it leads.
  """
  # A step to the data needs no mean, and the network knows no time 0: ask at t instead.
  s = jnp.where(s > 0, s, t)

  def stage(carry, inputs):
    mean, eps, memory = carry
    stop, weight = inputs
    _, eps, memory = field.at(move(eps, stop), stop, memory)
    return (mean + weight * eps, eps, memory), None

  # Kutta's weights are 1/6, 2/6, 2/6 and 1/6; the first answer is already there.
  stops = jnp.stack([(t + s) / 2, (t + s) / 2, s])
  weights = jnp.array([2, 2, 1], eps.dtype) / 6
  (mean, _, memory), _ = jax.lax.scan(stage, (eps / 6, eps, memory), (stops, weights))
  return mean, memory


def _rho(process: gaussian.Process, t: jax.Array) -> jax.Array:
  """Returns sigma/alpha at time t."""
  alpha, sigma = process.coefficients(t)
  return sigma / alpha


def _relative(process: gaussian.Process, rho: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
  """Returns r of (2): 0 at rho_t and 1 at rho_s."""
  return (rho - _rho(process, t)) / (_rho(process, s) - _rho(process, t))


def _step(
  process: gaussian.Process,
  x0: jax.Array,
  eps: jax.Array,
  mean: jax.Array,
  t: jax.Array,
  s: jax.Array,
) -> jax.Array:
  """Returns xs of (1), for the given mean of eps over the step."""
  alpha_s, sigma_s = process.coefficients(s)
  change = alpha_s * (_rho(process, s) - _rho(process, t))

  # DDIM from pure noise, where rho_t is infinite; x0 at the data.
  fine = (sigma_s > 0) & jnp.isfinite(change)
  return alpha_s * x0 + sigma_s * eps + jnp.where(fine, change * (mean - eps), 0)


def _weights(
  v: jax.Array, r: Callable[[jax.Array], jax.Array], count: jax.Array | int
) -> jax.Array:
  """Returns w [k] of (2) for the answers at v [k]; only the first `count` exist, others get 0."""
  # Gauss-Legendre quadrature on [0, 1].
  nodes = jnp.asarray((multistep.NODES + 1) / 2, v.dtype)
  i = jnp.arange(len(v))

  # v^(i-1) at the nodes, [k, nodes]; for i = 0 the power does not matter, as it is multiplied by i.
  before = nodes ** jnp.maximum(i - 1, 0)[:, None]
  moments = 1 - i * jnp.sum(jnp.asarray(multistep.GAUSS / 2, v.dtype) * before * r(nodes), axis=1)
  return multistep.solve(v, moments, count)
