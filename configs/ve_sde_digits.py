"""Variance-exploding SDE on 8 x 8 digits.

python -m genjax.main --config=configs/ve_sde_digits.py

Results with seed 0, trained on 1,257 digits:

    bits per dimension   at most 2.428 ± 0.012 along the probability flow
                         (independent pixels: 2.432)
    Fréchet distance     0.97 (real digits: 0.95), in the features of net digits-7eebc8e7
    legible              82 % show a class with p > 0.9 (real digits: 97 %)
    training time        13 min 6 s on 2 cores of an Intel Xeon, shared with other work
"""

from configs import base, vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config()
  config.model.process = dict(name="ve", sigma_min=0.01, sigma_max=20.0, sigma_data=0.8)
  return base.variant(config, arg)
