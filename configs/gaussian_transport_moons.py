"""From eight Gaussians to two moons, which nothing pairs, by mean and covariance alone.

python -m genjax.main --config=configs/gaussian_transport_moons.py
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  moons, gaussians = dict(name="toy", kind="moons"), dict(name="toy", kind="8gaussians")
  config.data = dict(name="domains", first=moons, second=gaussians)
  config.model = dict(name="gaussian_transport")
  config.update(dict(steps=100, batch=500, log_every=10, sample_every=50, save_every=50))
  config.update(dict(sample_batch=500, samples=500, num=1000))
  config.metrics = ("w2",)
  return base.variant(config, arg)
