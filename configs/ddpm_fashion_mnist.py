"""DDPM on Fashion-MNIST: clothes from noise.

python -m genjax.main --config=configs/ddpm_fashion_mnist.py
"""

from configs import ddpm_mnist


def get_config(arg=""):
  config = ddpm_mnist.get_config(arg)
  if arg != "smoke":
    config.data = dict(name="fashion_mnist", source="auto")
  return config
