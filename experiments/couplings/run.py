"""Which coupling may be used with conditions? "8gaussians to moons" of Cheng & Schwing (2025).

    python experiments/couplings/run.py            results.json, the README's table and figure
    python experiments/couplings/run.py --full     the cited protocol, into other.json
    python experiments/couplings/run.py --coupled 1024 --seeds 1        or any other, likewise

Flow matching from eight Gaussians to two moons: of all points, of the points of one moon (label),
and of the points with a given x coordinate. Training pairs are independent (FM), of optimal
transport (OT), or of optimal transport that keeps to the condition (C2OT). Judged by the exact
squared Wasserstein distance between what one Euler step or an adaptive solver makes of fresh
source points, under the conditions of the test points, and these.

Pairs are made here, not by the models: genjax refuses "ot" for conditional models, which is what is
to be shown, and more points are coupled at once than one step sees. Costs are those of
genjax.processes.couplings; SciPy assigns, as it does so four times faster at this size, and `check`
holds its pairs against those of `couplings.COUPLINGS`.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import itertools
import json
import pathlib
import re
import time
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from scipy import optimize

from genjax import core
from genjax.distributions import sources
from genjax.evaluation import distances
from genjax.families.diffusion import diffusion
from genjax.networks import mlp
from genjax.processes import continuous, couplings
from genjax.report import markdown
from genjax.samplers import adaptive, singlestep, solvers
from genjax.training import step as step_lib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
BATCH, RATE = 256, 3e-4
SHARE = 0.05  # r of C2OT, see `weight`: the default of the authors' code
DRAWS, MANY = 5, 100  # exact draws under a condition, among many times as many points
CHUNK = 50  # couplings between two calls of the training program

# What a problem's network is given; "beside" is the x coordinate.
PROBLEMS = {"unconditional": (), "class": ("label",), "x coordinate": ("beside",)}
CASES = [
  *((problem, kind) for problem in PROBLEMS for kind in ("FM", "OT")),
  *((problem, "C2OT") for problem in PROBLEMS if PROBLEMS[problem]),
]
SOLVERS = {
  "Euler, 1 step": singlestep.Euler(steps=1),
  "adaptive": adaptive.Adaptive(steps=1, method="dopri5", rtol=1e-4, atol=1e-4),
}
CITED = {  # Cheng & Schwing 2025, figure 1
  ("unconditional", "FM"): ("6.232 ± 0.186", "0.120 ± 0.045"),
  ("unconditional", "OT"): ("0.072 ± 0.025", "0.050 ± 0.040"),
  ("class", "FM"): ("2.573 ± 0.112", "0.059 ± 0.029"),
  ("class", "OT"): ("0.483 ± 0.059", "0.462 ± 0.025"),
  ("class", "C2OT"): ("0.048 ± 0.010", "0.018 ± 0.006"),
  ("x coordinate", "FM"): ("0.732 ± 0.052", "0.028 ± 0.010"),
  ("x coordinate", "OT"): ("8.276 ± 6.510", "2.143 ± 1.993"),
  ("x coordinate", "C2OT"): ("0.077 ± 0.024", "0.013 ± 0.003"),
}


class Protocol(NamedTuple):
  """coupled: how many points are coupled at once. points: of the test, and generated."""

  steps: int = 5_000
  coupled: int = BATCH
  seeds: int = 3
  points: int = 2_000


FULL = Protocol(steps=20_000, coupled=1024, seeds=10, points=10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
  """The noise that the batch came with."""

  conditional: ClassVar[bool] = True

  def __call__(self, key, x0, eps, cond):
    return cond["noise"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coupled(diffusion.Diffusion):
  """Flow matching on pairs made beforehand. given: what the network is told of an example."""

  given: tuple[str, ...]
  process: Any = continuous.CondOT()
  sampler: Any = SOLVERS["adaptive"]
  prediction: str = "velocity"
  coupling: Any = Given()
  source: Any = sources.EightGaussians(std=0.1**0.25)  # as TorchCFM's code draws it

  @property
  def conditions(self):
    return (*self.given, "noise")


def model(problem: str) -> Coupled:
  spec = core.DataSpec(shape=(2,), classes=2)
  network = mlp.MLP(
    widths=(128, 128, 128), conditions=("label",) if problem == "class" else (), spec=spec
  )
  return Coupled(spec=spec, network=network, given=PROBLEMS[problem])


@functools.partial(jax.jit, static_argnums=1)
def moons(key: jax.Array, n: int) -> core.Batch:
  """n points as torchdyn draws them for TorchCFM.

  Evenly spaced angles, half of them on each moon, and both coordinates moved by one 0.2 U(0, 1).
  """
  order, move = jax.random.split(key)
  i = jax.random.permutation(order, n)
  angle = np.pi * (i // 2) / (n // 2 - 1)
  arc = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
  x = jnp.where(i[:, None] % 2 == 0, arc, jnp.array([1.0, 0.5]) - arc)
  x = 3 * (x + 0.2 * jax.random.uniform(move, (n, 1))) - 1
  return {"x": x, "label": i % 2, "beside": x[:, :1]}


@functools.partial(jax.jit, static_argnums=1)
def eight(key: jax.Array, n: int) -> jax.Array:
  return Coupled.source.sample(key, (n, 2))


@jax.jit
def costs(batch: core.Batch, noise: jax.Array) -> dict[str, jax.Array]:
  """[n, n] each: of the points, and of each condition."""
  apart = {name: couplings.apart(batch[name]) for name in ("label", "beside")}
  return apart | {"points": couplings.cost(batch["x"], noise)}


def weight(cost: np.ndarray, apart: np.ndarray) -> float:
  """C2OT's w for a continuous condition.

  With it cost_ij + w apart_ij <= cost_ii, that is, j may be of use to i, for a share r of all
  (i, j). That is so for (i, j) up to w = (cost_ii - cost_ij) / apart_ij, so w is a quantile.
  """
  with np.errstate(divide="ignore", invalid="ignore"):
    most = (cost.diagonal()[:, None] - cost) / apart
  np.fill_diagonal(most, np.inf)
  place = int((1 - SHARE) * most.size)
  return float(max(np.partition(most, place, axis=None)[place], 0))


def assign(cost: np.ndarray) -> np.ndarray:
  """The column of each row, such that their total cost is least."""
  return optimize.linear_sum_assignment(cost)[1]


def couple(batch: core.Batch, noise: jax.Array) -> tuple[dict, float]:
  """({case: its noise [n, 2]}, the weight of the x coordinate)."""
  cost = {name: np.asarray(c, np.float64) for name, c in costs(batch, noise).items()}
  points, noise = cost["points"], np.asarray(noise)
  w = weight(points, cost["beside"])
  transported = noise[assign(points)]
  pairs = {(p, "FM"): noise for p in PROBLEMS} | {(p, "OT"): transported for p in PROBLEMS}
  far = couplings.ConditionalTransport().weight
  pairs["class", "C2OT"] = noise[assign(points + far * cost["label"])]
  pairs["x coordinate", "C2OT"] = noise[assign(points + w * cost["beside"])]
  return pairs, w


def check() -> bool:
  """Whether SciPy's pairs are those of genjax's couplings."""
  key, n = jax.random.key(0), 128
  batch, noise = moons(key, n), eight(key, n)
  pairs, w = couple(batch, noise)
  same = True
  for name, case, options in (
    ("ot", ("class", "OT"), {}),
    ("c2ot", ("class", "C2OT"), {}),
    ("c2ot", ("x coordinate", "C2OT"), {"weight": w}),
  ):
    cond = {k: batch[k] for k in PROBLEMS[case[0]]}
    ours = couplings.COUPLINGS[name](**options)(key, batch["x"], noise, cond)
    same &= np.array_equal(ours, pairs[case])
  return bool(same)


class Learner:
  """A case's model, and a program that trains it on a stack of batches."""

  def __init__(self, case: tuple[str, str]):
    self.case, self.model, self.rule = case, model(case[0]), {"denoiser": optax.adam(RATE)}
    step = functools.partial(step_lib.train_step, self.model, self.rule, {}, due=(0,))
    self.program = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches)[0])
    self.state: core.TrainState | None = None

  def begin(self, batch: core.Batch, noise: jax.Array, seed: int) -> None:
    self.state = step_lib.initial_state(
      self.model, self.rule, {}, batch | {"noise": noise}, seed, {}
    )

  def learn(self, batches: core.Batch, pairs: list[dict]) -> None:
    noise = np.stack([pair[self.case] for pair in pairs])
    stack = batches | {"noise": noise}
    self.state = self.program(
      self.state, {k: a.reshape(-1, BATCH, *a.shape[2:]) for k, a in stack.items()}
    )


