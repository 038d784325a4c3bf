"""VDM on Fashion-MNIST: likelihood, with a learned noise schedule.

python -m genjax.main --config=configs/vdm_fashion_mnist.py
"""

from configs import vdm_mnist


def get_config(arg=""):
  config = vdm_mnist.get_config(arg)
  if arg != "smoke":
    config.data.name = "fashion_mnist"
  return config
