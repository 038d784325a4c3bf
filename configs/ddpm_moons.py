"""DDPM on two moons, with an MLP.

python -m genjax.main --config=configs/ddpm_moons.py
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="moons")
  config.model = dict(
    name="diffusion",
    network=dict(name="mlp", widths=(128, 128, 128)),
    process=dict(name="ddpm", noise=dict(name="cosine"), steps=100),
    sampler=dict(name="ddim", steps=50),
    prediction="v",
  )
  config.optim = dict(denoiser=dict(name="adam", lr=1e-3, schedule=dict(name="warmup_cosine")))
  config.ema = dict(ema=dict(decay=0.995))
  config.eval_ema = "ema"
  config.update(dict(steps=4000, batch=256, sample_batch=512, samples=512, num=1000))
  config.metrics = ("w2",)
  return base.variant(config, arg)
