"""The conditions that samples are drawn for, and the truth that they are compared with."""

import jax
import numpy as np
import pytest

from genjax import config, core
from genjax.runs import build, conditions
from genjax.runs import open as runs
from genjax.training import sharding


def made(name, *overrides):
  values, _ = config.from_file(f"configs/{name}.py:smoke", list(overrides))
  setup = build.assemble(values)
  return setup, conditions.Conditions(getattr(setup.model, "conditions", ()), setup.pipeline)


def test_labels_are_taken_in_turn():
  _, cond = made("ddpm_mnist")
  np.testing.assert_array_equal(cond.at(np.arange(12), "test")["label"], np.arange(12) % 10)
  assert not cond.of_examples and not cond.true


def test_conditions_are_of_the_examples_of_a_split_and_x_is_the_truth():
  setup, cond = made("super_resolution_digits")
  index = np.array([3, 0, 33])  # of 32 pictures
  batch = setup.pipeline.examples("test", index % 32)
  np.testing.assert_array_equal(cond.at(index, "test")["image"], batch["image"])
  np.testing.assert_array_equal(cond.truth(index, "test"), batch["x"])
  assert cond.true and cond.of_examples
  assert not np.array_equal(cond.at(index, "valid")["image"], batch["image"])


def test_what_is_not_paired_has_no_truth():
  _, cond = made("gaussian_transport_moons")
  assert cond.of_examples and not cond.true


def test_what_a_person_says_is_taken_in_turn():
  setup, _ = made("ddpm_mnist")
  cond = conditions.Conditions(("label",), setup.pipeline, {"label": np.array([4, 2])})
  np.testing.assert_array_equal(cond.at(np.arange(5), "test")["label"], [4, 2, 4, 2, 4])
  partial = core.Partial(np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 1)))
  both = conditions.Conditions(("label", "image"), setup.pipeline, {"image": partial})
  assert both.at(np.arange(3), "test")["image"].value.shape == (3, 2, 2, 1)
  np.testing.assert_array_equal(both.at(np.arange(3), "test")["label"], [0, 1, 2])


@pytest.fixture(scope="module")
def run():
  setup, _ = made(
    "super_resolution_digits", "model.network.name=mlp", "model.network.conditions=image"
  )
  return runs.Run.of_state(setup, setup.initial(sharding.mesh(), {}))


def test_truth_and_samples_follow_the_split(run):
  assert run.truth(4).dtype == np.uint8
  np.testing.assert_array_equal(run.truth(4), run.data.splits["test"]["x"][:4])
  held = run.against("valid")
  np.testing.assert_array_equal(held.truth(4), run.data.splits["valid"]["x"][:4])
  assert not np.array_equal(held.samples(4)["image"], run.samples(4)["image"])


def test_a_sample_depends_on_what_it_is_drawn_for_alone(run):
  first = run.samples(8)
  image = np.array(first["image"])
  image[1:] = -image[1:]
  told = run.told({"image": core.partial(image)})
  other = told.samples(8)
  np.testing.assert_array_equal(other["x"][0], first["x"][0])
  assert other["image"].value.shape == (8, *first["image"].shape[1:])
  assert told.truth(8) is None and jax.tree.leaves(other)[0].shape[0] == 8
