"""DDPM on Fashion-MNIST: clothes from noise.

python -m genjax.main --config=configs/ddpm_fashion_mnist.py

Results with seed 0, trained on 55,000 pictures:

    Fréchet distance     1.66 (real pictures: 1.06), in the features of net fashion_mnist-82bed4ad
    class as asked for   87 %, says a classifier (real pictures: 91 %)
    training time        10 min (6.5 steps/s) on 2 cores of an Intel Xeon, shared with other work

Variants: full (the paper's size, for accelerators).
"""

from configs import base, ddpm_mnist


def get_config(arg=""):
  return base.variant(clothes(ddpm_mnist.get_config()), arg, **VARIANTS)


def clothes(config):
  """Replaces the digits by Fashion-MNIST."""
  config.data = dict(name="fashion_mnist", source="auto")
  return config


def full(config):
  """The paper's size, for accelerators."""
  return clothes(ddpm_mnist.get_config("full"))


VARIANTS = dict(full=full)
