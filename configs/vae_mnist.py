"""Variational autoencoder on binarized MNIST.

python -m genjax.main --config=configs/vae_mnist.py
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
  config.update(dict(steps=5000, batch=128, log_every=250, sample_every=2500, save_every=2500))
  config.metrics = ("likelihood", "reconstruction")
  return base.variant(config, arg, smoke=smoke)


def smoke(config):
  """20 steps on random bits."""
  config = base.smoke(config)
  config.data = dict(name="fake", shape=(6, 6, 1), binarize="threshold")
  config.model.encoder.widths = (16,)
  config.model.decoder.widths = (16,)
  config.model.latent.width = 4
  config.model.importance = 5
  return config
