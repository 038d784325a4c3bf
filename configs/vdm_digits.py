"""VDM on 8 x 8 digits: likelihood, with a learned noise schedule.

python -m genjax.main --config=configs/vdm_digits.py
"""

from configs import vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config(arg)
  config.model.name = "vdm"
  config.model.network.fourier = (2, 3)  # 17 levels
  config.model.process = dict(name="learned", gamma_min=-12.0, gamma_max=6.0)
  config.model.prediction = "v"
  config.model.sampler = dict(name="ancestral", steps=config.model.sampler.steps)
  schedule = dict(name="constant")
  config.optim.denoiser.lr = 1e-3
  config.optim.ends = dict(name="adam", lr=1e-2, schedule=schedule)
  config.optim.schedule = dict(name="adam", lr=1e-2, schedule=schedule)
  config.ema.ema.groups = ("denoiser",)
  return config
