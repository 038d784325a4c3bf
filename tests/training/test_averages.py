"""Averages of parameters: their profiles, and other widths that are computed from two of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import config, core
from genjax.modes import train
from genjax.runs import build, load
from genjax.runs import open as runs
from genjax.training import averages, sharding


def weights(profile, steps):
  """Returns the weight [steps] that each step has in the average after `steps` steps."""
  w = np.zeros(steps)
  for k in range(steps):
    d = float(profile(jnp.float32(k)))
    w *= d
    w[k] += 1 - d
  return w


@pytest.mark.parametrize("width", [0.05, 0.1, 0.25])
def test_power_average_has_its_width(width):
  w, t = weights(averages.Average(profile="power", width=width), 2000), np.arange(1, 2001)
  assert w.sum() == pytest.approx(1, abs=1e-4)
  mean = np.sum(w * t)
  assert np.sqrt(np.sum(w * (t - mean) ** 2)) / 2000 == pytest.approx(width, rel=0.01)
  gamma = averages.exponent(width)
  np.testing.assert_allclose(w[200:], (gamma + 1) / 2000 * (t[200:] / 2000) ** gamma, rtol=0.1)


@pytest.mark.slow
def test_an_average_is_not_too_slow_for_a_short_run():
  """After 20 steps (of no size) none of the random start is left, but by a constant decay."""
  names = ("warmup", "power", "constant")
  profiles = [f"ema.{n}.{k}" for n in names for k in (f"profile={n}", "decay=0.9999")]
  overrides = ["model.network.widths=8,8", "metrics=", "data.n=200", "optim.denoiser.lr=1e-9"]
  whole, _ = config.from_file("configs/ddpm_moons.py:smoke", [*overrides, *profiles])
  setup, over = build.assemble(whole), sharding.mesh()
  step, state = setup.program(over).once, setup.initial(over, {})
  state = state._replace(ema=jax.tree.map(lambda a: a + 1.0, state.ema))
  batch = sharding.place(setup.pipeline.at(0), over)
  for _ in range(20):
    state, _ = step(state, batch, due=(0,))
  leaf = lambda params: np.asarray(jax.tree.leaves(params["denoiser"])[0])
  left = {name: float(np.mean(leaf(state.ema[name]) - leaf(state.params))) for name in names}
  assert left["warmup"] == pytest.approx(0, abs=1e-5)
  assert left["power"] == pytest.approx(0, abs=1e-5)
  assert left["constant"] == pytest.approx(0.9999**20, abs=1e-5)


def test_inner_products_are_integrals():
  tau = np.linspace(0, 1, 200_001)
  p = lambda t, gamma: np.where(tau <= t, (gamma + 1) / t * (tau / t) ** gamma, 0)
  product = np.trapezoid(p(0.7, 4.0) * p(1.0, 9.0), tau)
  assert averages._inner(0.7, 4.0, 1.0, 9.0) == pytest.approx(product, rel=1e-4)


@pytest.mark.slow
def test_two_widths_make_another():
  """Averages of widths .05 and .1, kept eight times, add up to the profile of width .07."""
  have = [(t, w) for t in range(250, 2001, 250) for w in (0.05, 0.1)]
  x = averages.mixture(have, (2000, 0.07))
  kept = np.zeros((len(have), 2000))
  for row, (t, w) in zip(kept, have):
    row[:t] = weights(averages.Average(profile="power", width=w), t)
  wanted = weights(averages.Average(profile="power", width=0.07), 2000)
  assert np.abs(x @ kept - wanted).sum() < 0.02  # of a total of 1
  same = averages.mixture(have, (2000, 0.1))
  np.testing.assert_allclose(same, np.eye(len(have))[-1], atol=1e-6)


@pytest.mark.slow
def test_any_width_of_a_finished_run(tmp_path):
  """The width that was trained comes back as itself; a run without such averages is refused."""
  overrides = [
    "model.network.widths=8,8", "model.sampler.steps=3", "steps=40", "save_every=10",
    "milestone_every=10", "metrics=", "data.n=200", "log_every=20", "ema.ema.profile=power",
    "ema.ema.width=0.1", "ema.narrow.profile=power", "ema.narrow.width=0.05", "samples=4",
    "sample_batch=4", "sample_every=0",
  ]  # fmt: skip
  whole, _ = config.from_file("configs/ddpm_moons.py", overrides)
  workdir = tmp_path / "run"
  train.train(whole, workdir, {}, "")
  asked = lambda name: runs.Run.open(workdir, {**whole, "eval_ema": name}).params["denoiser"]
  leaf = lambda tree: np.asarray(tree["Dense_0"]["kernel"])
  np.testing.assert_allclose(leaf(asked("@0.1")), leaf(asked("ema")), atol=1e-4)
  between = np.abs(leaf(asked("@0.07")) - leaf(asked("ema"))).max()
  assert 0 < between < np.abs(leaf(asked("narrow")) - leaf(asked("ema"))).max()
  plain = {
    **whole,
    "ema": {"ema": {**whole["ema"]["ema"], "profile": "warmup"}},
    "eval_ema": "@0.1",
  }
  with pytest.raises(core.UserError, match="two widths"):
    setup = build.assemble(plain)
    load.mixed(setup, workdir, None)
  with pytest.raises(core.UserError, match="expected '@' and a width"):
    config.override(whole, ["eval_ema=@wide"])


def test_widths_that_no_profile_has_are_refused():
  for width in (0.0, 0.3):
    with pytest.raises(core.UserError, match="must lie between"):
      averages.Average(width=width)
  with pytest.raises(core.UserError, match="did you mean 'power'"):
    dataclasses.replace(averages.Average(), profile="powr")
