"""Training images of the feature nets: moved images with their labels, and broken images.

A classifier trained on digits alone is sure of almost anything, so that its confidence would
measure nothing. Therefore one image in five is broken, and its target distribution over the classes
says so:

    image                                                           target
    overlay   weighted mean or pixelwise maximum of two images      half of each label
    shuffled  the 4 x 4 = 16 patches of an image in random order    uniform
    mixed     every pixel from a random image of the batch          uniform
    plain     one grey level everywhere, black in every other one   uniform

Some images are binarized: a pixel is white with its grey level as the probability. So binarized
data look familiar to the net.
"""

import jax
import jax.numpy as jnp
from jax.scipy import ndimage


def move(key: jax.Array, x: jax.Array, shift: float, turn: float, zoom: float) -> jax.Array:
  """Applies a random affine map to one image [H, W, C], bilinear, with zero outside.

  shift: greatest displacement in pixels.
  turn: greatest angle and shear in radians.
  zoom: greatest logarithm of the scale along either axis.
  """
  height, width, channels = x.shape

  # In [-1, 1]: a the angle, s the shear, u [2] the scales, v [2] the displacement.
  a, s, u, v = jnp.split(jax.random.uniform(key, (6,), minval=-1, maxval=1), (1, 2, 4))
  cos = jnp.cos(turn * a[0])
  sin = jnp.sin(turn * a[0])
  linear = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array([[1, 0], [turn * s[0], 1]])
  linear = linear * jnp.exp(zoom * u)

  # Where each pixel of the result comes from, [H, W, 2].
  center = jnp.array([(height - 1) / 2, (width - 1) / 2])
  grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), -1)
  source = (grid - center) @ linear.T + center + shift * v

  at = (source[..., 0], source[..., 1])
  planes = [ndimage.map_coordinates(x[..., c], at, 1, mode="constant") for c in range(channels)]
  return jnp.stack(planes, -1)


def shuffle(key: jax.Array, x: jax.Array) -> jax.Array:
  """Returns an image [H, W, C], cut into 4 x 4 patches, with the patches in random order.

  H and W are multiples of 4.
  """
  height, width, channels = x.shape

  # [4, 4, H/4, W/4, C]; permuted as [16, H/4, W/4, C].
  patches = x.reshape(4, height // 4, 4, width // 4, channels).swapaxes(1, 2)
  patches = jax.random.permutation(key, patches.reshape(16, height // 4, width // 4, channels))
  patches = patches.reshape(4, 4, height // 4, width // 4, channels).swapaxes(1, 2)
  return patches.reshape(height, width, channels)


def mix(key: jax.Array, x: jax.Array, n: int) -> jax.Array:
  """Returns n images whose every pixel is that of a random image of x [B, H, W, C].

  The grey levels are right for their place, but there is no shape.
  """
  rows = jax.random.randint(key, (n, *x.shape[1:3]), 0, len(x))
  return x[rows, jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[2])]


def broken(key: jax.Array, x: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns broken images [B // 4, H, W, C] and their targets [B // 4, classes].

  x, target: [B, H, W, C] and [B, classes], the images that they are made of.
  """
  n = len(x) // 4
  keys = jax.random.split(key, 5)
  a = x[:n]
  b = x[n : 2 * n]
  weight = jax.random.uniform(keys[0], (n, 1, 1, 1), minval=0.35, maxval=0.65)
  plain = jnp.broadcast_to(jax.random.uniform(keys[1], (n, 1, 1, 1)), a.shape)

  # Every kind of every image, [5, n, H, W, C], of which one is chosen.
  kinds = jnp.stack(
    [
      weight * a + (1 - weight) * b,
      jnp.maximum(a, b),
      jax.vmap(shuffle)(jax.random.split(keys[2], n), a),
      mix(keys[3], x, n),
      plain * (jnp.arange(n) % 2)[:, None, None, None],  # every other one black
    ]
  )
  kind = jax.random.choice(keys[4], 5, (n,), p=jnp.array([2, 2, 3, 3, 1]) / 11)

  # The first two kinds are overlays.
  both = (target[:n] + target[n : 2 * n]) / 2
  uniform = jnp.full_like(both, 1 / both.shape[1])
  return kinds[kind, jnp.arange(n)], jnp.where((kind < 2)[:, None], both, uniform)


def batch(
  key: jax.Array,
  x: jax.Array,
  label: jax.Array,
  classes: int,
  flip: bool,
  motion: tuple[float, float, float],
) -> tuple[jax.Array, jax.Array]:
  """Returns a training batch: images [5 B / 4, H, W, C] and targets [5 B / 4, classes].

  x: [B, H, W, C] in [0, 1].
  label: [B].
  flip: whether to mirror half of the images left to right.
  motion: (shift, turn, zoom) of `move`.
  """
  keys = jax.random.split(key, 5)
  if flip:
    x = jnp.where(jax.random.bernoulli(keys[0], 0.5, (len(x), 1, 1, 1)), x[:, :, ::-1], x)

  x = jax.vmap(lambda k, x: move(k, x, *motion))(jax.random.split(keys[1], len(x)), x)

  # 15 % of the images are binarized.
  binary = jax.random.bernoulli(keys[2], jnp.clip(x, 0, 1)).astype(x.dtype)
  x = jnp.where(jax.random.bernoulli(keys[3], 0.15, (len(x), 1, 1, 1)), binary, x)

  target = jax.nn.one_hot(label, classes)
  bad, wrong = broken(keys[4], x, target)
  return jnp.concatenate([x, bad]), jnp.concatenate([target, wrong])
