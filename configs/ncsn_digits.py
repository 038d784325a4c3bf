"""NCSN on 8 x 8 digits: a ladder of noise levels, annealed Langevin.

python -m genjax.main --config=configs/ncsn_digits.py
"""

from configs import vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config(arg)
  config.model.process = dict(name="ncsn", steps=50, sigma_min=0.02, sigma_max=10.0, sigma_data=0.8)
  config.model.prediction = "score"
  config.model.weighting = dict(name="snr")  # sigma^2 |score error|^2, as published
  config.model.sampler = dict(name="annealed_langevin", steps=50, corrections=10)
  return config
