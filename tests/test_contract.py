"""What every registered family owes the trainer, the sampler and the metrics: one test over all."""

import functools
import itertools
import pathlib
import runpy

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import config, core, registry, restored
from genjax.training import checkpoints, loop, sharding
from genjax.training import step as step_lib

ROOT = pathlib.Path(__file__).parents[1]
FAKE = ["data.name=fake", "data.shape=4,4,1"]
SPATIAL = ["model.codec.widths=4,8", "model.codec.blocks=1"]
CODES = ["model.codec.code=3", "model.quantizer.width=3", "model.quantizer.codes=8"]
TWO_LEVEL = ["model.codec.widths=4", "model.codec.blocks=1", *CODES]
STAGE = [override.replace("model.", "model.stage.") for override in TWO_LEVEL]
PRIOR = ["model.prior.network.width=8", "model.prior.network.layers=1"]
# name -> (configuration, of which ":smoke" is taken if it says no other; overrides to make it tiny)
MEMBERS = {
  "guided": (
    "ddpm_mnist",
    ["model.network.channels=4,8", "model.network.layers=1", "data.shape=6,6,1"],
  ),
  "diffusion": ("ddpm_moons", ["model.network.widths=16,16", "model.sampler.steps=5"]),
  "flow": (
    "toys",
    [
      "model.process.name=cond_ot",
      "model.prediction=velocity",
      "model.sampler.name=euler",
      "model.sampler.steps=5",
      "model.network.widths=16,16",
      "model.flow_steps=12",
      "model.times.name=importance",
      "model.times.bins=4",
      "model.self_condition=true",
    ],
  ),
  "vdm": ("vdm_digits", [*FAKE, "model.network.name=mlp", "model.network.widths=16,16"]),
  "dequantized": (
    "dequantized_digits",
    [
      *FAKE,
      "model.network.channels=4,8",
      "model.network.groups=2",
      "model.network.head_dim=4",
      "model.sampler.name=ddim",
    ],
  ),
  "classifier": ("classifier_digits", [*FAKE, "model.network.widths=8,8"]),
  "autoencoder": ("autoencoder_fashion_mnist", [*FAKE, "model.codec.widths=8,4"]),
  "greedy": (
    "autoencoder_fashion_mnist:greedy",
    [*FAKE, "model.codec.widths=8,4", "model.greedy=1", "steps=20", "batch=16"],
  ),
  "latent": ("latent_fashion_mnist", [*FAKE, "model.stage.codec.widths=8,4"]),
  "vqvae": ("vqvae_fashion_mnist", []),
  "vqvae2": ("vqvae_fashion_mnist:two_level", [*FAKE, *TWO_LEVEL, "batch=16"]),
  "vae": ("vae_mnist", ["model.pseudo_inputs=3", "optim.prior.name=adam"]),
  "hvae": ("hvae_mnist", []),
  "completion": ("vae_mnist", ["model.known=left"]),
  "grid": ("kl_autoencoder_fashion_mnist", []),
  "wgan_gp": ("wgan_gp_ring", ["model.critic_steps=3"]),
  "gaussian_mixture": ("gmm_moons", ["model.components=3", "batch=64"]),
  "autoregressive": ("transformer_bars", ["data.size=3", "model.network.width=8"]),
  "rbm": ("rbm_bars", ["model.hidden=5", "model.sweeps=10", "data.size=3"]),
}


BITS = ["data.name=fake", "data.shape=6,6,1", "data.binarize=threshold", "model.importance=3"]
SMALL = ["steps=20", "batch=16", "sample_batch=16", "num=32", "samples=16"]
WIDTHS = ["model.encoder.widths=8", "model.decoder.widths=8"]
CODECS = {"convolutional": ["model.codec.widths=4,8"], "recurrent": ["model.codec.width=8"],
          "restoring": ["model.codec.widths=4", "model.codec.blocks=1"],
          "topk": ["model.codec.widths=8,4", "model.code.k=2"]}  # fmt: skip


OTHERS = {
  "residual": ("vqvae_fashion_mnist:residual", [*SPATIAL, *CODES]),
  "fsq": ("vqvae_fashion_mnist:fsq", SPATIAL),
  "latent:diffusion": (
    "latent_fashion_mnist:diffusion",
    [
      "model.stage.codec.widths=4,8",
      "model.prior.network.widths=16,16",
      "model.prior.sampler.steps=5",
    ],
  ),
  "codes": ("vqvae_prior_fashion_mnist", []),
  "codes:two_level": ("vqvae_prior_fashion_mnist:two_level", [*STAGE, *PRIOR]),
  "latent_diffusion": ("latent_diffusion_fashion_mnist", []),
}


