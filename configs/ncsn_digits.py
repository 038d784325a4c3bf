"""NCSN on 8 x 8 digits: many noise levels, annealed Langevin dynamics.

python -m genjax.main --config=configs/ncsn_digits.py

Results with seed 0, trained on 1,257 digits:

    legible              93 % show a class with p > 0.9 (real digits: 97 %)
    Fréchet distance     1.44 (real digits: 0.95), in the features of net digits-7eebc8e7
    bits per dimension   at most 1.941 ± 0.014 along the probability flow,
                         at most 2.325 ± 0.016 by the bound of its 50 levels
                         (independent pixels: 2.432)
    training time        10 min on 2 cores of an Intel Xeon, shared with other work
"""

from configs import base, vp_sde_digits


def get_config(arg=""):
  config = vp_sde_digits.get_config()
  config.model.process = dict(name="ncsn", steps=50, sigma_min=0.02, sigma_max=10.0, sigma_data=0.8)
  config.model.prediction = "score"
  config.model.weighting = dict(name="snr")  # sigma^2 |error of the score|^2, as published
  config.model.sampler = dict(name="annealed_langevin", steps=50, corrections=10)
  return base.variant(config, arg)
