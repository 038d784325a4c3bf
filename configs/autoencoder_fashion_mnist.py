"""The classical autoencoders on Fashion-MNIST.

python -m genjax.main --config=configs/autoencoder_fashion_mnist.py
python -m genjax.main --config=configs/autoencoder_fashion_mnist.py:tied

The variants and their validation loss, the mean of seeds 0, 1 and 2, beside that of Géron 2022,
chapter 17:

    variant         here    Géron
    stacked         .0133   .0132   dense layers; the default
    tied            .0133   .0133   dense layers, the decoder with the transposed kernels
    greedy          .0135   .0133   dense layers, trained one after the other
    convolutional   .0114   .0121   convolutions with max pooling
    recurrent       .0106   .0104   LSTMs over the rows
    denoising       .0169   .0166   half of the input is missing
    restoring                       denoising of whole pictures, see experiments/denoising
    sparse_l1       .0110   .0111   300 numbers, with an L1 penalty
    sparse_kl       .0095   .0099   300 numbers, with a KL penalty
    contractive     .0136           a penalty on the encoder's derivative
    topk            .0115           300 numbers, of which 30 are not zero
    binary          .0239   .0345   16 bits

An epoch takes 1.5 to 32 s on 2 cores of an Intel Xeon. All variants but restoring are compared in
experiments/autoencoder_zoo.
"""

from configs import base

# Steps of one epoch.
EPOCH = 55_000 // 32


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
  """Dense layers 784-100-30-100-784, for 20 epochs."""
  config.steps = 20 * EPOCH
  return config


def tied(config):
  """The decoder's kernels are the transposed kernels of the encoder; 10 epochs."""
  config.model.codec.tied = True
  return config


def greedy(config):
  """Each of the two layers is trained alone for 10 epochs, then both together for 5."""
  config.model.greedy = 10 * EPOCH
  rule = config.optim.autoencoder
  config.optim = dict(layer_0=rule, layer_1=rule)
  config.steps = 25 * EPOCH
  return config


def convolutional(config):
  """Levels of 16, 32 and 64 channels; the code is the mean over the pixels of 30 channels."""
  config.model.codec = dict(name="convolutional", widths=(16, 32, 64), code=30)
  config.model.code = dict(name="plain")
  return config


def recurrent(config):
  """An LSTM of 100 units reads the rows, and one of 30 units its states; the last is the code."""
  config.model.codec = dict(name="recurrent", width=100, code=30)
  config.model.code = dict(name="plain")
  return config


def denoising(config):
  """Half of the pixels of the input are set to 0, the others are doubled."""
  config.model.corruption = dict(name="mask", rate=0.5, scale=True)
  return config


def restoring(config):
  """Takes Gaussian noise off pictures. The code is wide enough to copy them: 7 x 7 x 32."""
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
  """300 numbers in (0, 1), with a penalty on their sum."""
  config.model.codec.widths = (100, 300)
  config.model.code.activation = "sigmoid"
  config.model.penalty = dict(name="l1", weight=1e-4)
  return config


def sparse_kl(config):
  """300 numbers in (0, 1), with a penalty unless the mean of each is 0.1."""
  config = sparse_l1(config)
  config.model.penalty = dict(name="kl", rate=0.1, weight=5e-3 / 32)
  return config


def contractive(config):
  """A penalty on the derivative of the code by the picture."""
  config.model.code.activation = "sigmoid"
  config.model.penalty = dict(name="contractive", weight=1e-4)
  return config


def topk(config):
  """300 numbers, of which the 30 largest are kept and the others are 0."""
  config.model.codec.widths = (100, 300)
  config.model.code = dict(name="topk", k=30)
  return config


def binary(config):
  """A code of 16 bits."""
  config.model.codec.widths = (100, 16)
  config.model.code = dict(name="binary")
  return config


VARIANTS = dict(
  stacked=stacked,
  tied=tied,
  greedy=greedy,
  convolutional=convolutional,
  recurrent=recurrent,
  denoising=denoising,
  restoring=restoring,
  sparse_l1=sparse_l1,
  sparse_kl=sparse_kl,
  contractive=contractive,
  topk=topk,
  binary=binary,
)
