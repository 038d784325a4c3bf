"""From eight Gaussians to two moons by mean and covariance.

python -m genjax.main --config=configs/gaussian_transport_moons.py

The points of the two sets are not paired. The map is the optimal transport between two Gaussians
that have the mean and covariance of each set.

Results with seed 0:

    Wasserstein-2 distance   0.53 to the moons, at 1,000 points (real points: 0.20; diffusion: 0.22)
    training time            2 s on 2 cores of an AMD EPYC
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  moons, gaussians = dict(name="toy", kind="moons"), dict(name="toy", kind="8gaussians")
  config.data = dict(name="domains", first=moons, second=gaussians)
  config.model = dict(name="gaussian_transport")
  config.steps = 100
  config.batch = 500
  config.log_every = 10
  config.sample_every = 50
  config.save_every = 50
  config.sample_batch = 500
  config.samples = 500
  config.num = 1000
  config.metrics = ("w2",)
  return base.variant(config, arg)
