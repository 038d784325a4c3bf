"""Flow matching on MNIST: straight paths from noise to digits.

python -m genjax.main --config=configs/flow_matching_mnist.py
"""

from configs import ddpm_mnist


def get_config(arg=""):
  config = ddpm_mnist.get_config(arg)
  config.model.process = dict(name="cond_ot")
  config.model.prediction = "velocity"
  config.model.times = dict(name="logit_normal")
  config.model.sampler = dict(name="dpm++2s", steps=10)
  return config
