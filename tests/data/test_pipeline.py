"""Batches are a pure function of (seed, step), cover every epoch exactly, and split over hosts."""

import numpy as np
import pytest

from genjax import core
from genjax.data import pipeline, transforms
from genjax.data.sources import base as sources
from genjax.data.sources import fake, toys

N = 50


class Slow:
  """A column that is not an array, so that it is read ahead in threads.

  broken: the row that raises an error when it is read.
  """

  def __init__(self, array, broken=-1):
    self.array, self.broken = array, broken

  def __len__(self):
    return len(self.array)

  def __getitem__(self, index):
    index = sources.rows(index, len(self))
    if self.broken in index:
      raise core.UserError(f"row {self.broken} is damaged")
    return self.array[index]


def numbered(n=N, column=lambda a: a):
  """Returns a data set in which the x of an example is its number."""
  x = np.arange(n, dtype=np.float32)[:, None]
  split = {"x": column(x), "label": np.arange(n, dtype=np.int32)}
  spec = core.DataSpec(shape=(1,), classes=n)
  splits = {name: split for name in sources.SPLITS}
  return sources.Dataset("numbered", spec, splits, "", "", {})


def pictures(**fields):
  source = fake.Fake(shape=(3, 4, 1), n=N, **fields)
  return source.load(), source


def same(a, b):
  assert a.keys() == b.keys()
  for key in a:
    np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize("batch", [7, 25, 50, 120])
def test_every_epoch_shows_every_example_once(batch):
  data = pipeline.Pipeline(numbered(), toys.Toy(), batch=batch, seed=3)
  epochs = 7
  steps = -(-epochs * N // batch)
  stream = np.concatenate([data.at(k)["label"] for k in range(steps)])[: epochs * N]
  for epoch in stream.reshape(epochs, N):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(N))
  assert len({tuple(epoch) for epoch in stream.reshape(epochs, N)}) == epochs


def test_columns_stay_together():
  batch = pipeline.Pipeline(numbered(), toys.Toy(), batch=32).at(5)
  np.testing.assert_array_equal(batch["x"][:, 0], batch["label"])


def test_batch_depends_on_seed_and_step_alone():
  dataset, source = pictures(flip=True, noise=0.1)
  one = pipeline.Pipeline(dataset, source, batch=16, seed=1)
  two = pipeline.Pipeline(dataset, source, batch=16, seed=1)
  two.at(9)
  same(one.at(4), two.at(4))
  other = pipeline.Pipeline(dataset, source, batch=16, seed=2)
  assert not np.array_equal(one.at(4)["x"], other.at(4)["x"])


@pytest.mark.parametrize("fields", [{"flip": True, "noise": 0.1}, {"binarize": "dynamic"}])
@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_hosts_load_together_what_one_would(fields, hosts):
  data = pipeline.Pipeline(*pictures(**fields), batch=12, seed=1)
  own = 12 // hosts
  for step in (0, 4):  # step 4 crosses the end of an epoch
    parts = [data.at(step, slice(h * own, (h + 1) * own)) for h in range(hosts)]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    same(data.at(step), joined)


def test_an_element_of_the_stream_does_not_depend_on_the_batch_size():
  small, large = (
    pipeline.Pipeline(*pictures(flip=True, noise=0.1), batch=b, seed=1) for b in (8, 24)
  )
  for key, value in large.at(2).items():
    np.testing.assert_array_equal(value, np.concatenate([small.at(k)[key] for k in (6, 7, 8)]))


@pytest.mark.parametrize("column", [lambda a: a, Slow], ids=["memory", "threads"])
@pytest.mark.parametrize("start", [0, 3, 17])
def test_resuming_equals_the_unbroken_stream(column, start):
  data = pipeline.Pipeline(numbered(column=column), toys.Toy(), batch=12)
  unbroken = [data.at(k) for k in range(25)]
  resumed = list(data.iterate(start, 25))
  assert len(resumed) == 25 - start
  for a, b in zip(unbroken[start:], resumed):
    same(a, b)


def test_endless_iteration_can_be_left():
  stream = pipeline.Pipeline(numbered(column=Slow), toys.Toy(), batch=12).iterate()
  same(next(stream), pipeline.Pipeline(numbered(), toys.Toy(), batch=12).at(0))
  stream.close()


def test_an_error_of_the_reader_reaches_the_consumer_in_its_turn():
  dataset = numbered(column=lambda a: Slow(a, broken=11))
  labels = [pipeline.Pipeline(numbered(), toys.Toy(), batch=5).at(k)["label"] for k in range(10)]
  turn = next(k for k, label in enumerate(labels) if 11 in label)
  stream, seen = pipeline.Pipeline(dataset, toys.Toy(), batch=5).iterate(), 0
  with pytest.raises(core.UserError, match="row 11 is damaged"):
    for _ in stream:
      seen += 1
  assert seen == turn


