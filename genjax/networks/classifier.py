"""A small convolutional classifier; samples are compared in the space of its last hidden layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class SmallCNN(nn.Module):
  """3x3 convolutions (the first keeps the size, each further one halves it), then two dense layers.

  There is no normalisation and no dropout: the features of an image depend on this image and on the
  parameters alone, and training and use are the same computation.

  classes: number of logits.
  widths: channels of the convolutions.
  features: size of the last hidden layer. It is returned before its nonlinearity, where the
    distribution of a class is nearer to the Gaussian that the Fréchet distance assumes.
  """

  classes: int
  widths: tuple[int, ...] = (32, 64, 64, 64)
  features: int = 64

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images [B, H, W, C] in [0, 1] -> (features [B, features], logits [B, classes])."""
    x = 2 * x - 1  # in [-1, 1]
    for i, width in enumerate(self.widths):
      stride = 2 if i else 1
      conv = nn.Conv(width, (3, 3), (stride, stride), name=f"conv_{i}")
      x = nn.gelu(conv(x))

    x = x.reshape(x.shape[0], -1)  # [B, H' W' widths[-1]]
    features = nn.Dense(self.features, name="features")(x)
    logits = nn.Dense(self.classes, name="logits")(nn.gelu(features))
    return features, logits.astype(jnp.float32)
