"""Super-resolution of 8 x 8 digits from 4 x 4: diffusion that sees the coarse picture beside xt.

python -m genjax.main --config=configs/super_resolution_digits.py
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="digits")
  config.task = dict(name="super_resolution", factor=2)
  config.model = dict(
    name="diffusion",
    network=dict(
      name="unet",
      channels=(32, 64),
      layers=1,
      attention=(False, True),
      head_dim=16,
      dropout=0.1,
      conditions=("image",),
    ),
    process=dict(name="ddpm", noise=dict(name="cosine"), steps=1000),
    sampler=dict(name="unipc", steps=10),
    prediction="v",
    stratified=True,
  )
  schedule = dict(name="warmup_cosine", warmup=100)
  config.optim = dict(denoiser=dict(name="adam", lr=2e-3, schedule=schedule, clip=1.0))
  config.ema = dict(ema=dict(decay=0.999))
  config.eval_ema = "ema"
  config.update(dict(steps=3000, batch=64, log_every=200, sample_every=1500, save_every=1000))
  config.update(dict(sample_batch=90, num=360, samples=32))
  config.metrics = ("psnr", "fd", "legible")
  return base.variant(config, arg, smoke=smoke)


def smoke(config):
  """20 steps of a tiny network on random pictures."""
  config = base.smoke(config)
  config.data = dict(name="fake", shape=(4, 4, 1))
  config.model.network.update(dict(channels=(4, 8), groups=2, head_dim=4))
  config.model.sampler.steps = 5
  config.metrics = ("psnr",)
  return config
