"""Gaussian mixture on two moons, by expectation maximisation.

python -m genjax.main --config=configs/gmm_moons.py

Results with seed 0:

    nats            2.426 on the test set: 0.032 ± 0.024 above the entropy of the distribution
    training time   2 s on 2 cores of an AMD EPYC
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="moons")
  config.model = dict(name="gaussian_mixture", components=16)
  config.steps = 100
  config.batch = 10_000
  config.log_every = 10
  config.sample_every = 50
  config.save_every = 50
  config.sample_batch = 512
  config.samples = 512
  config.num = 1000
  config.metrics = ("likelihood", "w2")
  return base.variant(config, arg)
