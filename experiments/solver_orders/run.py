"""Of which order is every solver, on data whose denoiser has a closed form? All in float64.

    python experiments/solver_orders/run.py

Deterministic solvers: in one dimension the probability flow keeps the quantile of each point, so
the exact end of a trajectory is the same quantile of the marginal at the last time.

Stochastic solvers: for Gaussian data all steps are affine, so the end is

    x(end) = c + a x(1) + sum_i b_i z_i,                                                      (1)

with z_i ~ N(0, 1) the noise of step i. Trajectories from the basis of (x(1), z) give c, a and b. So
mean and variance at the end are exact sums and nothing is sampled.

No grid goes on to sigma = 0, because the last step there returns x0 and has no order. Writes
results.json, orders.png and the tables in README.md.
"""

import dataclasses
import functools
import importlib.metadata
import itertools
import json
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from scipy import integrate, optimize, special

from genjax import registry
from genjax.processes import continuous
from genjax.report import markdown
from genjax.samplers import adams, grids, multistep, singlestep, solvers

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
STEPS = (16, 32, 64, 128, 256, 512, 1024)
# Trajectories of the probability flow start from these quantiles.
QUANTILES = (0.1, 0.3, 0.6, 0.9)
# Errors below this consist of rounding.
ROUNDING = 1e-11
KARRAS = grids.Karras()
# Even in sigma/alpha.
EVEN = grids.Karras(rho=1.0)


class Data(NamedTuple):
  """A mixture of two Gaussians (one Gaussian, if both are equal); each field [2]."""

  weights: np.ndarray
  means: np.ndarray
  stds: np.ndarray


class Row(NamedTuple):
  """A row of the tables.

  solver: the solver.
  order: the order by which it is known.
  cost: its evaluations of the field in n steps.
  """

  solver: Any
  order: int
  cost: Callable[[int], int] = lambda n: n


