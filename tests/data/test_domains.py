"""Two unpaired data sets in one stream of batches."""

import numpy as np
import pytest

from genjax import config, core
from genjax.data import pipeline
from genjax.data.sources import domains, fake, toys
from genjax.runs import build

FIRST, SECOND = fake.Fake(shape=(3, 3, 1), n=12), fake.Fake(shape=(2, 2, 1), n=20, range=(0.0, 1.0))


def loaded():
  source = domains.Domains(first=FIRST, second=SECOND)
  return source.load(), source


def test_each_domain_has_its_own_epochs():
  data, source = loaded()
  batches = pipeline.Pipeline(data, source, batch=4)
  seen = [batches.at(k) for k in range(15)]
  for name, n in (("x", 12), ("y", 20)):
    rows = np.concatenate([batch[name].reshape(4, -1) for batch in seen])
    for epoch in range(60 // n):
      own = np.unique(rows[epoch * n : (epoch + 1) * n], axis=0)
      assert len(own) == n, (name, epoch)
  pairs = {
    tuple(np.concatenate([x.ravel(), y.ravel()])) for b in seen for x, y in zip(b["x"], b["y"])
  }
  assert len(pairs) > 40  # the same x meets another y in each epoch, but for chance


def test_y_is_scaled_as_its_own_spec_says():
  data, source = loaded()
  y, field = pipeline.Pipeline(data, source, batch=20).at(0)["y"], data.spec.fields["y"]
  assert field.range == (0.0, 1.0) and not field.paired and field.shape == (2, 2, 1)
  assert 0 <= y.min() < 0.2 and 0.8 < y.max() <= 1 and y.dtype == np.float32


def test_rows_are_those_of_the_whole_and_order_is_that_of_the_columns():
  data, source = loaded()
  batches = pipeline.Pipeline(data, source, batch=8)
  np.testing.assert_array_equal(batches.at(4, slice(3, 5))["y"], batches.at(4)["y"][3:5])
  held = next(batches.sequential("valid", 6))["y"]
  expected = data.splits["valid"]["y"][:6] / np.float32(255)
  np.testing.assert_allclose(held, expected, atol=1e-6)


def test_domains_come_from_a_configuration():
  values, _ = config.from_file("configs/gaussian_transport_moons.py:smoke")
  assert values["data"]["second"]["kind"] == "8gaussians" and values["data"]["second"]["n"] == 500
  values, _ = config.from_file("configs/gaussian_transport_moons.py", ["data.second.kind=circles"])
  data = build.assemble(values).data
  circles = toys.Toy(kind="circles").load()
  np.testing.assert_array_equal(data.splits["train"]["y"], circles.splits["train"]["x"])
  assert data.entropy == pytest.approx(2.3939)  # that of x, the moons


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    (dict(first=FIRST, second=domains.Domains(first=FIRST, second=SECOND)), "one data set"),
    (dict(first=domains.Domains(first=FIRST, second=SECOND), second=FIRST), "one data set"),
    (dict(first=FIRST, second=fake.Fake(flip=True)), "for the first domain alone"),
    (dict(first=FIRST, second=fake.Fake(binarize="dynamic")), "for the first domain alone"),
  ],
)
def test_what_cannot_be_a_domain_is_refused(kwargs, message):
  with pytest.raises(core.UserError, match=message):
    domains.Domains(**kwargs)


def test_what_training_adds_is_the_first_domains():
  source = domains.Domains(first=fake.Fake(shape=(3, 3, 1), n=12, noise=0.5), second=SECOND)
  plain, _ = loaded()
  noisy = pipeline.Pipeline(source.load(), source, batch=4).at(0)
  still = pipeline.Pipeline(plain, domains.Domains(first=FIRST, second=SECOND), batch=4).at(0)
  assert (noisy["x"] != still["x"]).all()
  np.testing.assert_array_equal(noisy["y"], still["y"])
