"""Variational dequantization of 8 x 8 digits: a tighter likelihood.

python -m genjax.main --config=configs/dequantized_digits.py
"""

from configs import vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config(arg)
  config.model.name = "dequantized"
  config.model.dequantizer = dict(
    name="unet",
    channels=(16, 32),
    layers=1,
    attention=(False, False),
    groups=4,
    fourier=(2, 3),  # 17 levels
    out=2,
  )
  schedule = dict(name="warmup_cosine", warmup=50)
  config.optim.dequantizer = dict(name="adam", lr=2e-3, schedule=schedule, clip=1.0)
  config.metrics = ("likelihood",)
  return config
