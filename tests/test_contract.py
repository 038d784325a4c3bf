"""What training, sampling and metrics require of a family, tested for every configuration."""

import functools
import itertools
import pathlib
import runpy

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import config, core, registry
from genjax.runs import build, conditions
from genjax.training import checkpoints, loop, sharding
from genjax.training import step as step_lib

ROOT = pathlib.Path(__file__).parents[1]


COSTLY = ("unet", "down", "pyramid", "recurrent", "convolutional")  # networks, to compile


def configurations():
  """Yields (FILE:VARIANT, name of its model, its cost) of every configuration and variant.

  The cost ranks the time to compile it: convolutions cost most, above all those of a U-Net; points
  cost least.
  """
  for path in sorted((ROOT / "configs").glob("*.py")):
    if path.stem != "base":
      module = runpy.run_path(str(path))
      for variant in ("", *module.get("VARIANTS", {})):
        made = module["get_config"](variant)
        cost = [word in str(made.model) for word in COSTLY]
        cost = (any(cost), cost[0], made.data.name != "toy")
        yield f"{path.stem}:{variant}", made.model.name, cost


def first_of_each_family(members):
  """Returns {family: the member that stands for it}, the first of those that cost least."""
  chosen = {}
  for name, family, _ in sorted(members, key=lambda member: member[2]):
    chosen.setdefault(family, name)
  return chosen


MEMBERS = list(configurations())
FAMILIES = first_of_each_family(MEMBERS)
NAMES = [
  name if name in FAMILIES.values() else pytest.param(name, marks=pytest.mark.slow)
  for name, *_ in MEMBERS
]


def test_every_family_is_a_member():
  assert set(FAMILIES) == set(registry.MODELS)


@pytest.fixture(scope="module", params=NAMES)
def member(request):
  return Member(request.param)


class Member:
  """A configuration made tiny by `smoke`, its compiled step, and the states of its first steps."""

  def __init__(self, name):
    file, _, variant = name.partition(":")
    path = f"{ROOT}/configs/{file}.py:{variant}{variant and '+'}smoke"
    self.config = config.from_file(path)[0]
    self.setup = build.assemble(self.config)
    names = getattr(self.setup.model, "conditions", ())
    self.conditions = conditions.Conditions(names, self.setup.pipeline)
    self.model, self.over = self.setup.model, sharding.mesh()
    self.step = self.setup.program(self.over).once
    if hasattr(self.model, "sample"):
      self.sample = jax.jit(self.model.sample)
    self.states = [self.initial()]
    for k in range(4):
      self.states.append(self.advance(self.states[k], k))

  def initial(self):
    return self.setup.initial(self.over, {})

  def batch(self, k):
    return sharding.place(self.setup.pipeline.at(k), self.over)

  def advance(self, state, k, batch=None):
    copy = loop.copy(state)  # the step donates its state
    return self.step(copy, batch or self.batch(k), due=step_lib.due_at(self.model, k))[0]

  def keys(self, seed, n=6):
    return jax.random.split(jax.random.key(seed), n)

  def cond(self, first=0, n=6):
    return self.conditions.at(first + np.arange(n), "test")


def data(state):
  """Returns the state with its key as an array, so that states can be compared."""
  return state._replace(key=jax.random.key_data(state.key))


def test_init_is_deterministic(member):
  chex.assert_trees_all_equal(data(member.initial()), data(member.states[0]))
  other = build.assemble({**member.config, "seed": 1}).initial(member.over, {})
  with pytest.raises(AssertionError):
    chex.assert_trees_all_equal(other.params, member.states[0].params)


def test_state_is_finite_and_moves(member):
  chex.assert_tree_all_finite(data(member.states[-1]))
  with pytest.raises(AssertionError):
    chex.assert_trees_all_equal(member.states[-1].params, member.states[0].params)


def test_only_due_groups_change(member):
  for k, (old, new) in enumerate(itertools.pairwise(member.states)):
    due = step_lib.due_at(member.model, k)
    trained = {g for i in due for g in member.model.objectives[i].trains}
    moved = changed(
      old.params,
      member.model.refresh(old.params, old.buffers, member.batch(k), jax.random.key(0), old.step)[
        0
      ],
    )
    assert changed(old.params, new.params) == trained | moved
    for group in set(old.opt_state) - trained:
      chex.assert_trees_all_equal(old.opt_state[group], new.opt_state[group])