class VP(continuous.VP):
  """VP that stops at t = 0.05, where sigma is 0.17."""

  least = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThreeM:
  """DPM-Solver++(3M) from Taylor's theorem (after Lu et al. 2022, arXiv:2211.01095).

      xs = sigma_s/sigma_t xt + alpha_s (phi_1 f + phi_2 f' + phi_3 f''),                     (2)
      phi_1 = 1 - e^-h,   phi_2 = h - phi_1,   phi_3 = h^2/2 - phi_2

  Here f is x0 as a function of lambda = log(alpha/sigma), and f', f'' are the derivatives of the
  parabola through the newest three values of x0.

  factor: f'' as a multiple of the second divided difference. 2 is right; libraries take 1.
  """

  factor: float
  steps: int = 20
  grid: Any = KARRAS

  def start(self, xt: jax.Array) -> multistep.PastAnswers:
    """Returns the empty history of past values of x0."""
    return multistep.PastAnswers.none(xt, 3)

  def step(
    self,
    field: solvers.VectorField,
    process: Any,
    xt: jax.Array,
    t: jax.Array,
    s: jax.Array,
    z: jax.Array,
    memory: Any,
    history: multistep.PastAnswers,
  ) -> tuple[jax.Array, Any, multistep.PastAnswers]:
    """Returns (xs, memory, history) after one step from t to s."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process.coefficients(t), process.coefficients(s)
    x0, _, memory = field.at(xt, t, memory)
    lam = jnp.log(alpha_t / sigma_t)
    history = history.add(x0, lam)
    h = jnp.log(alpha_s / sigma_s) - lam

    # Equation (2).
    phi_1 = -jnp.expm1(-h)
    phi_2 = h - phi_1
    phi_3 = h**2 / 2 - phi_2
    slope, second = _divided(history)
    taylor = phi_1 * x0 + phi_2 * slope + phi_3 * self.factor * second
    return sigma_s / sigma_t * xt + alpha_s * taylor, memory, history


def _divided(answers: multistep.PastAnswers) -> tuple[jax.Array, jax.Array]:
  """Returns the slope of the parabola at the newest value, and its second divided difference.

  Differences whose values are not there yet are 0.
  """
  (f0, f1, f2), (l0, l1, l2) = answers.x0, answers.lam
  ratio = lambda a, b, there: jnp.where(there, a / jnp.where(there, b, 1), 0)
  first = ratio(f0 - f1, l0 - l1, answers.count > 1)
  older = ratio(f1 - f2, l1 - l2, answers.count > 2)
  second = ratio(first - older, l0 - l2, answers.count > 2)
  return first + (l0 - l1) * second, second


DATA = {
  "Gaussian": Data(np.full(2, 0.5), np.full(2, 0.7), np.full(2, 0.4)),
  "mixture": Data(np.array([0.4, 0.6]), np.array([-1.0, 1.0]), np.array([0.3, 0.5])),
}
PROBLEMS = {
  "2 to 0.1": continuous.EDM(sigma_max=2.0, sigma_min=0.1),
  "80 to 0.002": continuous.EDM(sigma_max=80.0, sigma_min=0.002),
  "VP": VP(),
}
# Evaluations of a solver that takes two a step.
TWICE = lambda n: 2 * n
# Solvers of the probability flow.
FLOW = {
  "ddim": Row(solvers.DDIM(grid=KARRAS), 1),
  "euler": Row(singlestep.Euler(grid=KARRAS), 1),
  "heun": Row(singlestep.Heun(grid=KARRAS), 2, TWICE),
  "dpm++2s": Row(singlestep.Midpoint(grid=KARRAS), 2, TWICE),
  **{f"dpm++ {k}": Row(multistep.DPMSolver(order=k, grid=KARRAS), k) for k in (1, 2, 3)},
  "3M as published": Row(ThreeM(factor=1.0), 3),
  "3M with the factor 2": Row(ThreeM(factor=2.0), 3),
  **{f"unipc {k}": Row(multistep.UniPC(order=k, grid=KARRAS), k + 1) for k in (1, 2, 3)},
  **{f"lms {k}": Row(adams.LMS(order=k, grid=KARRAS), k) for k in (1, 2, 3, 4)},
  **{f"deis {k}": Row(adams.DEIS(order=k, grid=KARRAS), k) for k in (1, 2, 3, 4)},
  **{
    f"deis {k}, log(rho)": Row(adams.DEIS(order=k, variable="log_rho", grid=KARRAS), k)
    for k in (2, 3, 4)
  },
  "pndm": Row(adams.PNDM(grid=KARRAS), 4, lambda n: n + 9),
  "pndm, even sigma/alpha": Row(adams.PNDM(grid=EVEN), 4, lambda n: n + 9),
}
# Stochastic solvers; their order is the weak one.
NOISY = {
  "euler_maruyama": Row(singlestep.EulerMaruyama(grid=KARRAS), 1),
  "ancestral, posterior": Row(solvers.Ancestral(grid=KARRAS), 1),
  "ancestral, upper": Row(solvers.Ancestral(variance="upper", grid=KARRAS), 1),
  "ddim, eta 0.5": Row(solvers.DDIM(eta=0.5, grid=KARRAS), 1),
  "ddim, eta 1": Row(solvers.DDIM(eta=1.0, grid=KARRAS), 1),
  **{f"dpm++ {k}, eta 1": Row(multistep.DPMSolver(order=k, eta=1.0, grid=KARRAS), k)
     for k in (1, 2, 3)},
  "heun, churn 40": Row(singlestep.Heun(churn=40.0, grid=KARRAS), 2, TWICE),
}  # fmt: skip
# Without an order in the number of steps: the first chooses its steps by itself, the others stay at
# a time for several steps.
WITHOUT = ("adaptive", "predictor_corrector", "annealed_langevin")
# Not in the figure, because they take the same steps as "ancestral, posterior".
SAME = ("ddim, eta 1", "dpm++ 1, eta 1")
# Lines of the figure, for solvers that differ: (color, dashed).
LINES = {
  "ddim": ("black", False),
  "heun": ("gray", False),
  "dpm++2s": ("gray", True),
  "dpm++ 2": ("tab:blue", False),
  "dpm++ 3": ("tab:blue", True),
  "3M as published": ("tab:red", False),
  "unipc 2": ("tab:orange", False),
  "unipc 3": ("tab:orange", True),
  "lms 3": ("tab:green", False),
  "lms 4": ("tab:green", True),
  "deis 4, log(rho)": ("tab:purple", True),
  "pndm": ("tab:brown", True),
}


def field(data: Data, process: Any) -> solvers.VectorField:
  """Returns the field of the exact posterior means, for xt [N, 1]."""

  def at(xt, t, memory):
    alpha, sigma = process.coefficients(t)
    off = xt - alpha * data.means  # [N, 2], a column for each component
    var = (alpha * data.stds) ** 2 + sigma**2

    # The posterior probability of each component, and its posterior mean of x0.
    belongs = jax.nn.softmax(jnp.log(data.weights) - off**2 / (2 * var) - jnp.log(var) / 2)
    each = data.means + alpha * data.stds**2 / var * off
    x0 = jnp.sum(belongs * each, axis=-1, keepdims=True)
    return x0, (xt - alpha * x0) / sigma, memory

  return solvers.VectorField(lambda xt: (), at)


def marginal(data: Data, process: Any, t: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the means [2] and standard deviations [2] of the components of xt."""
  alpha, sigma = (float(c) for c in process.coefficients(jnp.asarray(t)))
  return alpha * data.means, np.hypot(alpha * data.stds, sigma)


