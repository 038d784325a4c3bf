"""Fields, partially missing fields, and the conditions that a model is told."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core

TEXT = core.Field(shape=(3,), dtype="int32", levels=5, kind="text")
IMAGE = core.Field(shape=(2, 2, 1), range=(-1.0, 1.0), kind="image", about="half")
SPEC = core.DataSpec(shape=(4,), classes=7).beside(text=TEXT, image=IMAGE)
COND = {
  "label": jnp.array([0, 6]),
  "text": jnp.array([[0, 1, 2], [3, 4, 5]]),
  "image": jnp.arange(8.0).reshape(2, 2, 2, 1),
}


def test_fields_are_told_by_the_spec_and_hashable():
  assert list(SPEC.fields) == ["label", "text", "image"]
  assert SPEC.fields["label"].levels == 7 and SPEC.fields["label"].integer
  assert hash(SPEC) == hash(core.DataSpec(shape=(4,), classes=7).beside(text=TEXT, image=IMAGE))
  other = SPEC.beside(text=IMAGE)
  assert other.fields["text"] == IMAGE and list(other.fields) == list(SPEC.fields)
  assert core.DataSpec(shape=(4,)).fields == {}


def test_likelihoods_are_called_by_what_is_given():
  assert SPEC.suffix(("label", "image", "text")) == "-given-label-given-half-given-text"
  assert SPEC.suffix(()) == ""


def test_hidden_conditions_are_null_and_the_others_stay():
  some = core.hidden(COND, SPEC, jnp.array([False, True]))
  np.testing.assert_array_equal(some["label"], [0, 7])
  np.testing.assert_array_equal(some["text"], [[0, 1, 2], [5, 5, 5]])
  np.testing.assert_array_equal(some["image"].value[0], COND["image"][0])
  np.testing.assert_array_equal(some["image"].there, [[[[1]] * 2] * 2, [[[0]] * 2] * 2])
  for name, field in SPEC.fields.items():
    gone = core.hidden({name: COND[name]}, SPEC, jnp.array([True, True]))[name]
    for a, b in zip(*map(leaves, (gone, core.null(field, 2)))):
      np.testing.assert_array_equal(a, b)


def leaves(a):
  return list(a) if isinstance(a, core.Partial) else [a]


def test_a_hole_stays_a_hole():
  value, there = jnp.ones((2, 2, 2, 1)), jnp.zeros((2, 2, 2, 1)).at[:, 0].set(1)
  hole = core.Partial(value * there, there)
  kept = core.hidden({"image": hole}, SPEC, jnp.array([False, True]))["image"]
  np.testing.assert_array_equal(kept.there[0], there[0])
  assert not kept.value[1].any() and not kept.there[1].any()
  assert core.partial(hole) is hole


def test_a_model_is_given_what_it_names():
  model = types.SimpleNamespace(conditions=("text",))
  batch = {"x": jnp.zeros((2, 4)), **COND}
  assert list(core.given(model, batch)) == ["text"]
  with pytest.raises(KeyError):
    core.given(types.SimpleNamespace(conditions=("mask",)), batch)
