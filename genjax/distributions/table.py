"""The names of latent variables, heads and noise sources, as configurations spell them."""

from genjax.distributions import heads, latents, sources

TABLES = {"latent": latents.LATENTS, "head": heads.HEADS, "source": sources.SOURCES}
