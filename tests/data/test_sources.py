"""Sources: their splits are disjoint, balanced, the same on every run, and described correctly."""

import math
import subprocess
import sys

import numpy as np
import pytest

from genjax import core
from genjax.data.sources import bars, digits, fake, mnist, toys
from genjax.data.sources import base as sources

SMALL = {
  "digits": digits.Digits(),
  "digits static": digits.Digits(binarize="static"),
  "toy": toys.Toy(kind="spirals", n=100),
  "bars": bars.Bars(n=100),
  "fake": fake.Fake(n=20),
  "fake dynamic": fake.Fake(n=20, binarize="dynamic"),
}


@pytest.mark.parametrize("name", SMALL)
def test_columns_are_what_the_spec_says(name):
  data = SMALL[name].load()
  assert tuple(data.splits) == sources.SPLITS and tuple(data.hash) == sources.SPLITS
  assert "\n" not in data.origin and data.licence
  for split in data.splits.values():
    x = split["x"][:]
    assert x.shape == (len(split["x"]), *data.spec.shape)
    if data.spec.levels is None:
      assert x.dtype == np.float32
    else:
      assert x.dtype == np.uint8 and x.max() == data.spec.levels - 1
    assert ("label" in split) == (data.spec.classes > 0)
    if data.spec.classes:
      assert split["label"].dtype == np.int32
      assert set(np.unique(split["label"])) <= set(range(data.spec.classes))


def test_hashes_are_the_same_in_another_process():
  program = """if True:
    from genjax.data.sources import bars, digits, fake, toys
    for s in (digits.Digits(binarize="static"), toys.Toy(n=100), bars.Bars(n=50), fake.Fake(n=9)):
      print(s.load().hash)
  """
  run = subprocess.run(
    [sys.executable, "-c", program], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True
  )
  here = (digits.Digits(binarize="static"), toys.Toy(n=100), bars.Bars(n=50), fake.Fake(n=9))
  assert run.stdout.splitlines() == [str(source.load().hash) for source in here]


def test_hash_tells_content_names_and_types_apart():
  x = np.arange(6, dtype=np.uint8)
  variants = [{"x": x}, {"y": x}, {"x": x[::-1]}, {"x": x.astype(np.int8)}, {"x": x.reshape(2, 3)}]
  assert len({sources.hashes({"train": v})["train"] for v in variants}) == len(variants)


def rows_of(splits):
  return [{row.tobytes() for row in split["x"]} for split in splits.values()]


def test_digits_are_stratified_and_disjoint():
  data = digits.Digits().load()
  counts = {name: np.bincount(split["label"]) for name, split in data.splits.items()}
  assert set(counts["valid"]) == {18} and set(counts["test"]) == {36}
  assert sum(c.sum() for c in counts.values()) == 1797
  train, valid, test = rows_of(data.splits)
  assert not (train & valid or train & test or valid & test)


def test_bundled_mnist_is_stratified_and_disjoint():
  data = mnist.Mnist(source="bundled").load()
  for name, each in (("train", 400), ("valid", 50), ("test", 50)):
    np.testing.assert_array_equal(np.bincount(data.splits[name]["label"]), each)
  train, valid, test = rows_of(data.splits)
  assert not (train & valid or train & test or valid & test)
  assert len(np.unique(data.splits["test"]["label"][:50])) == 10  # not in the order of the classes
  assert "5,000" in data.origin and "source=tfds" in data.origin


def test_hold_out_is_a_partition():
  x = np.arange(100)
  train, valid = sources.hold_out({"x": x}, 30)
  assert len(valid["x"]) == 30
  np.testing.assert_array_equal(np.sort(np.concatenate([train["x"], valid["x"]])), x)


def test_classes_left_out_are_in_the_test_split_alone():
  whole, part = digits.Digits().load(), digits.Digits(leave_out=(3, 8)).load()
  for name, split in part.splits.items():
    assert np.unique(split["label"]).size == (10 if name == "test" else 8)
  kept = ~np.isin(whole.splits["train"]["label"], (3, 8))
  np.testing.assert_array_equal(part.splits["train"]["x"], whole.splits["train"]["x"][kept])
  assert part.hash["train"] != whole.hash["train"] and part.hash["test"] == whole.hash["test"]
  assert part.origin.endswith("without classes 3, 8")
  lazy = {name: sources.Rows(c, np.arange(len(c))) for name, c in whole.splits["train"].items()}
  for name, column in sources.without(lazy, (3, 8)).items():
    np.testing.assert_array_equal(column[:], part.splits["train"][name])
    np.testing.assert_array_equal(column[[5, -1]], part.splits["train"][name][[5, -1]])


def test_static_and_dynamic_share_what_is_held_out():
  static, dynamic, threshold = (
    fake.Fake(n=40, binarize=how).load() for how in ("static", "dynamic", "threshold")
  )
  assert static.spec == dynamic.spec == threshold.spec
  assert static.spec.kind == "binary" and static.spec.range == (0, 1)
  assert static.hash["test"] == dynamic.hash["test"] != threshold.hash["test"]
  assert static.hash["train"] != dynamic.hash["train"]
  grey = fake.Fake(n=40).load().splits["test"]["x"]
  np.testing.assert_array_equal(threshold.splits["test"]["x"], grey > 127)


def test_a_static_draw_reads_the_same_row_by_row():
  x = fake.Fake(n=40).load().splits["train"]["x"]
  column = sources.Binarized(x, 256, "static", 0)
  rows = np.array([39, 3, 4, -1])
  np.testing.assert_array_equal(column[rows], column[:][rows])


