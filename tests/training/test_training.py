"""Step, optimizers, averages, loop and checkpoints, on a model that can be solved by hand."""

import dataclasses
import itertools
import pathlib
import subprocess
import sys
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax import config, core
from genjax.runs import build
from genjax.training import (
  averages,
  checkpoints,
  loop,
  optimizers,
  program,
  runtime,
  sharding,
  writers,
)
from genjax.training import step as step_lib


@dataclasses.dataclass(frozen=True)
class Regression:
  """A linear model with a quadratic loss and three groups of parameters.

  "a" is trained at every step, "b" at every third step; "c" is frozen.
  """

  pretrained = ()

  @property
  def objectives(self):
    return (
      core.Objective("first", ("a",), self.loss),
      core.Objective("second", ("b",), self.loss, core.Every(3)),
    )

  def init(self, key, batch, loaded):
    return {g: {"w": jnp.ones((2, 3)), "bias": jnp.ones(3)} for g in "abc"}, {"seen": jnp.zeros(())}

  def loss(self, params, buffers, batch, key, step):
    total = sum(batch["x"] @ params[g]["w"] + params[g]["bias"] for g in "abc")
    return jnp.mean(total**2), ({"seen": buffers["seen"] + 1}, {"size": jnp.mean(jnp.abs(total))})

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}


MODEL, OVER = Regression(), sharding.mesh()
BATCH = {"x": jax.random.normal(jax.random.key(0), (8, 2))}


def setup(rule=None, accumulate=1, decay=None):
  rule = rule or optimizers.OPTIMIZERS["sgd"](lr=0.1)
  rules = {g: rule.rule(100) for g in "ab"}
  profiles = {"slow": averages.Average(decay=decay)} if decay else {}
  steps = program.Program(MODEL, rules, profiles, accumulate, OVER)
  state = step_lib.initial_state(MODEL, rules, dict.fromkeys(profiles, ("a", "b")), BATCH, 0, {})
  return steps, loop.copy(state)


def advance(steps, state, times=1, batch=BATCH):
  for _ in range(times):
    state, metrics = steps.once(state, batch, due=step_lib.due_at(MODEL, int(state.step)))
  return state, metrics


def test_descend_is_gradient_descent_on_its_own_groups():
  steps, state = setup()
  before = jax.tree.map(np.array, state.params)
  grads = jax.grad(lambda p: MODEL.loss(p, {"seen": 0.0}, BATCH, None, 0)[0])(before)
  after, metrics = advance(steps, state)
  expected = {**before, "a": jax.tree.map(lambda p, g: p - 0.1 * g, before["a"], grads["a"])}
  chex.assert_trees_all_close(after.params, expected, rtol=1e-5)
  norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(grads["a"])))
  assert float(metrics["first/grad_norm"]) == pytest.approx(norm, rel=1e-5)
  assert set(metrics) == {"first/loss", "first/grad_norm", "first/size"}


def test_the_second_objective_sees_what_the_first_has_done():
  steps, state = setup()
  state, _ = advance(steps, state, 2)
  before = jax.tree.map(np.array, state.params)
  after, _ = advance(steps, state)
  loss = lambda p: MODEL.loss(p, {"seen": 0.0}, BATCH, None, 0)[0]
  middle = {**before, "a": jax.tree.map(np.array, after.params["a"])}
  grads = jax.grad(loss)(middle)["b"]
  expected = jax.tree.map(lambda p, g: p - 0.1 * g, before["b"], grads)
  chex.assert_trees_all_close(after.params["b"], expected, rtol=1e-4)
  assert int(after.buffers["seen"]) == 4  # 3 first + 1 second


def test_accumulation_gives_the_gradient_of_the_whole_batch():
  (whole, state), (cut, same) = setup(), setup(accumulate=4)
  chex.assert_trees_all_close(
    advance(whole, state)[0].params, advance(cut, same)[0].params, rtol=1e-5
  )


def test_updates_are_counted_by_due():
  assert step_lib.updates(MODEL, 10) == {"a": 10, "b": 3}
  due = core.Between(2, 5)
  assert [k for k in range(10) if due(k)] == [2, 3, 4]
  assert [k for k in range(10) if core.Every(4)(k)] == [3, 7]


