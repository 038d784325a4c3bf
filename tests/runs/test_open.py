"""A Run draws each of its samples once, however often they are used."""

import pathlib

import jax
import numpy as np
import pytest

from genjax import config, core
from genjax.runs import build
from genjax.runs import open as runs
from genjax.training import sharding

FILE = pathlib.Path(__file__).parents[2] / "configs" / "ddpm_moons.py"


def test_samples_are_drawn_once_and_shared_by_splits():
  values, _ = config.from_file(f"{FILE}:smoke", ["sample_batch=8", "num=20"])
  setup = build.assemble(values)
  run = runs.Run.of_state(setup, setup.initial(sharding.mesh(), {}))
  draw, calls = setup.sample, []
  setup.__dict__["sample"] = lambda *args: calls.append(1) or draw(*args)
  first = run.samples(10)["x"]
  assert len(calls) == 2
  np.testing.assert_array_equal(run.against("valid").samples(16)["x"][:10], first)
  assert len(calls) == 2 and run.split == "test"
  np.testing.assert_array_equal(next(run.chunks(0, 3))["x"], first[:3])
  assert len(calls) == 2
  list(run.chunks(1, 8))  # another seed
  list(run.chunks(0, 48))  # more than `num` are not kept
  list(run.chunks(0, 48))
  assert len(calls) == 2 + 1 + 4 + 3


@pytest.mark.parametrize(
  ("file", "override", "message"),
  [
    ("autoencoder_fashion_mnist.py:convolutional", "codec.widths=()", "has no level"),
    ("autoencoder_fashion_mnist.py", "codec.name=pyramid", "use it in a 'vqvae2'"),
    ("vae_mnist.py", "encoder.name=transformer", "use 'mlp'"),
    ("vae_mnist.py", "encoder.name=cnn", "cnn: needs images"),
    ("vae_mnist.py", "encoder.name=down", "down: needs images"),
    ("ddpm_mnist.py", "network.name=transformer", "it predicts tokens"),
  ],
)
def test_networks_that_do_not_fit_are_refused(file, override, message):
  points = ["data.name=toy", "model.head.name=gaussian"] if message.endswith("images") else []
  points += ["data.name=fake"] if "fashion" in file else []  # no pictures that must be installed
  with pytest.raises(core.UserError, match=message):
    build.assemble(config.from_file(str(FILE.parent / file), [f"model.{override}", *points])[0])


@pytest.mark.parametrize(
  ("file", "overrides"),
  [
    ("dequantized_digits.py:smoke", ["model.dequantizer.conditions=label"]),
    ("wgan_gp_ring.py:smoke", ["model.generator.conditions=label"]),
    (
      "ddpm_moons.py:smoke",
      [
        "model.guidance.name=autoguidance",
        "model.guidance.network.name=mlp",
        "model.guidance.network.conditions=label",
        "load.guide=runs/x:denoiser",
      ],
    ),
  ],
)
def test_a_network_that_is_told_nothing_has_no_conditions(file, overrides):
  values, _ = config.from_file(str(FILE.parent / file), overrides)
  with pytest.raises(core.UserError, match=r"conditions: 'label' is not told to this network"):
    build.assemble(values)


def test_a_notebook_asks_for_samples_likelihoods_and_reconstructions():
  """In stored units, with conditions by their names."""
  values, _ = config.from_file(f"{FILE.parent}/vae_mnist.py:conditional+smoke")
  setup = build.assemble(values)
  run = runs.Run.of_state(setup, setup.initial(sharding.mesh(), {}))
  x = run.sample(5, seed=3, label=7)
  assert x.shape == (5, *run.spec.shape) and x.dtype == np.uint8 and set(np.unique(x)) <= {0, 1}
  np.testing.assert_array_equal(x, run.sample(5, seed=3, label=[7]))
  np.testing.assert_array_equal(run.stored(run.seen(x)), x)
  alternating = run.sample(4, label=[7, 3])
  np.testing.assert_array_equal(alternating[::2], run.sample(4, label=7)[::2])
  np.testing.assert_array_equal(alternating[1::2], run.sample(4, label=3)[1::2])

  again = run.reconstruct(x, label=7)
  assert again.shape == x.shape and again.dtype == x.dtype
  nats = run.likelihood(x, label=np.full(5, 7))
  assert set(nats) == {"elbo-given-label/lower-bound", "importance-3-given-label/lower-bound"}
  assert all(value.shape == (5,) and (value < 0).all() for value in nats.values())

  with pytest.raises(core.UserError, match="this model is told 'label'; give it as label="):
    run.reconstruct(x)
  with pytest.raises(core.UserError, match="unknown condition 'lable'; did you mean 'label'"):
    run.sample(3, lable=7)


def test_a_notebook_is_told_what_a_model_cannot_do():
  values, _ = config.from_file(f"{FILE.parent}/wgan_gp_ring.py:smoke")
  setup = build.assemble(values)
  run = runs.Run.of_state(setup, setup.initial(sharding.mesh(), {}))
  for ask, message in (
    (lambda: run.likelihood(np.zeros((2, 2))), "this model has no likelihood"),
    (lambda: run.reconstruct(np.zeros((2, 2))), "this model does not reconstruct"),
    (lambda: run.sample(2, label=1), "unknown condition 'label'"),
    (lambda: run.metrics("mode"), "unknown metric 'mode'; did you mean 'modes'"),
  ):
    with pytest.raises(core.UserError, match=message):
      ask()


@pytest.mark.parametrize(
  "name",
  ["ddpm_moons.py:smoke", "vae_mnist.py:completion+smoke", "text_conditional_moons.py:smoke"],
)
def test_a_blank_batch_is_like_every_batch(name):
  """A model is opened with a blank one where its data are missing."""
  setup = build.assemble(config.from_file(f"{FILE.parent}/{name}")[0])
  shapes = lambda batch: jax.tree.map(lambda a: (a.shape, a.dtype), batch)
  assert shapes(setup.pipeline.blank()) == shapes(setup.pipeline.at(0))
