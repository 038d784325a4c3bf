"""WGAN-GP on a ring of eight Gaussians.

python -m genjax.main --config=configs/wgan_gp_ring.py

Results with seed 0:

    modes                    8 of 8
    good samples             26 %, which lie within three standard deviations of a mode
    Wasserstein-2 distance   0.22 at 1,000 points (real points: 0.23)
    training time            30 s on 2 cores of an AMD EPYC
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="ring8")
  config.model = dict(
    name="wgan_gp",
    generator=dict(name="mlp", widths=(128, 128), activation="relu", batch_norm=True, out=2),
    critic=dict(name="mlp", widths=(128, 128), activation="relu", out=1),
    latent=2,
    penalty=1.0,
    critic_steps=5,
  )
  rule = dict(name="adam", lr=5e-4, b1=0.5, b2=0.9, schedule=dict(name="warmup_linear"))
  config.optim = dict(generator=rule, critic=rule)
  # No moving average: batch statistics fit only the parameters that they were measured with.
  config.steps = 10_000
  config.batch = 256
  config.sample_batch = 512
  config.samples = 512
  config.num = 1000
  config.log_every = 500
  config.sample_every = 2000
  config.save_every = 2000
  config.metrics = ("modes", "w2")
  return base.variant(config, arg)