def test_average_is_the_recursion_with_warm_up():
  steps, state = setup(decay=0.5)
  expected = np.array(state.params["a"]["w"])
  for k in range(6):
    state, _ = advance(steps, state)
    decay = min(0.5, (1 + k) / (10 + k))
    expected = decay * expected + (1 - decay) * np.array(state.params["a"]["w"])
  chex.assert_trees_all_close(state.ema["slow"]["a"]["w"], expected, rtol=1e-5)
  assert float(averages.Average(decay=0.9, profile="constant")(jnp.int32(0))) == pytest.approx(0.9)
  with pytest.raises(core.UserError, match="did you mean 'warmup'"):
    averages.Average(profile="warmpu")


def test_nan_in_a_batch_is_latched_and_named(tmp_path):
  """fit stops at the next log line, says which step and metric, and holds the state before it."""
  steps, state = setup()
  good = advance(steps, loop.copy(state), 5)[0]
  bad = {"x": jnp.full((8, 2), jnp.nan)}
  batches = lambda start, stop: (bad if k == 5 else BATCH for k in range(start, stop))
  with pytest.raises(loop.Diverged) as error:
    loop.fit(steps, state, batches, 20, (10, lambda *_: None), (), loop.Interrupt())
  assert error.value.step == 5
  assert set(error.value.names) == {  # step 5 is the second objective's too
    f"{o}/{m}" for o in ("first", "second") for m in ("loss", "grad_norm", "size")
  }
  chex.assert_trees_all_equal(error.value.state.params, good.params)
  assert int(error.value.state.step) == 5