def changed(old, new):
  """Returns the names of the groups whose parameters differ."""
  pairs = lambda g: zip(jax.tree.leaves(old[g]), jax.tree.leaves(new[g]))
  return {g for g in old if any(not np.array_equal(a, b) for a, b in pairs(g))}


def test_one_trace_per_combination_of_due_objectives(member):
  combinations = {step_lib.due_at(member.model, k) for k in range(4)}
  traces = {call._cache_size() for call in member.step.calls.values()}
  assert traces == {len(combinations)}  # jits of one function and equal options share their cache


def test_objectives_name_groups(member):
  names = [objective.name for objective in member.model.objectives]
  assert len(set(names)) == len(names)
  for objective in member.model.objectives:
    assert set(objective.trains) <= set(member.states[0].params)


def test_two_and_two_steps_over_a_checkpoint_are_four(member, tmp_path):
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(member.states[2], wait=True)
  state = saved.restore(member.setup.abstract(member.over))
  saved.close()
  for k in (2, 3):
    state = member.advance(state, k)
  chex.assert_trees_all_equal(data(state), data(member.states[4]))


def test_nan_halts_with_the_last_good_state(member):
  poisoned = {k: jnp.full_like(v, jnp.nan) if k == "x" else v for k, v in member.batch(2).items()}
  halted = member.advance(member.states[2], 2, poisoned)
  assert int(halted.halted) == 2
  chex.assert_trees_all_equal(data(halted), data(member.states[2]._replace(halted=jnp.int32(2))))
  later = member.advance(halted, 3)  # a good batch afterwards moves nothing
  chex.assert_trees_all_equal(data(later), data(halted))


def test_accumulation_makes_the_same_state(member):
  """Traced, not run: losses take slices of a batch."""
  step = functools.partial(
    step_lib.train_step, member.model, member.setup.optimizers, member.setup.averages,
    due=step_lib.due_at(member.model, 2),
  )  # fmt: skip
  arguments = member.states[2], member.batch(2)
  whole, sliced = (
    jax.eval_shape(functools.partial(step, accumulate=n), *arguments)[0] for n in (1, 2)
  )
  chex.assert_trees_all_equal_shapes_and_dtypes(whole, sliced)


# Solvers whose last step is not the x0 that was cut to the range.
NO_X0_AT_THE_END = ("euler_maruyama", "predictor_corrector", "annealed_langevin")


def sampler(member):
  return member.config["model"].get("sampler", {"name": ""})["name"]


def test_sample_depends_on_its_own_key(member):
  if not hasattr(member.model, "sample"):
    pytest.skip("has no samples")
  state, keys = member.states[-1], member.keys(0)
  x = member.sample(state.params, state.buffers, keys, member.cond())
  spec = member.setup.data.spec
  chex.assert_shape(x, (6, *spec.shape))
  if spec.range and sampler(member) not in NO_X0_AT_THE_END:
    assert x.min() >= spec.range[0] and x.max() <= spec.range[1]
  others = keys.at[1:].set(member.keys(1)[1:])
  cond = jax.tree.map(lambda a, b: np.concatenate([a[:1], b[1:]]), member.cond(), member.cond(6))
  y = member.sample(state.params, state.buffers, others, cond)
  chex.assert_trees_all_equal(x[0], y[0])
  assert not np.array_equal(x[1:], y[1:])


def test_samples_hear_their_conditions_and_do_without(member):
  if not member.conditions.names or not hasattr(member.model, "sample"):
    pytest.skip("is told nothing")
  state, keys = member.states[-1], member.keys(0)
  draw = lambda cond: member.sample(state.params, state.buffers, keys, cond)
  assert not np.array_equal(draw(member.cond()), draw(member.cond(7)))
  null = core.hidden(member.cond(), member.setup.data.spec, jnp.ones(6, bool))
  chex.assert_tree_all_finite(draw(null))


def test_gradients_are_finite_where_all_conditions_are_null(member):
  if not member.conditions.names:
    pytest.skip("is told nothing")
  state, batch = member.states[-1], member.batch(0)
  hide = lambda cond: core.hidden(cond, member.setup.data.spec, jnp.ones(len(batch["x"]), bool))
  batch = {**batch, **hide(core.given(member.model, batch))}
  for objective in member.model.objectives:
    loss = lambda own, o=objective: o.loss(
      {**state.params, **own}, state.buffers, batch, jax.random.key(0), 0
    )[0]
    own = {group: state.params[group] for group in objective.trains}
    chex.assert_tree_all_finite(jax.jit(jax.grad(loss))(own))