def quantiles(data: Data, process: Any, t: float) -> np.ndarray:
  """Returns the QUANTILES of xt, [4, 1]."""
  means, stds = marginal(data, process, t)
  below = lambda x, q: data.weights @ special.ndtr((x - means) / stds) - q
  find = lambda q: optimize.brentq(below, -1e3, 1e3, args=(q,), xtol=1e-15, rtol=1e-15)
  return np.array([[find(q)] for q in QUANTILES])


@functools.partial(jax.jit, static_argnums=(0, 1))
def walk(
  solver: Any,
  process: Any,
  data: Data,
  grid: np.ndarray,
  steps: int,
  x: np.ndarray,
  noisy: int,
) -> jax.Array:
  """Returns where the trajectories from x [N, 1] end after `steps` steps of the padded grid.

  The noise of trajectory `noisy` + i is 1 in step i and 0 in all other steps. `steps` is the length
  of no array, so that one compiled program serves all numbers of steps.
  """
  believed = field(data, process)

  def body(i, carry):
    xt, history = carry
    z = (jnp.arange(len(x)) == noisy + i)[:, None].astype(x.dtype)
    xt, _, history = solver.step(believed, process, xt, grid[i], grid[i + 1], z, (), history)
    return xt, history

  return jax.lax.fori_loop(0, steps, body, (x, solver.start(x)))[0]


def ends(
  solver: Any, process: Any, data: Data, steps: int, x: np.ndarray, noisy: int
) -> np.ndarray:
  """Returns `walk` along the grid of the solver, without the last time of the grid, 0."""
  grid = np.zeros(max(STEPS) + 1)
  grid[: steps + 1] = solver.grid(process, steps + 1)[:-1]
  return np.asarray(walk(solver, process, data, grid, steps, x, noisy))


def flow_errors(solver: Any, process: Any, data: Data) -> list[float]:
  """Returns the root mean square error over the quantiles, for each number of steps."""
  x, exact = (quantiles(data, process, t) for t in (1, process.least))
  found = (ends(solver, process, data, n, x, noisy=len(x)) for n in STEPS)
  return [float(np.sqrt(np.mean((end - exact) ** 2))) for end in found]


def moment_errors(solver: Any, process: Any, data: Data, steps: int) -> tuple[float, float]:
  """Returns the errors of the mean and of the standard deviation at the end.

  Trajectories start from the marginal at t = 1.
  """
  if hasattr(solver, "churn"):
    solver = dataclasses.replace(solver, steps=steps)  # `churn` is for all steps together

  # Trajectories from x(1) = 0 give c; from x(1) = 1 give c + a; with noise 1 in step i, c + b_i.
  x = np.zeros((steps + 2, 1))
  x[1] = 1
  c, *rest = ends(solver, process, data, steps, x, noisy=2)[:, 0]
  a, *b = np.array(rest) - c

  # Mean and standard deviation of (1), against those of the marginal.
  (mean, *_), (std, *_) = marginal(data, process, 1)
  (mean_end, *_), (std_end, *_) = marginal(data, process, process.least)
  found = np.sqrt((a * std) ** 2 + np.sum(np.square(b)))
  return float(abs(c + a * mean - mean_end)), float(abs(found - std_end))


