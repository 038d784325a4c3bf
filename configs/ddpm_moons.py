"""DDPM on two moons, with an MLP.

python -m genjax.main --config=configs/ddpm_moons.py

Results with seed 0:

    Wasserstein-2 distance   0.22 at 1,000 points (real points: 0.20)
    training time            49 s on 2 cores of an AMD EPYC
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="moons")
  config.model = dict(
    name="diffusion",
    network=dict(name="mlp", widths=(256, 256, 256)),
    process=dict(name="ddpm", noise=dict(name="cosine"), steps=100),
    sampler=dict(name="ddim", steps=50),
    prediction="v",
  )
  config.optim = dict(denoiser=dict(name="adam", lr=2e-3, schedule=dict(name="warmup_cosine")))
  config.ema = dict(ema=dict(decay=0.995))
  config.eval_ema = "ema"
  config.steps = 10_000
  config.batch = 256
  config.sample_batch = 512
  config.samples = 512
  config.num = 1000
  config.log_every = 500
  config.sample_every = 2000
  config.save_every = 2000
  config.metrics = ("w2",)
  return base.variant(config, arg)