def train(learners: list[Learner], protocol: Protocol, seed: int) -> float:
  """All on the same points; the mean weight of the x coordinate."""
  data, source = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
  n, weights = protocol.coupled, []
  for learner in learners:
    learner.begin(moons(data, n), eight(source, n), seed)
  couples = protocol.steps * BATCH // n
  for first in range(0, couples, CHUNK):
    here = range(first, min(first + CHUNK, couples))
    batches = [moons(jax.random.fold_in(data, i), n) for i in here]
    drawn = [eight(jax.random.fold_in(source, i), n) for i in here]
    pairs, found = zip(*map(couple, batches, drawn))
    weights += found
    stack = {k: np.stack([batch[k] for batch in batches]) for k in batches[0]}
    for learner in learners:
      learner.learn(stack, pairs)
  for learner in learners:
    if int(learner.state.halted) >= 0:
      raise SystemExit(f"{learner.case}: not finite at step {int(learner.state.halted)}")
  return float(np.mean(weights))


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def flow(own: Coupled, solver, params, buffers, noise, cond, frames: int) -> jax.Array:
  """Where the solver takes each source point: [frames, N, 2]."""
  keys = jax.random.split(jax.random.key(0), len(noise))  # none of these solvers draws
  grid = solvers.times(solver, own.process)
  field = own.field(params, buffers, cond)
  return solvers.integrate(solver, field, own.process, grid, noise, keys, frames)


