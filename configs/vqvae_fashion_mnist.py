"""VQ-VAE on Fashion-MNIST: each picture 7 x 7 codes out of 256.

python -m genjax.main --config=configs/vqvae_fashion_mnist.py
python -m genjax.main --config=configs/vqvae_fashion_mnist.py:fsq

Variants: residual (four codes a place), fsq (no codebook), two_level (VQ-VAE-2).

Seed 0, 55,000 training pictures, 500 test pictures, 2 cores of an Intel Xeon:

    variant     bits a picture   mean square error   perplexity of the codes   training
                           392      .0049 ± .0002    207 of 256                5 min  6 s
    fsq                    535      .0043 ± .0002    838 of 1,920              5 min  8 s
    residual             1,176      .0036 ± .0001    24 of 64, in the first    5 min 18 s
    two_level              520      .0047 ± .0002    146 and 194 of 256        8 min 50 s
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="fashion_mnist", range=(0.0, 1.0))
  config.model = dict(
    name="vqvae",
    codec=dict(name="spatial", widths=(32, 64), blocks=2, code=32),
    quantizer=dict(name="vq", codes=256, width=32),
  )
  config.optim = dict(vqvae=dict(name="adam", lr=1e-3))
  config.steps = 4000
  config.batch = 64
  config.log_every = 200
  config.sample_every = 2000
  config.save_every = 2000
  config.metrics = ("reconstruction",)
  return base.variant(config, arg, **VARIANTS)


def residual(config):
  """Four books of 64 codes."""
  config.model.quantizer = dict(name="residual", codes=64, width=32, depth=4)
  return config


def fsq(config):
  """Four channels of 8, 8, 6 and 5 levels: 1,920 codes."""
  config.model.codec.code = 4
  config.model.quantizer = dict(name="fsq", levels=(8, 8, 6, 5))
  return config


def two_level(config):
  """VQ-VAE-2: 4 x 4 codes, and 7 x 7 below them."""
  config.model.name, config.model.codec.name = "vqvae2", "pyramid"
  return config


VARIANTS = dict(residual=residual, fsq=fsq, two_level=two_level)
