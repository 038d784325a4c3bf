"""Variational autoencoder on binarized MNIST.

python -m genjax.main --config=configs/vae_mnist.py
python -m genjax.main --config=configs/vae_mnist.py:completion

Seed 0, 4,000 training digits binarized anew each epoch, 500 test digits (5,000 of the 70,000 come
with a dependency): ELBO -106.8 ± 1.2 nats, importance bound -99.6 ± 1.1 with 200 samples and -98.5
± 1.1 with 5,000 (--mode=evaluate --config.model.importance=5000), 37 of 40 latents in use; 31 s of
training on 2 cores of an Intel Xeon (181 steps/s). The marks for all 60,000 digits, an ELBO of -104
after ten epochs (flax's example) and about -89.8 by 200 samples on static digits (this network),
are not run here.

Variants: importance and doubly (50 samples for the bound), beta, free_bits, total_correlation,
factor, wasserstein, laplace, categorical, spherical, vamp, conditional (on the label), completion
(of the left half), convolutional.
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="mnist", source="auto", binarize="dynamic")
  config.model = dict(
    name="vae",
    encoder=dict(name="mlp", widths=(400,), activation="relu"),
    decoder=dict(name="mlp", widths=(400,), activation="relu"),
    latent=dict(name="gaussian", width=40),
    head=dict(name="bernoulli"),
    aim=dict(name="elbo"),
    importance=200,
  )
  adam = dict(name="adam", lr=1e-3)
  config.optim = dict(encoder=adam, decoder=adam)
  config.steps = 5000
  config.batch = 128
  config.log_every = 250
  config.sample_every = 2500
  config.save_every = 2500
  config.metrics = ("likelihood", "reconstruction")
  return base.variant(config, arg, **VARIANTS)


def aim(**spec):
  """Another aim."""

  def change(config):
    config.model.aim = dict(spec)
    return config

  return change


def latent(**spec):
  """Another latent."""

  def change(config):
    config.model.latent = dict(spec)
    return config

  return change


def factor(config):
  """A second network tells dependent latents apart."""
  config.optim.discriminator = dict(name="adam", lr=1e-4, b1=0.5)
  return aim(name="factor", weight=10.0)(config)


def vamp(config):
  """The prior is the mean of q at 100 learnt pictures."""
  config.model.pseudo_inputs = 100
  config.optim.prior = config.optim.encoder
  return config


def conditional(config):
  """Both networks are told the digit."""
  for way in (config.model.encoder, config.model.decoder):
    way.conditions = (*way.get("conditions", ()), "label")
  return config


def completion(config):
  """The right half of a digit, given the left one."""
  config.task = dict(name="half", side="left")
  decoder = config.model.decoder
  decoder.conditions = (*decoder.get("conditions", ()), "known:values")  # the same half of all
  config.metrics = ("likelihood",)
  return config


def convolutional(config):
  """Convolutions there and back."""
  config.model.encoder = dict(name="cnn", widths=(32, 64, 64))
  config.model.decoder = dict(name="deconv", widths=(64, 64, 32))
  return config


VARIANTS = dict(
  importance=aim(name="importance", samples=50),
  doubly=aim(name="importance", samples=50, doubly=True),
  beta=aim(name="elbo", beta=4.0, warmup=1000),
  free_bits=aim(name="elbo", free_bits=0.1),
  total_correlation=aim(name="total_correlation", weight=5.0, examples=4000),
  factor=factor,
  wasserstein=aim(name="mmd", weight=500.0),
  laplace=latent(name="laplace", width=40),
  categorical=latent(name="categorical", width=20, classes=10),
  spherical=latent(name="spherical", width=10),
  vamp=vamp,
  conditional=conditional,
  completion=completion,
  convolutional=convolutional,
)