def generate(learner: Learner, solver, noise, test: core.Batch, frames: int = 1) -> np.ndarray:
  """`flow` under the conditions of the test points."""
  cond = {name: test[name] for name in learner.model.given}
  state = learner.state
  return np.asarray(
    flow(learner.model, solver, state.params, state.buffers, noise, cond, frames), np.float64
  )


def fresh(seed: int, n: int) -> tuple[core.Batch, core.Batch, jax.Array]:
  """Test points, many others, and source points, none of which training sees."""
  keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), 3)
  return moons(keys[0], n), moons(keys[1], MANY * n), eight(keys[2], n)


def squared(x, y) -> float:
  """W2^2."""
  return distances.wasserstein(np.asarray(x, np.float64), np.asarray(y, np.float64)) ** 2


def exact(problem: str, test: core.Batch, others: core.Batch) -> np.ndarray:
  """Draws among the others, under the conditions of the test points."""
  test, others = ({k: np.asarray(a) for k, a in b.items()} for b in (test, others))
  x, n = others["x"], len(test["x"])
  if problem == "class":
    upper, lower = (x[others["label"] == k][:n] for k in (0, 1))
    return np.where(test["label"][:, None] == 0, upper, lower)
  if problem == "x coordinate":
    x = x[np.argsort(x[:, 0])]
    return x[np.searchsorted(x[:-1, 0], test["x"][:, 0])]
  return x[:n]


def measure(learners: list[Learner], protocol: Protocol) -> dict:
  """{"w2": {problem: {coupling: {solver: [from the last seed on]}}}, and what compares."""
  results = {"w2": {}, "exact": {problem: [] for problem in PROBLEMS}, "source": [], "weight": []}
  for seed in reversed(range(protocol.seeds)):  # the learners end with seed 0, for the figure
    results["weight"].append(train(learners, protocol, seed))
    test, others, noise = fresh(seed, protocol.points)
    for problem, part in itertools.product(PROBLEMS, range(DRAWS)):
      drawn = exact(problem, test, {k: a[part::DRAWS] for k, a in others.items()})
      results["exact"][problem].append(squared(drawn, test["x"]))
    results["source"].append(squared(noise, test["x"]))
    for learner in learners:
      problem, kind = learner.case
      row = results["w2"].setdefault(problem, {}).setdefault(kind, {})
      for name, solver in SOLVERS.items():
        end = generate(learner, solver, noise, test)[-1]
        row.setdefault(name, []).append(squared(end, test["x"]))
      print(f"seed {seed}, {problem}, {kind}: {[f'{row[s][-1]:.4f}' for s in SOLVERS]}", flush=True)
  return results