def check(data: Data, process: Any) -> float:
  """Returns the greatest distance of the quantiles from where a reference solver ends.

  The reference is SciPy's DOP853, a Runge-Kutta method of order 8, along the same flow.
  """
  alpha, sigma = process.coefficients(jnp.array([1, process.least]))
  at = jax.jit(field(data, process).at)

  def slope(lam, y):  # d(x/alpha) = eps d(sigma/alpha)
    t = process.time(lam)
    _, eps, _ = at(process.coefficients(t)[0] * y[:, None], t, ())
    return -np.exp(-lam) * np.asarray(eps)[:, 0]

  y = quantiles(data, process, 1)[:, 0] / float(alpha[0])
  solved = integrate.solve_ivp(slope, np.log(alpha / sigma), y, "DOP853", rtol=1e-13, atol=1e-14)
  return float(
    np.abs(solved.y[:, -1] * alpha[1] - quantiles(data, process, process.least)[:, 0]).max()
  )


def order(errors: list[float]) -> str:
  """Returns the slope of log error at the last doubling of the steps, as text.

  "–" where the doubling before it has another slope; "exact" where all errors are rounding.
  """
  if max(errors) < ROUNDING:
    return "exact"
  kept = [e for e in errors if e > ROUNDING]
  slopes = [np.log2(a / b) for a, b in itertools.pairwise(kept)][-2:]
  return f"{slopes[-1]:.2f}" if abs(slopes[-1] - slopes[0]) < 0.15 else "–"


def measure() -> dict:
  """Measures the errors of all solvers, a list over STEPS each.

  Returns {"flow": {problem: {data: {solver: errors}}}, "mean", "std": {problem: {solver: errors}},
  "references_differ_by": {problem: {data: distance}}}.
  """
  results = {"flow": {}, "mean": {}, "std": {}, "references_differ_by": {}}

  for name, process in PROBLEMS.items():
    results["flow"][name] = {
      kind: {label: flow_errors(row.solver, process, data) for label, row in FLOW.items()}
      for kind, data in DATA.items()
    }
    results["references_differ_by"][name] = {k: check(data, process) for k, data in DATA.items()}

    for row in NOISY:
      pairs = [moment_errors(NOISY[row].solver, process, DATA["Gaussian"], n) for n in STEPS]
      for what, errors in zip(("mean", "std"), zip(*pairs)):
        results[what].setdefault(name, {})[row] = errors
    print(f"{name} is done", flush=True)
  return results


def header(*columns: str) -> list[str]:
  """Returns the two lines at the top of a Markdown table."""
  return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def about(row: Row, evaluations: int) -> int:
  """Returns the place in STEPS of the number of steps that takes about so many evaluations."""
  return min(range(len(STEPS)), key=lambda i: abs(row.cost(STEPS[i]) - evaluations))


def flow_table(results: dict) -> list[str]:
  """Returns the table of orders along the probability flow."""
  columns = [(name, kind) for name in PROBLEMS for kind in DATA]
  lines = header("solver", "nominal", *(f"{n}, {kind}" for n, kind in columns), "64", "512")
  for label, row in FLOW.items():
    orders = [order(results["flow"][name][kind][label]) for name, kind in columns]
    errors = results["flow"]["80 to 0.002"]["mixture"][label]
    shown = [f"{errors[about(row, n)]:.1e}" for n in (64, 512)]
    lines.append(f"| {label} | {row.order} | {' | '.join(orders + shown)} |")
  return lines