def test_fit_logs_means_and_calls_hooks_at_their_cadence():
  steps, state = setup()
  lines, calls = [], []
  hooks = ((4, lambda k, s: calls.append((k, int(s.step)))), (0, lambda k, s: 1 / 0))
  batches = lambda start, stop: iter([BATCH] * (stop - start))
  log = (3, lambda k, m: lines.append((k, m)))
  loop.fit(steps, state, batches, 10, log, hooks, loop.Interrupt())
  assert calls == [(4, 4), (8, 8), (10, 10)]
  assert [k for k, _ in lines] == [3, 6, 9, 10]
  steps, state = setup()
  losses = []
  for _ in range(3):
    state, metrics = advance(steps, state)
    losses.append(float(metrics["first/loss"]))
  assert lines[0][1]["first/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
  assert "second/loss" in lines[0][1]  # on one of the three steps


def test_parameters_that_overflow_halt_although_the_metrics_were_finite():
  """An infinite learning rate: the loss of the step is fine, what it leaves behind is not."""
  steps, state = setup(optimizers.OPTIMIZERS["sgd"](lr=3e38))
  good = jax.tree.map(np.array, state.params)
  halted, metrics = advance(steps, state, 1, {"x": 1e3 * BATCH["x"]})
  assert all(np.isfinite(v) for v in metrics.values()) and int(halted.halted) == 0
  chex.assert_trees_all_equal(halted.params, good)


def test_a_halted_state_replaces_the_same_step_saved_before(tmp_path):
  _, state = setup()
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(state, wait=True)
  saved.save(state._replace(halted=jnp.int32(0)), wait=True)
  assert int(saved.restore(state).halted) == 0
  saved.close()


@pytest.mark.parametrize("start, stop, most, cadences", [(0, 100, 32, (7, 20)), (5, 6, 1, (3,))])
def test_stretches_hold_every_step_once_and_end_where_something_is_due(start, stop, most, cadences):
  plan = list(program.stretches(MODEL, start, stop, most, cadences))
  assert [k for s in plan for k in range(s.first, s.first + s.count)] == list(range(start, stop))
  for first, count, due in plan:
    assert 1 <= count <= most
    assert {step_lib.due_at(MODEL, k) for k in range(first, first + count)} == {due}
    assert not any(k % every == 0 for k in range(first + 1, first + count) for every in cadences)


def random_batches(start, stop):
  for k in range(start, stop):
    yield {"x": np.random.default_rng(k).standard_normal((8, 2), np.float32)}


def test_several_steps_in_one_call_are_the_steps_one_by_one():
  """What fills up the stack is not looked at."""
  steps, state = setup(decay=0.9)
  stack = np.stack([b["x"] for b in random_batches(0, 2)] + [np.full((8, 2), np.nan)])
  several, sums = steps.several(loop.copy(state), {"x": stack}, 2, due=(0,))
  losses = []
  for batch in random_batches(0, 2):
    state, metrics = steps.once(state, batch, due=(0,))
    losses.append(metrics["first/loss"])
  chex.assert_trees_all_close(several._replace(key=0), state._replace(key=0), rtol=1e-5, atol=1e-7)
  assert float(sums["first/loss"]) == pytest.approx(float(sum(losses)), rel=1e-5)


def test_where_stretches_are_cut_changes_no_bit():
  def train(cadence, *stops):
    steps, state = setup(optimizers.OPTIMIZERS["adam"](lr=0.1), decay=0.9)
    assert steps.most(state, BATCH) > 1
    for stop in stops:
      log = (cadence, lambda *_: None)
      state = loop.fit(steps, state, random_batches, stop, log, (), loop.Interrupt())
    return state._replace(key=0)

  whole = train(50, 50)
  for cut in (train(7, 50), train(50, 23, 50)):
    chex.assert_trees_all_equal(whole, cut)


@pytest.mark.slow
def test_steps_are_long_with_convolutions_or_many_products():
  def most(config_name, *overrides):
    path = f"{pathlib.Path(__file__).parents[2]}/configs/{config_name}.py:smoke"
    built = build.assemble(config.from_file(path, list(overrides))[0])
    batch = sharding.place(built.pipeline.at(0), OVER)
    return built.program(OVER).most(built.abstract(OVER), batch)

  assert most("ddpm_mnist") == 1
  assert most("ddpm_moons", "data.n=500") > 1
  assert most("ddpm_moons", "data.n=500", "batch=1000", "model.network.widths=(2000,2000)") == 1


def test_prefetching_keeps_order_raises_errors_and_stops():
  assert list(loop.ahead(k * k for k in range(5))) == [0, 1, 4, 9, 16]

  def broken():
    yield from (0, 1)
    raise OSError("disk")

  batches = loop.ahead(broken())
  assert [next(batches), next(batches)] == [0, 1]
  with pytest.raises(OSError, match="disk"):
    next(batches)
  before = threading.active_count()
  batches = loop.ahead(itertools.count())
  next(batches)
  batches.close()
  assert threading.active_count() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_descends_and_matches_optax(name):
  rule = optimizers.OPTIMIZERS[name](lr=0.01)
  ours, theirs = rule.rule(10), optimizers.RULES[name](learning_rate=0.01)
  params = {"w": jnp.linspace(0.5, 1, 16).reshape(4, 4)}
  loss = lambda p: jnp.sum(p["w"] ** 2)
  a, b, sa, sb = params, params, ours.init(params), theirs.init(params)
  for _ in range(3):
    ua, sa = ours.update(jax.grad(loss)(a), sa, a)
    ub, sb = theirs.update(jax.grad(loss)(b), sb, b)
    a, b = optax.apply_updates(a, ua), optax.apply_updates(b, ub)
  chex.assert_trees_all_close(a, b, rtol=1e-5)
  assert loss(a) <= loss(params)  # some feel their way from a tiny step


def test_schedules():
  lr = lambda schedule, n: np.array([float(schedule(k)) for k in range(n)])
  constant = lr(optimizers.Constant(warmup=4)(2.0, 10), 10)
  np.testing.assert_allclose(constant[:5], [0.5, 1, 1.5, 2, 2], rtol=1e-6)
  cosine = lr(optimizers.CosineDecay(warmup=2, final=0.1)(1.0, 12), 13)
  expected = 0.1 + 0.9 * (1 + np.cos(np.pi * np.arange(11) / 10)) / 2
  np.testing.assert_allclose(cosine[2:], expected, rtol=1e-5)
  linear = lr(optimizers.LinearDecay()(1.0, 10), 11)
  np.testing.assert_allclose(linear, 1 - np.arange(11) / 10, atol=1e-6)


def test_weight_decay_spares_biases_unless_told_otherwise():
  params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
  zero = jax.tree.map(jnp.zeros_like, params)
  for decay_all in (False, True):
    fields = dict(lr=0.1, weight_decay=0.5, decay_all=decay_all)
    rule = optimizers.OPTIMIZERS["adamw"](**fields).rule(10)
    updates, _ = rule.update(zero, rule.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.05, rtol=1e-5)
    np.testing.assert_allclose(updates["b"], -0.05 if decay_all else 0, rtol=1e-5)


def test_clipping_bounds_the_gradient_norm():
  rule = optimizers.OPTIMIZERS["sgd"](lr=1.0, clip=0.5).rule(10)
  params = {"w": jnp.zeros(4)}
  updates, _ = rule.update({"w": jnp.full(4, 3.0)}, rule.init(params), params)
  assert float(optax.tree.norm(updates)) == pytest.approx(0.5, rel=1e-5)


def test_checkpoint_of_another_shape_or_type_is_refused_by_name(tmp_path):
  _, state = setup()
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(state, wait=True)
  for change, message in [
    (lambda p: {**p, "a": {**p["a"], "bias": jnp.ones(4)}}, r"params/a/bias is float32\[3\] there"),
    (lambda p: {**p, "a": {**p["a"], "bias": jnp.ones(3, jnp.int32)}}, r"expected int32\[3\]"),
    (lambda p: {**p, "d": p["a"]}, "params/d/bias is missing there"),
  ]:
    with pytest.raises(core.UserError, match=message):
      saved.restore(loop.copy(state._replace(params=change(state.params))))
  chex.assert_trees_all_equal(saved.restore(state).params, state.params)
  saved.close()
  with pytest.raises(core.UserError, match="holds no checkpoint"):
    checkpoints.Checkpoints(tmp_path / "none").restore(state)
  assert not (tmp_path / "none").exists()


def test_a_save_keeps_what_the_next_step_overwrites(tmp_path):
  steps, state = setup()
  state, _ = advance(steps, state)
  saved, before = checkpoints.Checkpoints(tmp_path), jax.tree.map(np.array, state.params)
  saved.save(state)
  state, _ = advance(steps, state)  # donates the arrays that are being saved
  saved.close()
  restored_state = checkpoints.Checkpoints(tmp_path).restore(state)
  chex.assert_trees_all_equal(restored_state.params, before)


def test_what_went_wrong_with_a_save_is_raised(tmp_path, monkeypatch):
  _, state = setup()
  saved = checkpoints.Checkpoints(tmp_path)

  def full(*args, **kwargs):
    raise OSError("no space left")

  monkeypatch.setattr(saved.manager, "save", full)
  saved.save(state)
  with pytest.raises(OSError, match="no space left"):
    saved.save(state)
  saved.save(state)
  with pytest.raises(OSError, match="no space left"):
    saved.close()


def test_newest_checkpoints_and_milestones_stay(tmp_path):
  steps, state = setup()
  saved = checkpoints.Checkpoints(tmp_path, keep=2, milestone_every=3)
  for _ in range(7):
    state, _ = advance(steps, state)
    saved.save(state, wait=True)
  assert sorted(saved.manager.all_steps()) == [3, 6, 7]
  assert saved.latest() == 7
  saved.close()


def test_metrics_of_lost_steps_are_cut_off(tmp_path):
  console = writers.Console()
  first = writers.Metrics(tmp_path, 0, 9, console)
  for k in (3, 6, 9):
    first.write(k, {"x/loss": float(k), "x/bad": float("nan")})
  first.close()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 12, "x/lo')  # a killed run
  second = writers.Metrics(tmp_path, 6, 9, console)
  second.write(9, {"x/loss": -1.0})
  second.close()
  lines = [writers.json.loads(t) for t in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [(line["step"], line["x/loss"]) for line in lines] == [(3, 3.0), (6, 6.0), (9, -1.0)]
  assert lines[0]["x/bad"] is None and lines[2]["time"] >= lines[1]["time"]


TWO_LEVELS = [
  "data.shape=12,12,1", "model.network.channels=8,16", "model.network.attention=False,True",
  "model.network.layers=2", "model.network.groups=4", "model.network.head_dim=8",
  "model.network.patch=2",
]  # fmt: skip


@pytest.mark.slow
def test_bfloat16_computes_beside_float32_parameters():
  """Parameters, loss, moments and averages stay float32; the loss is that of float32 to 1 %."""
  metrics = {}
  for dtype in ("float32", "bfloat16"):
    path = f"{pathlib.Path(__file__).parents[2]}/configs/ddpm_mnist.py:smoke"
    setup = build.assemble(config.from_file(path, [f"dtype={dtype}", *TWO_LEVELS])[0])
    state = setup.initial(OVER, {})
    floats = [a for a in jax.tree.leaves(state) if jnp.issubdtype(a.dtype, jnp.floating)]
    assert {a.dtype for a in floats} == {jnp.dtype("float32")}
    step = setup.program(OVER).once
    for k in range(3):
      state, metrics[dtype] = step(state, sharding.place(setup.pipeline.at(k), OVER), due=(0,))
    assert metrics[dtype]["denoiser/loss"].dtype == jnp.float32
  assert metrics["bfloat16"]["denoiser/loss"] != metrics["float32"]["denoiser/loss"]
  chex.assert_trees_all_close(
    metrics["bfloat16"]["denoiser/loss"], metrics["float32"]["denoiser/loss"], rtol=0.01
  )


def test_rows_and_divisibility():
  assert sharding.rows(8) == slice(0, 8)
  with pytest.raises(core.UserError, match="accumulate=3"):
    sharding.check("batch", 8, 3)


PAGES = """
import resource, jax, jax.numpy as jnp
from genjax.training import runtime
KEEP and runtime.keep_memory()
f = jax.jit(lambda x: jnp.sort(jnp.sort(x, 0) @ x.T, 1).sum())
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
x = jnp.ones((4000, 1000))
[f(x).block_until_ready() for _ in range(2)]
before = faults()
f(x).block_until_ready()
print(faults() - before)
"""


@pytest.mark.slow
def test_scratch_memory_is_kept_between_calls():
  def faults(keep):
    code = f"KEEP = {keep}" + PAGES
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)

  assert faults(False) > 20 * (faults(True) + 100)  # 4,000 x 4,000 numbers are 16,000 pages


def test_compiler_options_are_known_to_this_xla():
  assert runtime.known()


def test_matrices_in_column_order_do_not_stop_a_program(optimized):
  """What LAPACK returns, which YNNPACK's fusions of elements refuse when they are run."""
  a = jax.random.normal(jax.random.key(0), (64, 30, 30))
  s, maps = a @ a.mT + jnp.eye(30), jnp.ones((1, 1, 8, 8))

  def f(s, maps):
    return 0.5 * jnp.linalg.cholesky(s) + 0.1, jax.lax.conv(maps, maps, (1, 1), "SAME")

  chol, _ = runtime.Jit(f)(s, maps)
  np.testing.assert_allclose(chol, 0.5 * np.linalg.cholesky(s) + 0.1, atol=1e-3)


@pytest.mark.parametrize(
  "due", [core.Every(1), core.Every(4), core.Between(2, 7), core.Between(3, 1e9)]
)
def test_counting_the_due_steps_is_counting_them(due):
  for steps in range(12):
    assert due.count(steps) == sum(map(due, range(steps)))


@pytest.mark.parametrize("edge", [9, 10, 11, 50])
def test_a_stretch_beyond_the_horizon_fits_its_stack(monkeypatch, edge):
  """No step is lost where what is due changes at, before or after the horizon."""

  class Late(Regression):
    @property
    def objectives(self):
      return (
        core.Objective("first", ("a",), self.loss, core.Between(0, edge)),
        core.Objective("second", ("b",), self.loss, core.Between(edge, 1e9)),
      )

  monkeypatch.setattr(loop, "HORIZON", 10)
  plan, sizes = loop._plan(Late(), 0, 100, 8, [20])
  stretches = list(plan)
  assert sum(stretch.count for stretch in stretches) == 100
  assert all(stretch.count <= sizes[stretch.due] <= 8 for stretch in stretches)
