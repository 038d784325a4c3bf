"""Latent diffusion on Fashion-MNIST, in the codes of a KL autoencoder.

python -m genjax.main --config=configs/kl_autoencoder_fashion_mnist.py
python -m genjax.main --config=configs/latent_diffusion_fashion_mnist.py

The first command trains the autoencoder, whose 7 x 7 x 3 codes are what is diffused.
"""

from configs import ddpm_mnist, kl_autoencoder_fashion_mnist


def get_config(arg=""):
  first = kl_autoencoder_fashion_mnist.get_config(arg)
  config = ddpm_mnist.get_config(arg)
  config.data = first.data
  config.model.network.patch = 1  # codes are few enough
  if arg != "smoke":
    config.model.network.channels = (48, 96)
  config.model = dict(name="latent", stage=first.model, prior=config.model)
  run = "runs/kl_autoencoder_fashion_mnist" + f"-{arg}" * bool(arg)
  config.load = dict(encoder=f"{run}:encoder", decoder=f"{run}:decoder")
  return config
