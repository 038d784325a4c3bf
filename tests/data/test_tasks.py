"""Tasks: conditions that are computed from the examples themselves."""

import numpy as np
import pytest

from genjax import core
from genjax.data import pipeline, tasks
from genjax.data.sources import bars, fake, toys

SHAPE = (6, 4, 1)
SOURCE = fake.Fake(shape=SHAPE, n=20)
MADE = {
  "super_resolution": (tasks.SuperResolution(factor=2), SOURCE),
  "gray": (tasks.Gray(), fake.Fake(shape=(6, 4, 3), n=20)),
  "edges": (tasks.Edges(), SOURCE),
  "half": (tasks.Half(side="top"), SOURCE),
  "box": (tasks.Box(size=0.5), SOURCE),
  "none": (tasks.Nothing(), SOURCE),
}


def build(name, batch=8, seed=0):
  task, source = MADE[name]
  data = source.load()
  data = data._replace(spec=data.spec.beside(**task.fields(data.spec)))
  return pipeline.Pipeline(data, source, "train", batch, seed, task)


def leaves(a):
  return list(a) if isinstance(a, core.Partial) else [a]


@pytest.mark.parametrize("name", tasks.TASKS)
def test_batches_match_the_fields_of_the_spec(name):
  made = build(name)
  batch, fields = made.at(3), made.dataset.spec.fields
  assert set(batch) == {"x", *fields}
  for key, field in fields.items():
    value = leaves(batch[key])[0]
    assert value.shape == (8, *field.shape) and value.dtype == field.dtype
    if field.range:
      low, high = field.range
      assert value.min() >= min(low, 0) - 1e-6 and value.max() <= high + 1e-6


@pytest.mark.parametrize("name", tasks.TASKS)
def test_rows_are_those_of_the_whole(name):
  made = build(name)
  whole, part = made.at(5), made.at(5, slice(2, 6))
  for key in whole:
    for a, b in zip(leaves(whole[key]), leaves(part[key])):
      np.testing.assert_array_equal(a[2:6], b)


def test_examples_in_order_are_the_same_for_every_seed():
  one, other = build("box", seed=0), build("box", seed=1)
  first = next(one.sequential("valid", 5))["known"]
  np.testing.assert_array_equal(first.there, next(other.sequential("valid", 5))["known"].there)
  picked = one.examples("valid", np.array([4, 1]))["known"]
  np.testing.assert_array_equal(picked.there, first.there[[4, 1]])
  assert not np.array_equal(one.at(0)["known"].there, other.at(0)["known"].there)


def test_super_resolution_keeps_the_mean():
  batch = build("super_resolution").at(0)
  assert batch["image"].shape == (8, 3, 2, 1)
  np.testing.assert_allclose(batch["image"].mean((1, 2)), batch["x"].mean((1, 2)), atol=1e-6)
  np.testing.assert_allclose(batch["image"][:, 0, 0], batch["x"][:, :2, :2].mean((1, 2)), atol=1e-6)


def test_gray_of_gray_is_itself():
  x = np.repeat(np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 6, 4, 1), 3, axis=-1)
  made = tasks.Gray()({"x": x}, None, None)["image"]
  np.testing.assert_allclose(made, x[..., :1], atol=1e-6)


def test_edges_of_a_ramp_are_its_slope():
  spec = core.DataSpec(shape=(5, 5, 1), range=(-1.0, 1.0))
  ramp = np.linspace(-1, 1, 5, dtype=np.float32)[None, :, None, None] * np.ones((1, 5, 5, 1))
  edges = tasks.Edges()({"x": ramp}, spec, None)["image"][0, 1:-1, :, 0]
  np.testing.assert_allclose(edges, 0.5 / 2**0.5, rtol=1e-6)  # 2 x 1/4 of the range, of sqrt(2)
  assert not tasks.Edges()({"x": 0 * ramp}, spec, None)["image"].any()


@pytest.mark.parametrize("side", tasks.SIDES)
def test_halves_are_known_and_the_rest_is_missing(side):
  spec = core.DataSpec(shape=(5, 4, 1), range=(0.0, 1.0))
  x = np.random.default_rng(0).random((2, 5, 4, 1), np.float32)
  value, there = tasks.Half(side=side)({"x": x}, spec, None)["known"]
  np.testing.assert_array_equal(value, x * there)
  known = {"left": np.s_[:, :2], "right": np.s_[:, 2:], "top": np.s_[:3], "bottom": np.s_[2:]}[side]
  expected = np.zeros((5, 4))
  expected[known] = 1
  np.testing.assert_array_equal(there[0, ..., 0], expected)
  assert tasks.Half(side=side).fields(spec)["known"].about == side


def test_boxes_of_one_size_lie_everywhere():
  spec = core.DataSpec(shape=(6, 6, 1), range=(0.0, 1.0))
  u = np.random.default_rng(0).random((500, 2))
  there = tasks.Box(size=0.5)({"x": np.ones((500, 6, 6, 1), np.float32)}, spec, u)["known"].there
  np.testing.assert_array_equal((1 - there).sum((1, 2, 3)), 9)
  corners = {tuple(np.argwhere(hole == 0)[0][:2]) for hole in there}
  assert corners == {(i, j) for i in range(4) for j in range(4)}


@pytest.mark.parametrize(
  ("task", "source", "message"),
  [
    (tasks.SuperResolution(factor=4), SOURCE, "does not divide pictures of 6x4"),
    (tasks.Gray(), SOURCE, "needs coloured pictures"),
    (tasks.Half(), toys.Toy(n=10), "needs pictures"),
    (tasks.Box(), toys.Toy(n=10), "needs pictures"),
  ],
)
def test_data_that_a_task_is_not_for_are_refused(task, source, message):
  with pytest.raises(core.UserError, match=message):
    task.fields(source.load().spec)


def test_a_side_is_spelt_right():
  with pytest.raises(core.UserError, match="did you mean 'left'"):
    tasks.Half(side="lefft")
  assert tasks.Half().fields(bars.Bars(n=10).load().spec)["known"].kind == "binary"
