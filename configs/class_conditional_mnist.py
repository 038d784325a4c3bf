"""Class-conditional diffusion on MNIST: the digit that was asked for.

python -m genjax.main --config=configs/class_conditional_mnist.py
"""

from configs import ddpm_mnist


def get_config(arg=""):
  config = ddpm_mnist.get_config(arg)
  config.model.weighting = dict(name="sigmoid")
  config.model.guidance = dict(name="classifier_free", scale=2.0, start=0.1, stop=0.9)
  return config