def spread(values: list[float]) -> str:
  off = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
  return f"{np.mean(values):.3f}{off}"


def table(results: dict) -> list[str]:
  heads = [f"{name}{by}" for name in SOLVERS for by in ("", ", cited")]
  lines = [f"| condition | pairs | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
  for problem, kinds in results["w2"].items():
    for kind, row in kinds.items():
      cells = zip([spread(row[name]) for name in SOLVERS], CITED[problem, kind])
      lines.append(f"| {problem} | {kind} | {' | '.join(c for pair in cells for c in pair)} |")
    floor = spread(results["exact"][problem])
    lines.append(f"| {problem} | *exact draws* | *{floor}* | | *{floor}* | |")
  return [*lines, f"| none | *source points* | *{spread(results['source'])}* | | | |"]


def write(results: dict, name: str) -> None:
  results = json.loads(json.dumps(results), parse_float=lambda s: float(f"{float(s):.5g}"))
  lists = re.compile(r"\[[^\[\]{}]*\]")  # of numbers: one line each
  text = lists.sub(lambda m: " ".join(m[0].split()), json.dumps(results, indent=2))
  (HERE / name).write_text(text + "\n")


def publish(results: dict) -> None:
  """The table, into the README."""
  markdown.insert(HERE / "README.md", "\n".join(table(results)), "w2")


def figure(learners: list[Learner], points: int = 400) -> None:
  """Where each coupling takes the same source points, given the label, which is the colour."""
  test, _, noise = fresh(0, points)
  colors = np.array(["tab:red", "tab:blue"])[np.asarray(test["label"])]
  shown = [learner for learner in learners if learner.case[0] == "class"]
  sheet, axes = pyplot.subplots(2, len(shown) + 1, figsize=(11, 5.7), layout="constrained")
  smooth = dataclasses.replace(SOLVERS["adaptive"], steps=20)
  for row, (name, solver, frames) in zip(
    axes, (("Euler, 1 step", SOLVERS["Euler, 1 step"], 1), ("adaptive", smooth, 20))
  ):
    row[0].set_ylabel(name)
    for panel, learner in zip(row, shown):
      path = np.stack([noise, *generate(learner, solver, noise, test, frames)])
      for way, color in zip(path[:, :120].swapaxes(0, 1), colors):
        panel.plot(*way.T, color=color, lw=0.5, alpha=0.3, zorder=1)
      panel.scatter(*noise.T, s=3, color="0.6", zorder=2)
      panel.scatter(*path[-1].T, s=5, c=colors, zorder=3)
      panel.set_title(learner.case[1] if frames == 1 else "", fontsize=10)
  pairs, _ = couple(test, noise)
  for panel, x, title in (
    (axes[0, -1], test["x"], "test points"),
    (axes[1, -1], pairs["class", "OT"], "what OT pairs with them"),
  ):
    panel.scatter(*np.asarray(x).T, s=5, c=colors)
    panel.set_title(title, fontsize=10)
  for panel in axes.flat:
    panel.set(xlim=(-6.8, 6.8), ylim=(-6.8, 6.8), xticks=[], yticks=[], aspect="equal")
  sheet.savefig(HERE / "couplings.png", dpi=90)


def main(protocol: Protocol) -> None:
  if not check():
    raise SystemExit("SciPy's pairs are not those of genjax.processes.couplings")
  start = time.perf_counter()
  learners = [Learner(case) for case in CASES]
  results = measure(learners, protocol)
  results |= {
    "protocol": protocol._asdict(),
    "seconds": round(time.perf_counter() - start),
    "machine": "2 cores of an Intel Xeon",
    "versions": {name: importlib.metadata.version(name) for name in ("jax", "numpy", "scipy")},
  }
  print("\n".join(table(results)))
  usual = protocol == Protocol()
  write(results, "results.json" if usual else "other.json")
  if usual:
    publish(results)
    figure(learners)


if __name__ == "__main__":
  parser = argparse.ArgumentParser()
  parser.add_argument("--full", action="store_true", help="the cited protocol")
  for name, value in Protocol()._asdict().items():
    parser.add_argument(f"--{name}", type=int, help=f"default {value:,}")
  options = vars(parser.parse_args())
  base = FULL if options.pop("full") else Protocol()
  main(base._replace(**{name: value for name, value in options.items() if value is not None}))
