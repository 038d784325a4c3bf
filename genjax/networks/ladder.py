"""A ladder of latent pictures, from the coarsest resolution to the finest.

Child 2021 (arXiv:2011.10650, "VDVAE"), after Sønderby et al. 2016 (arXiv:1602.02282): what is said
of x on the way up corrects, block by block, what the way down expects by itself.

    up      features f of each resolution: residual blocks, then halved for the next one        (1)
    down    h starts as a learned picture. Block i, coarsest first, draws z_i [h, w, code]:
                p(z_i | z_<i)    = N(m_p, s_p^2),     (m_p, log s_p, r) = prior(h)              (2)
                q(z_i | z_<i, x) = N(m_q, s_q^2),     (m_q, log s_q)    = posterior(h, f)       (3)
                h <- residual(h + r + W z_i)                                                    (4)
            and between resolutions h is doubled, and one more learned picture added to it

Noise is an argument, z_i = m + s eps_i, so whoever calls decides what examples share. Nats of block
i, given z_<i: the KL in closed form, and the log ratio of one draw, whose mean over eps it is:

    KL    = (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2 + log s_p - log s_q                       (5)
    ratio = log q(z_i)/p(z_i) = (z_i - m_p)^2 / (2 s_p^2) - eps_i^2 / 2 + log s_p - log s_q (6)

prior, posterior and residual are four convolutions through a narrow middle (`Bottleneck`), of one
pixel where a picture has no more than 2 x 2. Those of the prior end in zeros: at first p is
N(0, 1). W, and where a residual ends, start 1 / sqrt(blocks) as large: h does not grow with them.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import convolution

Latents = tuple[jax.Array, ...]  # one picture [B, h, w, code] for each block, coarsest first


class DiagonalNormal(NamedTuple):
  """Of one block's z: mean and logarithm of the standard deviation, [B, h, w, code]."""

  mean: jax.Array
  log_std: jax.Array

  def at(self, eps: jax.Array, temperature: float = 1.0) -> jax.Array:
    """z for standard normal eps; a temperature of 0 is the mean."""
    return self.mean + temperature * jnp.exp(self.log_std) * eps


class LadderPass(NamedTuple):
  """From x through all blocks: out [B, H, W, out], z; kl of (5) and ratio of (6) [B, blocks]."""

  out: jax.Array
  z: Latents
  kl: jax.Array
  ratio: jax.Array


class Bottleneck(nn.Module):
  """Convolutions 1x1, 3x3, 3x3, 1x1, each after gelu: parts [B, H, W, C_i], as if joined ->
  [B, H, W, features].

  middle: channels of the inner ones. wide: without it those are 1x1 too.
  scale: of the last kernel at first. dtype: of the computation; the result is float32.
  """

  features: int
  middle: int
  wide: bool
  scale: float = 1.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, *parts: jax.Array) -> jax.Array:
    inner = convolution.Convolution if self.wide else convolution.Pointwise
    first = convolution.Pointwise(self.middle, dtype=self.dtype, name="first")
    h = first(*(nn.gelu(part) for part in parts))
    for i in range(2):
      h = inner(self.middle, dtype=self.dtype, name=f"inner_{i}")(nn.gelu(h))
    last = nn.Dense(self.features, kernel_init=scaled(self.scale), dtype=self.dtype, name="last")
    return last(nn.gelu(h)).astype(jnp.float32)


class Rung(nn.Module):
  """One block of the way down, by (2) to (4). width: of h; code: of z; the others: Bottleneck's."""

  width: int
  code: int
  middle: int
  wide: bool
  scale: float
  dtype: Any = jnp.float32

  def setup(self):
    make = lambda features, scale=1.0: Bottleneck(
      features, self.middle, self.wide, scale, self.dtype
    )
    self.from_above = make(2 * self.code + self.width, 0.0)
    self.from_both = make(2 * self.code)
    self.project = nn.Dense(self.width, kernel_init=scaled(self.scale), dtype=self.dtype)
    self.residual = make(self.width, self.scale)

  def prior(self, h: jax.Array) -> tuple[DiagonalNormal, jax.Array]:
    """(p(z_i | z_<i), h + r)."""
    numbers = self.from_above(h)
    return normal(numbers[..., : 2 * self.code]), h + numbers[..., 2 * self.code :]

  def posterior(self, h: jax.Array, features: jax.Array) -> DiagonalNormal:
    """q(z_i | z_<i, x)."""
    return normal(self.from_both(h, features))

  def take(self, h: jax.Array, z: jax.Array) -> jax.Array:
    """Equation (4), of h + r."""
    h = h + self.project(z).astype(jnp.float32)
    return h + self.residual(h)


