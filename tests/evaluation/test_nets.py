"""The shipped feature nets, and the metrics of images that use them."""

import functools
import hashlib
import json
import pathlib
import types

import jax
import numpy as np
import pytest

from genjax import core
from genjax.data.sources import digits, mnist, published
from genjax.evaluation import distances, features, metrics
from genjax.networks import classifier

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "feature_nets" / "results.json"
SOURCES = {
  "mnist": mnist.Mnist(source="bundled"),
  "digits": digits.Digits(),
  "fashion_mnist": mnist.FashionMnist(source="dir", dir=published.FASHION.local),
}


@pytest.fixture(scope="module")
def data():
  return digits.Digits().load()


@functools.cache
def load(name):
  try:
    return SOURCES[name].load()
  except core.UserError as error:
    pytest.skip(str(error))


def fake_run(data, x, num=180, **labels):
  return types.SimpleNamespace(
    num=num,
    split="test",
    spec=data.spec,
    data=data,
    samples=lambda n: {key: a[:n] for key, a in {"x": x, **labels}.items()},
  )


@pytest.mark.parametrize("name", features.NETS)
def test_hash_in_the_name_is_that_of_the_file(name):
  sha = hashlib.sha256()
  with np.load(features.WEIGHTS / f"{name}.npz") as file:
    for key in sorted(file):
      sha.update(f"{key} {file[key].dtype.str} {file[key].shape}\n".encode())
      sha.update(file[key].tobytes())
  assert features.load(name).id == f"{name}-{sha.hexdigest()[:8]}"
  assert json.loads(RESULTS.read_text())[name]["hash"] == sha.hexdigest()[:8]
  assert (features.WEIGHTS / f"{name}.npz").stat().st_size < 1e6


@pytest.mark.slow
@pytest.mark.parametrize("name", features.NETS)
def test_accuracy_and_confidence_are_as_measured(name):
  data, measured = load(name), json.loads(RESULTS.read_text())[name]
  assert data.hash == measured["data"]  # so what was held out then is held out now
  _, p = features.load(name)(data.splits["test"]["x"], data.spec.levels)
  accuracy = np.mean(p.argmax(1) == data.splits["test"]["label"])
  assert accuracy >= measured["test_accuracy"] - 0.005
  assert np.mean(p.max(1) > 0.9) == pytest.approx(measured["test_legible"], abs=0.005)


def test_features_of_an_image_do_not_depend_on_its_neighbours(data):
  net, x = features.load("digits"), data.splits["train"]["x"][: features.CHUNK + 7]
  together, p = net(x, 17)
  alone, q = net(x[-7:], 17)
  assert together.shape == (len(x), 64)
  np.testing.assert_allclose(together[-7:], alone, atol=1e-5)
  np.testing.assert_allclose(p[-7:], q, atol=1e-5)
  np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_pack_and_unpack_are_inverse():
  module = classifier.SmallCNN(classes=3, widths=(2, 4), features=5)
  params = jax.jit(module.init)(jax.random.key(0), np.zeros((1, 8, 8, 1)))["params"]
  net = features.unpack("mine", features.pack(params, (8, 8, 1), 2.5))
  assert (net.module, net.shape, net.scale) == (module, (8, 8, 1), 2.5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), net.params, params)


@pytest.mark.slow
@pytest.mark.parametrize("name", features.NETS)
def test_features_have_unit_variance_on_average(name):
  data = load(name)
  x, _ = features.load(name)(data.splits["train"]["x"][:2000], data.spec.levels)
  assert x.var(0).mean() == pytest.approx(1, abs=0.05)


def test_hash_changes_with_any_weight():
  arrays = {"a": np.zeros(3, np.float16), "b": np.zeros(2, np.float16)}
  changed = {**arrays, "b": np.array([0, 1], np.float16)}
  renamed = {"a": arrays["a"], "c": arrays["b"]}
  assert len({features.digest(a) for a in (arrays, changed, renamed)}) == 3


def test_a_wrong_shape_and_an_unknown_net_are_refused():
  with pytest.raises(core.UserError, match="takes images"):
    features.load("digits")(np.zeros((2, 28, 28, 1), np.uint8), 256)
  with pytest.raises(core.UserError, match="did you mean 'fashion_mnist'"):
    features.load("fashion-mnist")


def test_image_metrics_of_held_out_digits_are_near_their_reference(data):
  run, net = fake_run(data, data.splits["valid"]["x"]), features.load("digits")
  m = metrics.fd(run)
  test = data.splits["test"]["x"][np.random.default_rng(0).permutation(360)[:180]]
  expected = distances.frechet(net(run.samples(180)["x"], 17)[0], net(test, 17)[0])
  assert m[f"fd/{net.id}"] == pytest.approx(expected)
  assert m[f"fd/{net.id}/n"] == 180
  kid = metrics.kid(run)
  assert abs(kid[f"kid/{net.id}"]) < 4 * kid[f"kid/{net.id}/se"]
  assert metrics.prdc(run)[f"coverage/{net.id}"] > 0.8


def test_image_metrics_know_noise(data):
  noise = np.random.default_rng(0).integers(0, 17, (180, 8, 8, 1)).astype(np.uint8)
  run, net = fake_run(data, noise), features.load("digits")
  assert metrics.fd(run)[f"fd/{net.id}"] > 10 * metrics.fd(run)[f"fd/{net.id}/real"]
  m = metrics.legible(run)
  assert m[f"legible/{net.id}"] < 0.2 and m[f"legible/{net.id}/real"] > 0.9


def test_balance_and_agreement_count_classes(data):
  split, net = data.splits["valid"], features.load("digits")
  _, p = net(split["x"], 17)
  threes = split["x"][p.argmax(1) == 3]
  n = len(threes)
  asked = np.where(np.arange(n) < n // 2, 3, 4)
  run = fake_run(data, threes, n, label=asked)
  m = metrics.balance(run)
  share = np.mean(data.splits["train"]["label"] == 3)
  assert m[f"balance/{net.id}"] == pytest.approx(-np.log(share))
  assert m[f"rarest/{net.id}"] == 0
  assert metrics.legible(run)[f"agrees/{net.id}"] == pytest.approx(n // 2 / n)


def test_copies_of_training_images_are_counted(data):
  x = np.concatenate([data.splits["train"]["x"][:90], data.splits["valid"]["x"][:90]])
  m = metrics.nearest(fake_run(data, x))
  assert 0.5 <= m["nearest/copies"] < 0.55
  assert m["nearest/copies/real"] <= 0.02
  a, b = (data.splits[s]["x"].reshape(-1, 64) / 16.0 for s in ("valid", "train"))
  expected = [np.sqrt(((row - b) ** 2).mean(1).min()) for row in a]
  m = metrics.nearest(fake_run(data, data.splits["valid"]["x"]))
  assert m["nearest/median"] == pytest.approx(np.median(expected), rel=1e-4)
