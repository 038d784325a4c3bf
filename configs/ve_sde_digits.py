"""Variance-exploding SDE on 8 x 8 digits.

python -m genjax.main --config=configs/ve_sde_digits.py
"""

from configs import vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config(arg)
  config.model.process = dict(name="ve", sigma_min=0.01, sigma_max=20.0, sigma_data=0.8)
  return config