@pytest.mark.parametrize(
  "source, hint",
  [
    (fake.Fake(binarize="dynamc"), "dynamic"),
    (fake.Fake(range=(0.0, 255.0)), "range"),
    (fake.Fake(shape=(28, 28)), "shape"),
    (fake.Fake(leave_out=(10,)), "some of 10 classes"),
    (toys.Toy(kind="mons"), "moons"),
    (bars.Bars(kind="bar"), "bars"),
    (mnist.Mnist(source="tdfs"), "tfds"),
    (mnist.Mnist(source="dir"), "data.dir"),
    (mnist.Mnist(dir="/nowhere"), "/nowhere"),
  ],
)
def test_mistakes_are_named_in_one_line(source, hint):
  with pytest.raises(core.UserError, match=hint) as error:
    source.load()
  assert "\n" not in str(error.value)


# Toys: their entropies against densities written here from their definitions.


def gaussians(x, centers, std):
  """Returns the density [N] of equally likely round Gaussians at x [N, 2]."""
  p = np.zeros(len(x))
  for block in range(0, len(x), 2000):
    d = ((x[block : block + 2000, None] - centers) ** 2).sum(-1)
    p[block : block + 2000] = np.exp(-d / (2 * std**2)).mean(1) / (2 * np.pi * std**2)
  return p


def plane_entropy(density, limit, step):
  """Returns -int p ln p by the midpoint rule on a square grid.

  Asserts that int p is 1, so that the grid holds all of the density.
  """
  axis = np.arange(-limit, limit, step) + step / 2
  p = density(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
  assert abs(p.sum() * step**2 - 1) < 1e-6
  return -(p * np.log(np.maximum(p, 1e-300))).sum() * step**2


def moons_density(x):
  angle = (np.arange(400) + 0.5) * np.pi / 400
  upper = np.stack([np.cos(angle), np.sin(angle)], -1)
  lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], -1)
  centers = 2 * np.concatenate([upper, lower]) - [1, 0.2]
  return gaussians(x, centers, 0.2)


def eight_density(x):
  angle = np.arange(8) * np.pi / 4
  return gaussians(x, np.stack([np.cos(angle), np.sin(angle)], -1) * 8**0.5, 8**-0.5)


def ring_density(x):
  """Returns the density [N] of two rings with Gaussian noise, a Bessel function of the radius."""
  from scipy import special

  r, p, std = np.linalg.norm(x, axis=-1), 0, 0.24
  for radius in (3.0, 1.5):
    bessel = special.ive(0, r * radius / std**2)
    p = p + np.exp(-((r - radius) ** 2) / (2 * std**2)) * bessel / (4 * np.pi * std**2)
  return p


def squares_density(x):
  """Returns 1/32 on the squares of side 2 with even column + row, and 0 elsewhere."""
  inside = np.abs(x).max(-1) < 4
  return inside * (np.floor(x / 2).sum(-1) % 2 == 0) / 32


DENSITIES = {
  "8gaussians": (eight_density, 6, 0.05),
  "moons": (moons_density, 4.2, 0.08),
  "circles": (ring_density, 5, 0.04),
  "checkerboard": (squares_density, 5, 0.05),
}


@pytest.mark.parametrize("kind", DENSITIES)
def test_entropy_by_quadrature(kind):
  density, limit, step = DENSITIES[kind]
  assert plane_entropy(density, limit, step) == pytest.approx(toys.Toy(kind=kind).entropy, abs=6e-5)


def separate_density(kind):
  def density(x):
    if kind == "grid25":
      axis = np.arange(-4, 5, 2)
      return gaussians(x, np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), 0.05)
    angle = np.arange(8) * np.pi / 4
    return gaussians(x, np.stack([np.cos(angle), np.sin(angle)], -1), 0.01)

  return density


@pytest.mark.parametrize(
  "kind", ["8gaussians", "moons", "circles", "checkerboard", "ring8", "grid25"]
)
def test_draws_come_from_the_density(kind):
  """The mean of -ln p over draws is the entropy, within four standard errors."""
  source = toys.Toy(kind=kind, n=10_000)
  x = source.load().splits["train"]["x"].astype(float)
  density = DENSITIES[kind][0] if kind in DENSITIES else separate_density(kind)
  nll = -np.log(density(x))
  error = max(nll.std() / len(x) ** 0.5, 1e-9)
  assert abs(nll.mean() - source.entropy) < 4 * error


@pytest.mark.parametrize("kind", toys.SHAPES)
def test_toys_are_drawn_anew_for_each_split(kind):
  data = toys.Toy(kind=kind, n=500).load()
  assert [len(split["x"]) for split in data.splits.values()] == [500, 100, 100]
  train, valid, test = rows_of(data.splits)
  assert not (train & valid or train & test or valid & test)
  assert np.isfinite(data.splits["train"]["x"]).all()
  assert len(np.unique(data.splits["train"]["label"])) == data.spec.classes


@pytest.mark.parametrize("kind", bars.KINDS)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_entropy_of_bars_by_enumeration(kind, size):
  chance = {}
  for number in range(2**size):
    lines = [[number >> i & 1] * size for i in range(size)]
    turned = [list(column) for column in zip(*lines)]
    for picture in (lines, turned if kind == "bars-and-stripes" else lines):
      key = str(picture)
      chance[key] = chance.get(key, 0) + 1 / 2 ** (size + 1)
  entropy = -sum(p * math.log(p) for p in chance.values())
  source = bars.Bars(kind=kind, size=size, n=4000)
  assert source.entropy == pytest.approx(entropy)
  x = source.load().splits["train"]["x"][..., 0]
  assert {str(picture.tolist()) for picture in x} == set(chance)