def test_sequential_reads_a_split_once_in_order_and_unchanged():
  dataset, source = pictures(flip=True, noise=0.5)
  data = pipeline.Pipeline(dataset, source)
  batches = list(data.sequential("test", 10))
  assert [len(b["x"]) for b in batches] == [10, 10, 5]
  x = np.concatenate([b["x"] for b in batches])
  np.testing.assert_array_equal(transforms.quantize(x, 256, (-1, 1)), dataset.splits["test"]["x"])


def test_training_cannot_draw_from_test():
  with pytest.raises(ValueError, match="test"):
    pipeline.Pipeline(numbered(), toys.Toy(), split="test")


def test_dynamic_binarization_is_fresh_each_epoch_and_right_on_average():
  dataset, source = pictures(binarize="dynamic")
  grey = fake.Fake(shape=(3, 4, 1), n=N).load().splits["train"]["x"] / 255.0
  data = pipeline.Pipeline(dataset, source, batch=N, seed=0)
  draws = 400
  mean = np.mean([data.at(k)["x"].mean() for k in range(draws)])
  error = np.sqrt((grey * (1 - grey)).sum() / draws) / grey.size
  assert abs(mean - grey.mean()) < 4 * error
  assert set(np.unique(data.at(0)["x"])) == {0.0, 1.0}
  assert data.at(0)["x"].dtype == np.float32
  by_epoch = [data.at(k)["x"][np.argsort(pipeline.permutation(N, 0, k))] for k in (0, 1)]
  assert not np.array_equal(*by_epoch)
  held = list(data.sequential("valid", 30))
  same(held[0], next(data.sequential("valid", 30)))


def test_one_hot_labels():
  dataset, source = pictures(one_hot=True)
  hot = pipeline.Pipeline(dataset, source, batch=9).at(1)["label"]
  plain = pipeline.Pipeline(pictures()[0], fake.Fake(), batch=9).at(1)["label"]
  assert hot.shape == (9, 10) and hot.dtype == np.float32 and plain.dtype == np.int32
  np.testing.assert_array_equal(hot.argmax(1), plain)
  np.testing.assert_array_equal(hot.sum(1), 1)


@pytest.mark.parametrize("range", [(-1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_quantize_inverts_scale(levels, range):
  k = np.arange(levels, dtype=np.uint8)
  x = transforms.scale(k, levels, range)
  assert x.dtype == np.float32 and x.min() >= range[0]
  np.testing.assert_allclose(x[[0, -1]], range, atol=1e-6)
  np.testing.assert_array_equal(transforms.quantize(x, levels, range), k)
  half = 0.49 * (range[1] - range[0]) / (levels - 1)
  np.testing.assert_array_equal(transforms.quantize(x + half, levels, range), k)
  np.testing.assert_array_equal(transforms.quantize(x - half, levels, range), k)


def test_uniforms_are_a_function_of_the_position():
  whole = transforms.uniforms(5, 1, np.arange(100), (3, 2))
  some = np.array([99, 0, 1, 2, 50, 7])
  np.testing.assert_array_equal(transforms.uniforms(5, 1, some, (3, 2)), whole[some])
  assert transforms.uniforms(5, 1, np.arange(0), (3, 2)).shape == (0, 3, 2)
  for other in (
    transforms.uniforms(5, 2, np.arange(100), (3, 2)),
    transforms.uniforms(6, 1, np.arange(100), (3, 2)),
  ):
    assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.2


def test_uniforms_and_orders_do_not_share_a_stream():
  order = np.random.Generator(np.random.PCG64(np.random.SeedSequence([5, 1]))).random(6)
  assert not np.allclose(order, transforms.uniforms(5, 1, np.arange(6)))


def test_noise_is_standard_normal():
  u = transforms.uniforms(0, 0, np.arange(40_000), (2,))
  z = transforms.noise(np.zeros(40_000), 2.0, u) / 2
  for moment, value in ((1, 0), (2, 1), (3, 0), (4, 3)):
    error = np.sqrt({1: 1, 2: 2, 3: 15, 4: 96}[moment] / len(z))
    assert abs(np.mean(z.astype(float) ** moment) - value) < 4 * error


def test_flip_mirrors_half():
  x = np.arange(2 * 3 * 4).reshape(2, 3, 4, 1)
  flipped = transforms.flip(x, np.array([0.2, 0.7]))
  np.testing.assert_array_equal(flipped[0, :, ::-1], x[0])
  np.testing.assert_array_equal(flipped[1], x[1])


def test_threshold_is_half_of_the_brightest():
  for levels, first in ((2, 1), (17, 9), (256, 128)):
    k = np.arange(levels, dtype=np.uint8)
    np.testing.assert_array_equal(transforms.threshold(k, levels), k >= first)


def test_bernoulli_keeps_black_and_white():
  k = np.array([0, 255], np.uint8)
  for u in (0.0, 0.5, np.nextafter(1.0, 0.0)):
    np.testing.assert_array_equal(transforms.bernoulli(k, 255 + 1, np.full(2, u)), [0, 1])
