"""A small convolutional classifier, whose last hidden layer is a space to compare samples in."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class SmallCNN(nn.Module):
  """Convolutions 3x3 (the first keeps the size, each further one halves it), features, logits.

  No normalisation and no dropout: the features of an image depend on that image and the weights
  alone, and there is one mode of use.

  classes: number of logits.
  widths: channels of the convolutions.
  features: size of the last hidden layer, taken before its nonlinearity, where the distribution
    of a class is nearer to a Gaussian, which the Fréchet distance assumes.
  """

  classes: int
  widths: tuple[int, ...] = (32, 64, 64, 64)
  features: int = 64

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images [B, H, W, C] in [0, 1] -> (features [B, features], logits [B, classes])."""
    x = 2 * x - 1
    for i, width in enumerate(self.widths):
      stride = 2 if i else 1
      x = nn.gelu(nn.Conv(width, (3, 3), (stride, stride), name=f"conv_{i}")(x))
    features = nn.Dense(self.features, name="features")(x.reshape(x.shape[0], -1))
    return features, nn.Dense(self.classes, name="logits")(nn.gelu(features)).astype(jnp.float32)
