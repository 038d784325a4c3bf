"""Guidance by models of other runs, chosen after training; it leaves the guided run as it is."""

import jax
import numpy as np
import pytest

from genjax import config, core
from genjax.modes import train
from genjax.runs.open import Run

TINY = [
  "model.network.widths=8,8", "steps=30", "save_every=30", "metrics=", "data.n=200", "log_every=30",
  "samples=4", "sample_batch=8", "sample_every=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Runs of a diffusion model of moons, a worse one, and a classifier for the same process."""
  home = tmp_path_factory.mktemp("runs")
  sampler = ["model.sampler.steps=3"]
  classifier = [
    "data.name=toy", "data.kind=moons", "model.network.name=mlp", "model.network.out=2",
    "model.process.name=ddpm", "model.process.noise.name=cosine", "model.process.steps=100",
  ]  # fmt: skip
  for name, file, overrides in [
    ("moons", "ddpm_moons", [*TINY, *sampler]),
    ("worse", "ddpm_moons", [*TINY, *sampler, "steps=10"]),
    ("classifier", "classifier_digits", [*classifier, *TINY]),
  ]:
    whole, values = config.from_file(f"configs/{file}.py", overrides)
    train.train(whole, home / name, values, "")
  return home


def opened(runs, *overrides):
  return Run.open(runs / "moons", config.from_run(runs / "moons", overrides)[0])


GUIDES = {
  "classifier": ["model.guidance.network.out=2", "load.classifier={}/classifier:classifier"],
  "autoguidance": ["load.guide={}/worse:denoiser@raw"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_a_finished_run_is_guided_by_another(runs, name):
  network = [f"model.guidance.name={name}", "model.guidance.network.name=mlp"]
  given = [*network, "model.guidance.network.widths=8,8", *(g.format(runs) for g in GUIDES[name])]
  plain, guided = opened(runs), opened(runs, *given, "model.guidance.scale=3.0")
  own, other = plain.samples(8)["x"], guided.samples(8)["x"]
  assert np.abs(own - other).max() > 1e-3 and np.all(np.isfinite(other))
  same = lambda a, b: jax.tree.all(jax.tree.map(np.array_equal, a, b))
  assert same(plain.params["denoiser"], guided.params["denoiser"])
  weak = opened(runs, *given, f"model.guidance.scale={float(name == 'autoguidance')}")
  np.testing.assert_allclose(weak.samples(8)["x"], own, atol=1e-5)
  with pytest.raises(core.UserError, match=r"load\.\w+ is missing"):
    opened(runs, *given[:-1])