class Ladder(nn.Module):
  """x [B, H, W, C] of the data's size and one noise for each of `shapes` -> Pass.

  widths: channels of the resolutions, the finest first, each half as high and wide as the one
    before, rounded up. blocks: at each resolution, on both ways; may be 0.
  code: channels of each z. bottleneck: how many times narrower the inner convolutions are.
  patch: patch x patch squares of pixels are folded into channels around the ladder, as in UNet.
  out: channels of the answer. dtype: of the computation; parameters, z and nats are float32.
  Raises UserError where these do not fit one another or the data.
  """

  widths: tuple[core.Size, ...] = (16, 32, 32)
  blocks: tuple[core.Count, ...] = (1, 2, 3)
  code: core.Size = 8
  bottleneck: core.Size = 4
  patch: core.Size = 1
  out: core.Size = 1
  dtype: Any = jnp.float32
  spec: core.DataSpec | None = None

  def __post_init__(self):
    super().__post_init__()
    levels = len(self.widths)
    if len(self.blocks) != levels or not sum(self.blocks):
      raise core.UserError(
        f"ladder: blocks={self.blocks} must have one entry for each of widths={self.widths}, and "
        "at least one block"
      )
    for width in self.widths:
      if width % self.bottleneck:
        raise core.UserError(f"ladder: bottleneck={self.bottleneck} must divide width {width}")
    convolution.check_images("ladder", self.spec)
    if self.spec and levels > 1 and max(self.sizes[-2]) == 1:
      raise core.UserError(f"ladder: {self.spec.shape[:2]} cannot be halved {levels - 1} times")

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Height and width of each resolution, the finest first."""
    height, width = (-(-size // self.patch) for size in self.spec.shape[:2])
    return convolution.halvings((height, width), len(self.widths))

  @property
  def places(self) -> tuple[int, ...]:
    """At which resolution each block of the way down is."""
    levels = reversed(range(len(self.widths)))
    return tuple(level for level in levels for _ in range(self.blocks[level]))

  @property
  def shapes(self) -> tuple[tuple[int, int, int], ...]:
    """[h, w, code] of each z, and of its noise."""
    return tuple((*self.sizes[level], self.code) for level in self.places)

  def setup(self):
    scale, zeros = sum(self.blocks) ** -0.5, nn.initializers.zeros
    make = lambda kind, level, *fields: kind(
      *fields,
      middle=self.widths[level] // self.bottleneck,
      wide=max(self.sizes[level]) > 2,
      scale=scale,
      dtype=self.dtype,
    )
    up = lambda level: make(Bottleneck, level, self.widths[level])
    down = lambda level: make(Rung, level, self.widths[level], self.code)
    self.first = convolution.Convolution(self.widths[0], dtype=self.dtype)
    self.up = [[up(level) for _ in range(n)] for level, n in enumerate(self.blocks)]
    self.wider = [nn.Dense(width, dtype=self.dtype) for width in self.widths[1:]]
    self.rungs = [down(level) for level in self.places]
    self.narrower = [nn.Dense(width, dtype=self.dtype) for width in self.widths[:-1]]
    self.pictures = [
      self.param(f"picture_{i}", zeros, (*size, width))
      for i, (size, width) in enumerate(zip(self.sizes, self.widths))
    ]
    self.last = nn.Dense(self.out * self.patch**2)

  def __call__(self, x: jax.Array, noise: Latents, train: bool = False) -> LadderPass:
    return self.posterior(x, noise)

  def posterior(self, x: jax.Array, noise: Latents, train: bool = False) -> LadderPass:
    """Every z from q(z_i | z_<i, x): its mean, where the noise is 0."""
    features, z, kl, ratio = self._features(x), [], [], []

    def choose(i, h, p):
      q = self.rungs[i].posterior(h, features[self.places[i]])
      z.append(q.at(noise[i]))
      kl.append(divergence(q, p))
      ratio.append(log_ratio(q, p, noise[i]))
      return z[-1]

    out = self._descend(len(x), choose)
    return LadderPass(out, tuple(z), jnp.stack(kl, axis=1), jnp.stack(ratio, axis=1))

  def generate(self, noise: Latents, temperature: float = 1.0, train: bool = False) -> jax.Array:
    """Every z from p(z_i | z_<i), its deviations times the temperature -> [B, H, W, out]."""
    return self._descend(len(noise[0]), lambda i, h, p: p.at(noise[i], temperature))

  def decode(self, z: Latents, train: bool = False) -> jax.Array:
    """What these z make: [B, H, W, out]."""
    return self._descend(len(z[0]), lambda i, h, p: z[i])

  def _features(self, x: jax.Array) -> list[jax.Array]:
    """Equation (1), the finest resolution first."""
    x = convolution.space_to_depth(convolution.pad_to_multiple(x, self.patch), self.patch)
    h, features = self.first(x).astype(jnp.float32), []
    for level, blocks in enumerate(self.up):
      if level:
        half = nn.avg_pool(h, (2, 2), (2, 2), "SAME", count_include_pad=False)
        h = self.wider[level - 1](half).astype(jnp.float32)
      for block in blocks:
        h = h + block(h)
      features.append(h)
    return features

  def _descend(
    self, n: int, choose: Callable[[int, jax.Array, DiagonalNormal], jax.Array]
  ) -> jax.Array:
    """The way down for n examples with z_i = choose(i, h, prior)."""
    h = jnp.broadcast_to(self.pictures[-1], (n, *self.pictures[-1].shape))
    rungs = enumerate(self.rungs)
    for level in reversed(range(len(self.blocks))):
      if level + 1 < len(self.blocks):
        high, wide = self.sizes[level]
        doubled = self.narrower[level](convolution.upsample(h)[:, :high, :wide])
        h = doubled.astype(jnp.float32) + self.pictures[level]
      for i, rung in itertools.islice(rungs, self.blocks[level]):
        p, passed = rung.prior(h)
        h = rung.take(passed, choose(i, h, p))
    h = convolution.depth_to_space(self.last(h), self.patch)
    return convolution.crop(h, *self.spec.shape[:2])


def scaled(scale: float) -> nn.initializers.Initializer:
  """A kernel with `scale` times the deviation that keeps the variance of what passes."""
  return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


def normal(numbers: jax.Array) -> DiagonalNormal:
  """[..., 2 code] -> its halves; the deviation is bounded, so that none explodes."""
  mean, log_std = jnp.split(numbers, 2, axis=-1)
  return DiagonalNormal(mean, jnp.clip(log_std, -7, 7))


def divergence(q: DiagonalNormal, p: DiagonalNormal) -> jax.Array:
  """Equation (5), summed over the picture: [B] nats."""
  square = jnp.exp(2 * q.log_std) + (q.mean - p.mean) ** 2
  return _total(square / 2 * jnp.exp(-2 * p.log_std) - 0.5 + p.log_std - q.log_std)


def log_ratio(q: DiagonalNormal, p: DiagonalNormal, eps: jax.Array) -> jax.Array:
  """Equation (6) at the z of eps, summed over the picture: [B] nats."""
  far = (q.at(eps) - p.mean) * jnp.exp(-p.log_std)
  return _total((far**2 - eps**2) / 2 + p.log_std - q.log_std)


def _total(a):
  """Sum over an example's dimensions: [B, h, w, code] -> [B]."""
  return jnp.sum(a.reshape(len(a), -1), axis=1)


LADDERS = {"vdvae": Ladder}
