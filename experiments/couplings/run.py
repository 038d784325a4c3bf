"""Which coupling may be used with conditions? "8gaussians to moons" of Cheng & Schwing (2025).

    python experiments/couplings/run.py            results.json, the README's table and figure
    python experiments/couplings/run.py --full     the cited protocol, into other.json
    python experiments/couplings/run.py --coupled 1024 --seeds 1        any other, into other.json

Flow matching from eight Gaussians (the source) to two moons. The model is told nothing, the moon of
a point (its label), or its x coordinate. Training pairs are independent (FM), the optimal transport
of the batch (OT), or the optimal transport that keeps to the condition (C2OT). A model is judged by
the exact squared Wasserstein distance between test points and samples. Samples are where one Euler
step or an adaptive solver takes new source points under the conditions of the test points.

Pairs are made here, not by the models. For genjax refuses "ot" for conditional models, which is the
very thing to be shown; and more points can be coupled at once than one training step sees. Costs
are those of genjax.processes.couplings. SciPy solves the assignment, since it is four times faster
at this size; `check` compares its pairs with those of `couplings.COUPLINGS`.
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
BATCH = 256
RATE = 3e-4
# r of C2OT, see `weight`: the default of the authors' code.
SHARE = 0.05
# Sets of exact draws for each seed, taken from MANY times as many points.
DRAWS = 5
MANY = 100
# Couplings between two calls of the training program.
CHUNK = 50

# What the network of a problem is told; "beside" is the x coordinate.
PROBLEMS = {"unconditional": (), "class": ("label",), "x coordinate": ("beside",)}
# Without a condition C2OT is OT.
CASES = [
  *((problem, kind) for problem in PROBLEMS for kind in ("FM", "OT")),
  *((problem, "C2OT") for problem in PROBLEMS if PROBLEMS[problem]),
]
SOLVERS = {
  "Euler, 1 step": singlestep.Euler(steps=1),
  "adaptive": adaptive.Adaptive(steps=1, method="dopri5", rtol=1e-4, atol=1e-4),
}
# W2^2 in Cheng & Schwing 2025, figure 1: (Euler, adaptive).
CITED = {
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
  """The size of the experiment.

  steps: training steps of BATCH points.
  coupled: points that are coupled at once.
  seeds: seeds 0 ... seeds - 1.
  points: test points, and as many samples.
  """

  steps: int = 5_000
  coupled: int = BATCH
  seeds: int = 3
  points: int = 2_000


FULL = Protocol(steps=20_000, coupled=1024, seeds=10, points=10_000)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
  """A coupling that returns the noise that came with the batch."""

  conditional: ClassVar[bool] = True

  def __call__(self, key: jax.Array, x0: jax.Array, eps: jax.Array, cond: core.Batch) -> jax.Array:
    return cond["noise"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coupled(diffusion.Diffusion):
  """Flow matching on pairs that were made beforehand.

  given: the fields of a batch that the network is told.
  """

  given: tuple[str, ...]
  process: Any = continuous.CondOT()
  sampler: Any = SOLVERS["adaptive"]
  prediction: str = "velocity"
  coupling: Any = Given()
  source: Any = sources.EightGaussians(std=0.1**0.25)  # as TorchCFM's code draws it

  @property
  def conditions(self) -> tuple[str, ...]:
    """The fields that a batch must have beside x."""
    return (*self.given, "noise")


def model(problem: str) -> Coupled:
  """Returns the untrained model of a problem."""
  spec = core.DataSpec(shape=(2,), classes=2)
  network = mlp.MLP(
    widths=(128, 128, 128), conditions=("label",) if problem == "class" else (), spec=spec
  )
  return Coupled(spec=spec, network=network, given=PROBLEMS[problem])


@functools.partial(jax.jit, static_argnums=1)
def moons(key: jax.Array, n: int) -> core.Batch:
  """Draws n points as torchdyn draws them for TorchCFM.

  Angles are evenly spaced, half of them on each moon. Both coordinates of a point are moved by one
  and the same 0.2 U(0, 1).
  """
  order, move = jax.random.split(key)

  # Even i are points of the upper moon, odd i of the lower one.
  i = jax.random.permutation(order, n)
  angle = np.pi * (i // 2) / (n // 2 - 1)
  arc = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
  x = jnp.where(i[:, None] % 2 == 0, arc, jnp.array([1.0, 0.5]) - arc)

  x = 3 * (x + 0.2 * jax.random.uniform(move, (n, 1))) - 1
  return {"x": x, "label": i % 2, "beside": x[:, :1]}


@functools.partial(jax.jit, static_argnums=1)
def eight(key: jax.Array, n: int) -> jax.Array:
  """Draws n source points [n, 2] of the eight Gaussians."""
  return Coupled.source.sample(key, (n, 2))


@jax.jit
def costs(batch: core.Batch, noise: jax.Array) -> dict[str, jax.Array]:
  """Returns squared distances [n, n]: of the points ("points"), and of each condition by name."""
  apart = {name: couplings.apart(batch[name]) for name in ("label", "beside")}
  return apart | {"points": couplings.cost(batch["x"], noise)}


def weight(cost: np.ndarray, apart: np.ndarray) -> float:
  """Returns the weight w of C2OT for a continuous condition.

  cost, apart: [n, n], squared distances between points, and between their conditions.

  w is chosen such that cost_ij + w apart_ij <= cost_ii (so that i may be paired with j) for a share
  r of all (i, j). For one pair (i, j) this holds up to w = (cost_ii - cost_ij) / apart_ij, so the
  wanted w is a quantile of these values.
  """
  # 0 / 0 on the diagonal, where the inequality holds for every w.
  with np.errstate(divide="ignore", invalid="ignore"):
    most = (cost.diagonal()[:, None] - cost) / apart
  np.fill_diagonal(most, np.inf)

  place = int((1 - SHARE) * most.size)
  return float(max(np.partition(most, place, axis=None)[place], 0))


def assign(cost: np.ndarray) -> np.ndarray:
  """Returns the column [n] of each row of the cost [n, n], such that the total cost is least."""
  return optimize.linear_sum_assignment(cost)[1]


def couple(batch: core.Batch, noise: jax.Array) -> tuple[dict, float]:
  """Pairs a batch with source points in all ways.

  Returns ({case: the source point of each x, [n, 2]}, the weight of the x coordinate in C2OT).
  """
  cost = {name: np.asarray(c, np.float64) for name, c in costs(batch, noise).items()}
  points = cost["points"]
  noise = np.asarray(noise)
  w = weight(points, cost["beside"])

  # OT sees the points alone, so that its pairs are the same in all problems.
  transported = noise[assign(points)]
  pairs = {(p, "FM"): noise for p in PROBLEMS} | {(p, "OT"): transported for p in PROBLEMS}

  far = couplings.ConditionalTransport().weight
  pairs["class", "C2OT"] = noise[assign(points + far * cost["label"])]
  pairs["x coordinate", "C2OT"] = noise[assign(points + w * cost["beside"])]
  return pairs, w


def check() -> bool:
  """Returns whether SciPy's pairs are those of genjax's couplings."""
  key = jax.random.key(0)
  n = 128
  batch = moons(key, n)
  noise = eight(key, n)
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
  """The model of one case, and a program that trains it on a stack of batches.

  case: (problem, coupling).
  """

  def __init__(self, case: tuple[str, str]):
    self.case = case
    self.model = model(case[0])
    self.rule = {"denoiser": optax.adam(RATE)}
    step = functools.partial(step_lib.train_step, self.model, self.rule, {}, due=(0,))
    self.program = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches)[0])
    self.state: core.TrainState | None = None

  def begin(self, batch: core.Batch, noise: jax.Array, seed: int) -> None:
    """Starts anew with the parameters of a seed."""
    self.state = step_lib.initial_state(
      self.model, self.rule, {}, batch | {"noise": noise}, seed, {}
    )

  def learn(self, batches: core.Batch, pairs: list[dict]) -> None:
    """Trains on couplings [K, n, ...], cut into steps of BATCH points."""
    noise = np.stack([pair[self.case] for pair in pairs])
    stack = batches | {"noise": noise}
    self.state = self.program(
      self.state, {k: a.reshape(-1, BATCH, *a.shape[2:]) for k, a in stack.items()}
    )


def train(learners: list[Learner], protocol: Protocol, seed: int) -> float:
  """Trains all cases on the same points; returns the mean weight of the x coordinate.

  Raises SystemExit if a loss is not finite.
  """
  data, source = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
  n = protocol.coupled
  weights = []
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
def flow(
  own: Coupled,
  solver: Any,
  params: core.Params,
  buffers: core.Buffers,
  noise: jax.Array,
  cond: core.Batch,
  frames: int,
) -> jax.Array:
  """Returns where the solver takes each source point of noise [N, 2]: [frames, N, 2]."""
  keys = jax.random.split(jax.random.key(0), len(noise))  # none of these solvers draws
  grid = solvers.times(solver, own.process)
  field = own.field(params, buffers, cond)
  return solvers.integrate(solver, field, own.process, grid, noise, keys, frames)


def generate(
  learner: Learner, solver: Any, noise: jax.Array, test: core.Batch, frames: int = 1
) -> np.ndarray:
  """Returns `flow` of a trained model under the conditions of the test points."""
  cond = {name: test[name] for name in learner.model.given}
  state = learner.state
  return np.asarray(
    flow(learner.model, solver, state.params, state.buffers, noise, cond, frames), np.float64
  )


def fresh(seed: int, n: int) -> tuple[core.Batch, core.Batch, jax.Array]:
  """Draws (test points, MANY times as many others, source points) that training does not see."""
  keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), 3)
  return moons(keys[0], n), moons(keys[1], MANY * n), eight(keys[2], n)


def squared(x: Any, y: Any) -> float:
  """Returns W2^2, the squared Wasserstein distance, between points x [N, 2] and y [N, 2]."""
  return distances.wasserstein(np.asarray(x, np.float64), np.asarray(y, np.float64)) ** 2


def exact(problem: str, test: core.Batch, others: core.Batch) -> np.ndarray:
  """Returns exact draws: some of the other points, under the conditions of the test points."""
  test, others = ({k: np.asarray(a) for k, a in b.items()} for b in (test, others))
  x = others["x"]
  n = len(test["x"])

  if problem == "class":
    upper, lower = (x[others["label"] == k][:n] for k in (0, 1))
    return np.where(test["label"][:, None] == 0, upper, lower)
  if problem == "x coordinate":
    # The next point to the right of each test point.
    x = x[np.argsort(x[:, 0])]
    return x[np.searchsorted(x[:-1, 0], test["x"][:, 0])]
  return x[:n]


def measure(learners: list[Learner], protocol: Protocol) -> dict:
  """Trains and measures all cases with all seeds.

  Returns {"w2": {problem: {coupling: {solver: values}}}, "exact": {problem: values}, "source":
  values, "weight": values}, the values being those of the seeds, from the last one to 0.
  """
  results = {"w2": {}, "exact": {problem: [] for problem in PROBLEMS}, "source": [], "weight": []}

  # In reverse, so that the learners end with seed 0, which the figure shows.
  for seed in reversed(range(protocol.seeds)):
    results["weight"].append(train(learners, protocol, seed))
    test, others, noise = fresh(seed, protocol.points)

    # What the distances are compared with: exact draws, and the source itself.
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
  """Returns "mean ± standard deviation", without the latter for a single value."""
  off = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
  return f"{np.mean(values):.3f}{off}"


def table(results: dict) -> list[str]:
  """Returns the lines of the Markdown table."""
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
  """Writes results to a JSON file beside this one, numbers rounded to five digits."""
  results = json.loads(json.dumps(results), parse_float=lambda s: float(f"{float(s):.5g}"))
  # A list of numbers goes on one line.
  lists = re.compile(r"\[[^\[\]{}]*\]")
  text = lists.sub(lambda m: " ".join(m[0].split()), json.dumps(results, indent=2))
  (HERE / name).write_text(text + "\n")


def publish(results: dict) -> None:
  """Puts the table into README.md."""
  markdown.insert(HERE / "README.md", "\n".join(table(results)), "w2")


def figure(learners: list[Learner], points: int = 400) -> None:
  """Writes couplings.png: where each model takes the same source points, given the label.

  Colours are labels. The last column shows the test points and what OT pairs with them.
  """
  test, _, noise = fresh(0, points)
  colors = np.array(["tab:red", "tab:blue"])[np.asarray(test["label"])]
  shown = [learner for learner in learners if learner.case[0] == "class"]
  sheet, axes = pyplot.subplots(2, len(shown) + 1, figsize=(11, 5.7), layout="constrained")

  # Twenty steps and as many frames, so that the adaptive paths look smooth.
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
  """Runs the experiment; only the default protocol changes results.json, README.md and the figure.

  Raises SystemExit if SciPy's pairs are not those of genjax.
  """
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
