"""WGAN-GP on a ring of eight Gaussians.

python -m genjax.main --config=configs/wgan_gp_ring.py
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="ring8")
  config.model = dict(
    name="wgan_gp",
    generator=dict(name="mlp", widths=(128, 128), activation="relu", batch_norm=True, out=2),
    critic=dict(name="mlp", widths=(128, 128), activation="relu", out=1),
    latent=8,
    penalty=0.1,
    critic_steps=5,
  )
  rule = dict(name="adam", lr=1e-3, b1=0.5, b2=0.9, schedule=dict(name="warmup_linear"))
  config.optim = dict(generator=rule, critic=rule)
  config.ema = dict(ema=dict(groups=("generator",), decay=0.99))
  config.eval_ema = "ema"
  config.update(dict(steps=5000, batch=256, sample_batch=512, samples=512, num=1000))
  config.metrics = ("modes", "w2")
  return base.variant(config, arg)