def test_batches_are_as_the_spec_says_and_rows_those_of_the_whole(member):
  pipeline, spec = member.setup.pipeline, member.setup.data.spec
  whole, part = pipeline.at(3), pipeline.at(3, slice(2, 7))
  assert set(whole) == {"x", *spec.fields}
  for name, field in {"x": spec, **spec.fields}.items():
    value = core.partial(whole[name]).value
    assert value.shape[1:] == field.shape and value.dtype == field.dtype, name
  chex.assert_trees_all_equal(jax.tree.map(lambda a: a[2:7], whole), part)


def test_trajectory_ends_in_the_sample(member):
  if not hasattr(member.model, "trajectory"):
    pytest.skip("has no trajectory")
  state = member.states[-1]
  arguments = state.params, state.buffers, member.keys(0), member.cond()
  film = jax.jit(member.model.trajectory, static_argnums=4)(*arguments, 3)
  chex.assert_shape(film, (3, 6, *member.setup.data.spec.shape))
  chex.assert_tree_all_finite(film)
  chex.assert_trees_all_close(film[-1], member.sample(*arguments), atol=1e-6)
  assert not np.array_equal(film[0], film[-1])


def test_codes_and_back(member):
  if not hasattr(member.model, "encode"):
    pytest.skip("has no codes")
  state, x = member.states[-1], member.batch(0)["x"]
  code = jax.jit(member.model.encode)
  z = code(state.params, state.buffers, x, core.given(member.model, member.batch(0)))
  assert len(z) == len(x)
  cond = core.given(member.model, member.batch(0))
  again = member.model.decode(state.params, state.buffers, z, cond)
  chex.assert_shape(again, x.shape)
  chex.assert_tree_all_finite(again)
  twice = member.model.reconstruct(state.params, state.buffers, x, cond)
  chex.assert_trees_all_close(again, twice, atol=1e-5)
  other = code(state.params, state.buffers, x.at[1:].set(0.5), cond)  # an example's code is its own
  chex.assert_trees_all_close(z[0], other[0], atol=1e-5)


def test_likelihoods_are_of_their_kinds(member):
  state, batch = member.states[-1], member.batch(0)
  for likelihood in getattr(member.model, "likelihoods", {}).values():
    assert likelihood.kind in core.KINDS
    log_prob = jax.jit(likelihood.log_prob)
    values = log_prob(state.params, state.buffers, batch, jax.random.key(0))
    chex.assert_shape(values, (len(batch["x"]),))
    chex.assert_tree_all_finite(values)
    if likelihood.kind == core.EXACT and (far := reach(member, state)) < FAR:
      assert total(member, likelihood, state, far) == pytest.approx(1, abs=2e-3)


FAR = 60  # a new model that predicts eps from pure noise sends its samples hundreds away


def reach(member, state):
  """Returns twice the greatest magnitude among the entries of samples."""
  x = member.sample(state.params, state.buffers, member.keys(0, 500), member.cond(n=500))
  return 2 * float(np.abs(x).max())


def total(member, likelihood, state, far):
  """Returns the total probability, which must be 1.

  It is a sum over all binary states, or a quadrature over the square [-far, far]^2.
  """
  spec, size = member.setup.data.spec, int(np.prod(member.setup.data.spec.shape))
  if spec.levels == 2:
    x = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    x, volume = x.astype(np.float32).reshape(-1, *spec.shape), 1.0
  else:
    axis = np.linspace(-far, far, 301)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype(np.float32)
    volume = (axis[1] - axis[0]) ** 2
  key = jax.random.key(0)
  log_prob = jax.jit(lambda x: likelihood.log_prob(state.params, state.buffers, {"x": x}, key))
  log_p = [log_prob(part) for part in np.array_split(x, -(-len(x) // 4096))]  # memory stays flat
  return volume * float(np.sum(np.exp(np.concatenate(log_p, dtype=np.float64))))


def test_configuration_keys_are_dataclass_fields(member):
  spec = member.config["model"]
  cls = registry.MODELS[spec["name"]]
  assert set(spec) == {"name", *registry.fields(cls)}
  assert registry.describe("model", member.model) == spec