def variants():
  """The others of families of many: the same contract, run by `make test-slow`."""
  for name in [*runpy.run_path(f"{ROOT}/configs/vae_mnist.py")["VARIANTS"]][1:]:
    yield f"vae:{name}", (f"vae_mnist:{name}", [*BITS, *SMALL, *WIDTHS])
  for name in [*runpy.run_path(f"{ROOT}/configs/autoencoder_fashion_mnist.py")["VARIANTS"]][1:]:
    if name != "greedy":  # it is among the others
      own = CODECS.get(name, ["model.codec.widths=8,4"])
      yield f"autoencoder:{name}", (f"autoencoder_fashion_mnist:{name}", [*FAKE, *SMALL, *own])
  for name, (file, own) in OTHERS.items():
    yield name, (file, [*FAKE, *SMALL, *own] if ":" in file else own)  # each smoke is tiny


VARIANTS = dict(variants())
NAMES = [*MEMBERS, *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS)]


def test_every_family_is_a_member():
  parts = [name.partition(":") for name, _ in MEMBERS.values()]
  files = {f"{ROOT}/configs/{file}.py{colon}{variant}" for file, colon, variant in parts}
  families = {config.from_file(file)[0]["model"]["name"] for file in files}
  assert families == set(registry.MODELS)


@pytest.fixture(scope="module", params=NAMES)
def member(request):
  return Member(*(MEMBERS | VARIANTS)[request.param])


class Member:
  """A family's tiny setup, its compiled step, and the states of its first steps."""

  def __init__(self, name, overrides):
    file, _, variant = name.partition(":")
    path = f"{ROOT}/configs/{file}.py:{variant or 'smoke'}"
    self.config = config.from_file(path, [*overrides, "data.n=500"])[0]
    self.setup = restored.assemble(self.config)
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

  def cond(self, n=6):
    return self.setup.conditions(jnp.arange(n))


def data(state):
  """A state as arrays that can be compared."""
  return state._replace(key=jax.random.key_data(state.key))


def test_init_is_deterministic(member):
  chex.assert_trees_all_equal(data(member.initial()), data(member.states[0]))
  other = restored.assemble({**member.config, "seed": 1}).initial(member.over, {})
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
  """The groups whose parameters differ."""
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


def test_sample_depends_on_its_own_key(member):
  if not hasattr(member.model, "sample"):
    pytest.skip("has no samples")
  state, keys = member.states[-1], member.keys(0)
  x = member.sample(state.params, state.buffers, keys, member.cond())
  spec = member.setup.data.spec
  chex.assert_shape(x, (6, *spec.shape))
  if spec.range:
    assert x.min() >= spec.range[0] and x.max() <= spec.range[1]
  others = keys.at[1:].set(member.keys(1)[1:])
  y = member.sample(state.params, state.buffers, others, member.cond())
  chex.assert_trees_all_equal(x[0], y[0])
  assert not np.array_equal(x[1:], y[1:])


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
  z = code(state.params, state.buffers, x)
  assert len(z) == len(x)
  cond = ({"known": x},) if "known" in member.model.conditions else ()
  again = member.model.decode(state.params, state.buffers, z, *cond)
  chex.assert_shape(again, x.shape)
  chex.assert_tree_all_finite(again)
  twice = member.model.reconstruct(state.params, state.buffers, x)
  chex.assert_trees_all_close(again, twice, atol=1e-5)
  other = code(state.params, state.buffers, x.at[1:].set(0.5))  # an example's code is its own
  chex.assert_trees_all_close(z[0], other[0], atol=1e-5)


def test_likelihoods_are_of_their_kinds(member):
  state, batch = member.states[-1], member.batch(0)
  for likelihood in getattr(member.model, "likelihoods", {}).values():
    assert likelihood.kind in core.KINDS
    log_prob = jax.jit(likelihood.log_prob)
    values = log_prob(state.params, state.buffers, batch, jax.random.key(0))
    chex.assert_shape(values, (len(batch["x"]),))
    chex.assert_tree_all_finite(values)
    if likelihood.kind == core.EXACT:
      assert total(member, likelihood, state) == pytest.approx(1, abs=2e-3)


def total(member, likelihood, state):
  """The probability of everything: a sum over binary states, or a quadrature in the plane."""
  spec, size = member.setup.data.spec, int(np.prod(member.setup.data.spec.shape))
  if spec.levels == 2:
    x = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    x, volume = x.astype(np.float32).reshape(-1, *spec.shape), 1.0
  else:
    axis = np.linspace(-15, 15, 601)
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
