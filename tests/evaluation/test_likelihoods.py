"""Metrics of likelihoods, on models whose density is known, and metrics of points in the plane."""

import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import core
from genjax.data.sources import bars, digits, toys
from genjax.evaluation import likelihoods, metrics

GAUSSIAN = 0.5 * math.log(2 * math.pi * math.e)  # entropy of N(0, 1)


def fake_run(data, samples=None, num=250, **likelihood):
  def batch(split, n):
    x = data.splits[split]["x"][:n]
    return {"x": np.float32(x), "index": np.arange(len(x))}

  return types.SimpleNamespace(
    num=num,
    split="test",
    spec=data.spec,
    data=data,
    samples=lambda n: {"x": samples[:n]},
    batch=batch,
    key=lambda name: jax.random.key(len(name)),
    model=types.SimpleNamespace(likelihoods=likelihood),
    params={"scale": 1.0},
    buffers={},
    progress=lambda done, total, what: None,
  )


def normal_data(shape=(3,), levels=None):
  rng = np.random.default_rng(0)
  splits = {s: {"x": rng.standard_normal((1000, *shape))} for s in ("train", "valid", "test")}
  spec = core.DataSpec(shape=shape, levels=levels)
  return types.SimpleNamespace(name="normal", spec=spec, splits=splits, entropy=None)


def gaussian(params, buffers, batch, key):
  x = batch["x"].reshape(len(batch["x"]), -1)
  return jax.scipy.stats.norm.logpdf(x, scale=params["scale"]).sum(1)


def test_nats_of_a_gaussian_are_its_entropy():
  run = fake_run(normal_data(), num=1000, flow=core.Likelihood(core.EXACT, gaussian))
  m = likelihoods.likelihood(run)
  name = "nats/flow/exact/continuous"
  assert abs(m[name] - 3 * GAUSSIAN) < 4 * m[f"{name}/se"]
  assert m[f"{name}/se"] == pytest.approx((3 / 2 / 1000) ** 0.5, rel=0.2)  # Var(x^2 / 2) = 1/2
  assert m[f"{name}/n"] == 1000
  assert set(m) == {name, f"{name}/se", f"{name}/n"}


def test_mean_is_over_each_example_once_whatever_the_chunks():
  seen = lambda params, buffers, batch, key: batch["index"].astype(jnp.float32)
  run = fake_run(normal_data(), num=250, x=core.Likelihood(core.EXACT, seen))
  m = likelihoods.likelihood(run)
  assert m["nats/x/exact/continuous"] == -np.arange(250).mean()


def test_bits_per_dimension_and_measure():
  run = fake_run(normal_data((2, 2, 1), 2), elbo=core.Likelihood(core.LOWER_BOUND, gaussian))
  m = likelihoods.likelihood(run)
  nats, bits = (m[f"{unit}/elbo/lower-bound/binary"] for unit in ("nats", "bits"))
  assert bits == pytest.approx(nats / 4 / math.log(2))
  measures = [likelihoods.measure(core.DataSpec(shape=(1,), levels=k)) for k in (17, 256)]
  assert measures == ["17-level", "8-bit"]


def test_standard_error_sees_noise_that_the_examples_share():
  rng = np.random.default_rng(0)
  shared = np.broadcast_to(rng.standard_normal((4000, 3, 1)), (4000, 3, 20))
  own = rng.standard_normal((4000, 3, 20)) + 5 * rng.standard_normal((4000, 1, 20))
  for draws in (shared, own, shared + own):
    means, errors = np.transpose([likelihoods.estimate(d) for d in draws])
    assert (errors**2).mean() == pytest.approx(means.var(), rel=0.15)


def test_regret_is_above_the_entropy():
  data = toys.Toy(kind="ring8").load()
  centers = jnp.asarray(toys.circle(np.arange(8) * np.pi / 4))

  def mixture(params, buffers, batch, key):
    d = ((batch["x"][:, None] - centers) ** 2).sum(-1)
    normal = -d / 2 / 0.01**2 - math.log(2 * math.pi * 0.01**2)
    return jax.nn.logsumexp(normal, 1) - math.log(8)

  run = fake_run(data, num=2000, truth=core.Likelihood(core.EXACT, mixture))
  m = likelihoods.likelihood(run)
  name = "truth/exact/continuous"
  assert abs(m[f"regret/{name}"]) < 4 * m[f"regret/{name}/se"]
  assert m[f"nats/{name}/real"] == toys.Toy(kind="ring8").entropy


def test_data_say_their_entropy_where_they_know_it():
  assert bars.Bars(kind="bars", size=3).load().entropy == pytest.approx(3 * math.log(2))
  assert toys.Toy(kind="spirals").load().entropy is None
  assert digits.Digits().load().entropy is None


def test_no_likelihood_is_said_in_one_line():
  with pytest.raises(core.UserError, match="this model has none"):
    likelihoods.likelihood(fake_run(normal_data()))


def test_modes_of_a_perfect_a_collapsed_and_a_blind_model():
  data = toys.Toy(kind="grid25").load()
  train = data.splits["train"]
  perfect = metrics.METRICS["modes"](fake_run(data, train["x"], 2000))
  # Three standard deviations hold 1 - exp(-9/2) of a round Gaussian in the plane.
  assert perfect["modes/good"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)
  assert perfect["modes/good/real"] == pytest.approx(1 - math.exp(-4.5), abs=0.01)
  assert perfect["modes/covered"] == perfect["modes/covered/real"] == 25
  five = train["x"][train["label"] < 5]
  collapsed = metrics.METRICS["modes"](fake_run(data, five, 1000))
  assert collapsed["modes/covered"] == 5
  assert collapsed["modes/divergence"] == pytest.approx(math.log(5), abs=0.05)
  blind = metrics.METRICS["modes"](fake_run(data, train["x"] + 1, 1000))
  assert blind["modes/covered"] == blind["modes/good"] == 0
  assert "modes/divergence" not in blind
  with np.errstate(invalid="ignore"):
    diverged = metrics.METRICS["modes"](fake_run(data, train["x"] * np.float32(np.nan), 1000))
  assert diverged["modes/covered"] == diverged["modes/good"] == 0


def test_w2_of_shifted_points_beside_its_floor():
  data = toys.Toy(kind="moons", n=2000).load()
  m = metrics.METRICS["w2"](fake_run(data, data.splits["test"]["x"] + np.float32([3, 4]), 200))
  assert m["w2/exact/n"] == m["w2/sliced/n"] == 200
  assert abs(m["w2/exact"] - 5) < m["w2/exact/real"] < 1  # samples are other rows than the test's
  copy = metrics.METRICS["w2"](fake_run(data, data.splits["train"]["x"], 200))
  assert copy["w2/exact"] == pytest.approx(copy["w2/exact/real"], rel=0.6)


def test_metrics_refuse_data_that_they_do_not_fit():
  points, pictures = toys.Toy().load(), bars.Bars().load()
  for name, data in (("modes", points), ("fd", points), ("w2", pictures), ("legible", pictures)):
    with pytest.raises(core.UserError):
      metrics.METRICS[name](fake_run(data, data.splits["train"]["x"]))
  with pytest.raises(core.UserError, match="at least 8"):
    metrics.METRICS["w2"](fake_run(points, points.splits["train"]["x"], num=3))
