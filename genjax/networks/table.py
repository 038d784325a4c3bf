"""The names of networks, codecs and ladders in a configuration."""

from genjax.networks import autoencoders, cnn, ladder, mlp, pyramid, transformer, unet

NETWORKS = {
  "mlp": mlp.MLP,
  "cnn": cnn.CNN,
  "deconv": cnn.Deconv,
  "down": autoencoders.Down,
  "up": autoencoders.Up,
  "unet": unet.UNet,
  "transformer": transformer.Transformer,
}
# The table of a core.Slot -> {name: class}.
TABLES = {
  "network": NETWORKS,
  "codec": {**autoencoders.CODECS, "pyramid": pyramid.Pyramid},
  "ladder": ladder.LADDERS,
}
