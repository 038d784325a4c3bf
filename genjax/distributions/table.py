"""The distributions by name: of latents, of data given latents, and of noise."""

from genjax.distributions import heads, latents, sources

TABLES = {"latent": latents.LATENTS, "head": heads.HEADS, "source": sources.SOURCES}
