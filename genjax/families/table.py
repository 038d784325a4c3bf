"""All models by name, and the tables of the choices that only models have.

A configuration says `model = dict(name="vae", aim=dict(name="elbo"))`: "vae" is looked up in
MODELS, and "elbo" in the table "aim", because the field `aim` of a VAE is a core.Slot("aim").
"""

from genjax.families.autoencoder import autoencoder, codes
from genjax.families.autoregressive import autoregressive
from genjax.families.classical import mixture, transport
from genjax.families.diffusion import classifier, dequantized, diffusion, vdm
from genjax.families.energy import rbm
from genjax.families.gan import wgan_gp
from genjax.families.latent import latent
from genjax.families.quantized import quantizers, vqvae, vqvae2
from genjax.families.vae import aims, hvae, vae

MODELS = {
  "diffusion": diffusion.Diffusion,
  "vdm": vdm.VDM,
  "dequantized": dequantized.Dequantized,
  "wgan_gp": wgan_gp.WGANGP,
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
# The key is the name of a core.Slot.
TABLES = {
  "model": MODELS,
  "aim": aims.AIMS,
  "penalty": autoencoder.PENALTIES,
  "code": codes.CODES,
  "quantizer": quantizers.QUANTIZERS,
}
