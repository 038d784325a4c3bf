"""The models by name, and the choices that only they have."""

from genjax.families import (
  autoencoder,
  autoregressive,
  classifier,
  dequantized,
  diffusion,
  gan,
  hvae,
  latent,
  mixture,
  rbm,
  transport,
  vae,
  vae_aims,
  vdm,
  vqvae,
  vqvae2,
)

MODELS = {
  "diffusion": diffusion.Diffusion,
  "vdm": vdm.VDM,
  "dequantized": dequantized.Dequantized,
  "wgan_gp": gan.WGANGP,
  "gaussian_mixture": mixture.GaussianMixture,
  "gaussian_transport": transport.GaussianTransport,
  "rbm": rbm.RBM,
  "classifier": classifier.Classifier,
  "autoencoder": autoencoder.Autoencoder,
  "vae": vae.VAE,
  "hvae": hvae.HVAE,
  "latent": latent.Latent,
  "vqvae": vqvae.VQVAE,
  "vqvae2": vqvae2.VQVAE2,
  "autoregressive": autoregressive.Autoregressive,
}
TABLES = {"model": MODELS, "aim": vae_aims.AIMS, "penalty": autoencoder.PENALTIES}
