"""Settings that may be changed after training, as each model declares them."""

import dataclasses
import subprocess
import sys

import pytest

import genjax
from genjax import config, core, registry
from genjax.modes import changes, train
from genjax.networks import mlp


def view(name, *overrides, training=False):
  spec = config.from_file(f"configs/{name}.py:smoke", overrides)[0]["model"]
  return registry.view("model", spec, training)


def test_nested_models_are_viewed_too():
  keys = view("latent_diffusion_fashion_mnist")
  assert {"model.prior.sampler", "model.prior.guidance", "model.stage.noise"} <= set(keys)
  assert "model.prior.network" not in keys
  assert "model.prior.temperature" in view("vqvae_prior_fashion_mnist")
  assert view("transformer_bars") == ["model.temperature"]
  assert view("gmm_moons") == []


def test_what_training_draws_with_is_no_view():
  flow = ["model.process.name=cond_ot", "model.prediction=velocity"]
  assert "model.sampler" in view("ddpm_moons", *flow, training=True)
  assert "model.sampler" not in view("ddpm_moons", *flow, "model.reflow=true", training=True)
  assert "model.sampler" in view("ddpm_moons", *flow, "model.reflow=true")


@pytest.mark.parametrize(
  ("name", "allowed", "refused"),
  [
    ("latent_diffusion_fashion_mnist", "model.prior.sampler.steps=3", "model.prior.hide=0.5"),
    ("transformer_bars", "model.temperature=0.5", "model.network.layers=2"),
    ("vae_mnist", "model.importance=7", "model.latent.width=3"),
    ("rbm_bars", "model.sweeps=3", "model.gibbs=2"),
  ],
)
def test_a_finished_run_is_seen_in_another_way_or_refuses(name, allowed, refused):
  whole, values = config.from_file(f"configs/{name}.py:smoke", [allowed])
  changes.check_view(whole, values)
  whole, values = config.from_file(f"configs/{name}.py:smoke", [refused])
  with pytest.raises(core.UserError, match="belongs to training; here one may override"):
    changes.check_view(whole, values)


def test_a_new_role_needs_no_row_in_the_registry(monkeypatch):
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Styled:
    mapping: core.Network

  monkeypatch.setitem(registry.TABLES["model"], "styled", Styled)
  spec = {"name": "styled", "mapping": {"name": "mlp", "widths": (3,)}}
  built = registry.build("model", spec, {})
  assert isinstance(built.mapping, mlp.MLP) and built.mapping.widths == (3,)
  assert registry.describe("model", built)["mapping"]["widths"] == (3,)


def test_a_run_is_opened_in_python(tmp_path):
  whole, _ = config.from_file("configs/rbm_bars.py:smoke", ["metrics=", "sample_every=0"])
  train.train(whole, tmp_path / "run", {}, "")
  run = genjax.open_run(tmp_path / "run", ["model.sweeps=2"])
  assert run.step == 20 and run.model.sweeps == 2
  assert run.samples(5)["x"].shape == (5, 3, 3, 1)
  code = "import sys, genjax; assert 'jax' not in sys.modules and genjax.open_run"
  subprocess.run([sys.executable, "-c", code], check=True)
