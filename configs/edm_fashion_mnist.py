"""EDM on Fashion-MNIST.

python -m genjax.main --config=configs/edm_fashion_mnist.py
"""

from configs import ddpm_mnist


def get_config(arg=""):
  config = ddpm_mnist.get_config(arg)
  if arg != "smoke":
    config.data = dict(name="fashion_mnist", source="auto")
  config.model.process = dict(name="edm", sigma_data=0.8)
  config.model.prediction = "F"
  config.model.times = dict(name="log_normal", mean=-1.0, std=1.4)
  config.model.uncertainty = 128
  config.model.sampler = dict(name="heun", steps=18, grid=dict(name="karras"))
  config.optim.uncertainty = dict(name="adam", lr=1e-2)
  return config
