"""The classical autoencoders on Fashion-MNIST.

python -m genjax.main --config=configs/autoencoder_fashion_mnist.py
python -m genjax.main --config=configs/autoencoder_fashion_mnist.py:tied

Validation loss as the mean of seeds 0, 1 and 2 (in Géron 2022, chapter 17): stacked .0133 (.0132),
tied .0133 (.0133), greedy .0135 (.0133), convolutional .0114 (.0121), recurrent .0106 (.0104),
denoising .0169 (.0166), sparse_l1 .0110 (.0111), sparse_kl .0095 (.0099), binary .0239 (.0345),
contractive .0136, topk .0115; 1.5 to 32 s an epoch on 2 cores of an Intel Xeon. All in
experiments/autoencoder_zoo; restoring in experiments/denoising.

Variants: stacked (the default), tied, greedy, convolutional, recurrent, denoising, restoring,
sparse_l1, sparse_kl, contractive, topk, binary.
"""

from configs import base

EPOCH = 55_000 // 32  # steps


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="fashion_mnist", range=(0.0, 1.0))
  config.model = dict(name="autoencoder", codec=dict(name="dense", widths=(100, 30)))
  config.model.code = dict(name="plain", activation="relu")
  config.optim = dict(autoencoder=dict(name="nadam", lr=1e-3))
  config.steps = 10 * EPOCH
  config.batch = 32
  config.log_every = EPOCH // 2
  config.num = 5000
  config.sample_every = 5 * EPOCH
  config.save_every = 5 * EPOCH
  config.metrics = ("reconstruction",)
  return base.variant(config, arg, **VARIANTS)


def stacked(config):
  """784-100-30 and back, 20 epochs."""
  config.steps = 20 * EPOCH
  return config


def tied(config):
  """The same with transposed kernels, 10 epochs."""
  config.model.codec.tied = True
  return config


def greedy(config):
  """Each layer 10 epochs alone, then 5 together."""
  config.model.greedy = 10 * EPOCH
  rule = config.optim.autoencoder
  config.optim = dict(layer_0=rule, layer_1=rule)
  config.steps = 25 * EPOCH
  return config


def convolutional(config):
  """16, 32 and 64 channels to the mean of 30."""
  config.model.codec = dict(name="convolutional", widths=(16, 32, 64), code=30)
  config.model.code = dict(name="plain")
  return config


def recurrent(config):
  """An LSTM of 100 units over the rows, one of 30 after it."""
  config.model.codec = dict(name="recurrent", width=100, code=30)
  config.model.code = dict(name="plain")
  return config


def denoising(config):
  """Half of the pixels are missing."""
  config.model.corruption = dict(name="mask", rate=0.5, scale=True)
  return config


def restoring(config):
  """Gaussian noise is taken off pictures, with room enough to copy them: no code is narrow."""
  config.model.codec = dict(name="spatial", widths=(32, 32), blocks=2, code=32)
  config.model.code = dict(name="plain")
  config.model.corruption = dict(name="gaussian", std=0.3)
  config.optim.autoencoder = dict(name="adam", lr=2e-3, schedule=dict(name="warmup_cosine"))
  config.batch = 64
  config.steps = 2000
  config.log_every = 200
  config.sample_every = 1000
  config.save_every = 1000
  return config


def sparse_l1(config):
  """300 entries that pay for being on."""
  config.model.codec.widths = (100, 300)
  config.model.code.activation = "sigmoid"
  config.model.penalty = dict(name="l1", weight=1e-4)
  return config


def sparse_kl(config):
  """300 entries that pay for being on more or less than a tenth of the time."""
  config = sparse_l1(config)
  config.model.penalty = dict(name="kl", rate=0.1, weight=5e-3 / 32)
  return config


def contractive(config):
  """The code must not move with the picture."""
  config.model.code.activation = "sigmoid"
  config.model.penalty = dict(name="contractive", weight=1e-4)
  return config


def topk(config):
  """300 entries of which 30 are not zero."""
  config.model.codec.widths = (100, 300)
  config.model.code = dict(name="topk", k=30)
  return config


def binary(config):
  """16 bits."""
  config.model.codec.widths = (100, 16)
  config.model.code = dict(name="binary")
  return config


VARIANTS = {f.__name__: f for f in (
  stacked, tied, greedy, convolutional, recurrent, denoising, restoring, sparse_l1,
  sparse_kl, contractive, topk, binary,
)}  # fmt: skip