def three_m_table(results: dict) -> list[str]:
  """Returns the table of errors of DPM-Solver++(3M) with both factors."""
  lines = header("steps", *(str(n) for n in STEPS))
  for label in ("3M as published", "3M with the factor 2"):
    errors = results["flow"]["80 to 0.002"]["mixture"][label]
    lines.append(f"| {label} | {' | '.join(f'{e:.1e}' for e in errors)} |")
  return lines


def weak_table(results: dict) -> list[str]:
  """Returns the table of weak orders of the stochastic solvers."""
  lines = header("solver", "nominal", *PROBLEMS, "mean, VP", "64", "512")
  for label, row in NOISY.items():
    orders = [order(results["std"][name][label]) for name in PROBLEMS]
    orders.append(order(results["mean"]["VP"][label]))
    errors = results["std"]["80 to 0.002"][label]
    shown = [f"{errors[about(row, n)]:.1e}" for n in (64, 512)]
    lines.append(f"| {label} | {row.order} | {' | '.join(orders + shown)} |")
  return lines


TABLES = {"flow": flow_table, "three_m": three_m_table, "weak": weak_table}


def rounded(results: dict) -> dict:
  """Returns the results with numbers rounded to five digits."""
  return json.loads(json.dumps(results), parse_float=lambda s: float(f"{float(s):.5g}"))


def write(results: dict) -> None:
  """Writes results.json and puts all tables into README.md."""
  # A list of numbers goes on one line.
  lists = re.compile(r"\[[^\[\]{}]*\]")
  text = lists.sub(lambda m: " ".join(m[0].split()), json.dumps(results, indent=2))
  (HERE / "results.json").write_text(text + "\n")

  for name, table in TABLES.items():
    body = "\n".join(table(results))
    print(body, end="\n\n")
    markdown.insert(HERE / "README.md", body, name)


def figure(results: dict) -> None:
  """Writes orders.png: errors against evaluations, two panels of the flow and one with noise."""
  sheet, axes = pyplot.subplots(1, 3, figsize=(14, 5), layout="constrained")

  for panel, name in zip(axes, ("2 to 0.1", "80 to 0.002")):
    for row, (color, dashed) in LINES.items():
      _line(panel, FLOW[row], results["flow"][name]["mixture"][row], row, color, dashed)
    panel.set_title(f"probability flow, mixture, sigma {name}", fontsize=10)
    panel.set_ylabel("error of x")

  for i, label in enumerate(label for label in NOISY if label not in SAME):
    _line(axes[2], NOISY[label], results["std"]["80 to 0.002"][label], label, f"C{i}", False)
  axes[2].set_title("stochastic solvers, Gaussian, sigma 80 to 0.002", fontsize=10)
  axes[2].set_ylabel("error of the standard deviation")

  for panel in axes[1:]:
    panel.legend(fontsize=7, loc="lower left")
  sheet.savefig(HERE / "orders.png", dpi=90)


def _line(panel: Any, row: Row, errors: list[float], label: str, color: str, dashed: bool) -> None:
  """Draws the errors of one solver into a panel."""
  evaluations = [row.cost(n) for n in STEPS]
  panel.loglog(
    evaluations, errors, label=label, color=color, lw=1.2, marker=".", ls="--" if dashed else "-"
  )
  panel.set_xlabel("evaluations of the field")
  panel.grid(alpha=0.3)


def main() -> None:
  """Measures all solvers and writes results.json, README.md and the figure.

  Raises SystemExit if a registered sampler has no row.
  """
  covered = {type(row.solver) for row in (FLOW | NOISY).values()}
  others = registry.TABLES["sampler"].keys() - WITHOUT
  missing = [name for name in others if registry.TABLES["sampler"][name] not in covered]
  if missing:
    raise SystemExit(f"no row for {', '.join(missing)}")

  start = time.perf_counter()
  with jax.enable_x64(True):
    results = measure()
  results |= {
    "steps": STEPS,
    "seconds": round(time.perf_counter() - start),
    "machine": "2 cores of an Intel Xeon",
    "versions": {name: importlib.metadata.version(name) for name in ("jax", "numpy", "scipy")},
  }

  results = rounded(results)
  write(results)
  figure(results)


if __name__ == "__main__":
  main()
