"""Sub-variance-preserving SDE on 8 x 8 digits.

python -m genjax.main --config=configs/subvp_sde_digits.py
"""

from configs import vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config(arg)
  config.model.process = dict(name="sub_vp", beta_min=0.1, beta_max=20.0)
  return config
