"""A ladder of latent pictures, from the coarsest resolution to the finest.

Child 2021 (arXiv:2011.10650, "VDVAE"), after Sønderby et al. 2016 (arXiv:1602.02282). A way up
computes features of x. A way down draws the latents block by block: each block has a prior given
the latents before it, and a posterior that also knows the features of x.

    up      features f of each resolution: residual blocks, then halved for the next one        (1)
    down    h starts as a learned picture. Block i, coarsest first, draws z_i [h, w, code]:
                p(z_i | z_<i)    = N(m_p, s_p^2),     (m_p, log s_p, r) = prior(h)              (2)
                q(z_i | z_<i, x) = N(m_q, s_q^2),     (m_q, log s_q)    = posterior(h, f)       (3)
                h <- residual(h + r + W z_i)                                                    (4)
            and between resolutions h is doubled, and one more learned picture added to it

The noise is an argument, z_i = m + s eps_i, so the caller decides which examples share it. The KL
divergence of block i given z_<i has a closed form, and it is the mean over eps of the log ratio of
one draw; both are in nats:

    KL    = (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2 + log s_p - log s_q                       (5)
    ratio = log q(z_i)/p(z_i) = (z_i - m_p)^2 / (2 s_p^2) - eps_i^2 / 2 + log s_p - log s_q     (6)

prior, posterior and residual are four convolutions through a narrow middle (`Bottleneck`); on
resolutions of at most 2 x 2 all their kernels are 1 x 1. The last kernel of the prior starts at
zero, so that p is N(0, 1) at first. W, and the last kernel of each residual block, start
1 / sqrt(number of blocks) times as large as usual, so that h does not grow with that number.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import convolution

# One picture [B, h, w, code] for each block, the coarsest first.
Latents = tuple[jax.Array, ...]


class DiagonalNormal(NamedTuple):
  """The normal distribution of the z of one block, independent in each entry.

  mean: [B, h, w, code].
  log_std: [B, h, w, code], the logarithm of the standard deviation.
  """

  mean: jax.Array
  log_std: jax.Array

  def at(self, eps: jax.Array, temperature: float = 1.0) -> jax.Array:
    """Returns the z of standard normal noise eps; a temperature of 0 gives the mean."""
    return self.mean + temperature * jnp.exp(self.log_std) * eps


class LadderPass(NamedTuple):
  """One pass of x through the posteriors of all blocks.

  out: [B, H, W, out], the outputs.
  z: the latents of all blocks.
  kl: [B, blocks], (5) in nats.
  ratio: [B, blocks], (6) in nats.
  """

  out: jax.Array
  z: Latents
  kl: jax.Array
  ratio: jax.Array


class Bottleneck(nn.Module):
  """Convolutions 1x1, 3x3, 3x3, 1x1, each after gelu, of parts [B, H, W, C_i], as if joined.

  Returns [B, H, W, features] in float32.

  features: number of output channels.
  middle: channels between the four convolutions.
  wide: whether the two in the middle are 3x3; if not, they are 1x1 too.
  scale: size of the last kernel at first, as a multiple of the usual one.
  dtype: type of the computation.
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
  """One block of the way down, equations (2) to (4).

  width: channels of h.
  code: channels of z.
  middle, wide, dtype: the fields of Bottleneck.
  scale: size of W and of the last kernel of the residual block at first.
  """

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
    # A scale of 0: at first p is N(0, 1) and r is 0.
    self.from_above = make(2 * self.code + self.width, 0.0)
    self.from_both = make(2 * self.code)
    self.project = nn.Dense(self.width, kernel_init=scaled(self.scale), dtype=self.dtype)
    self.residual = make(self.width, self.scale)

  def prior(self, h: jax.Array) -> tuple[DiagonalNormal, jax.Array]:
    """Equation (2): h [B, h, w, width] -> (p(z_i | z_<i), h + r)."""
    numbers = self.from_above(h)
    return normal(numbers[..., : 2 * self.code]), h + numbers[..., 2 * self.code :]

  def posterior(self, h: jax.Array, features: jax.Array) -> DiagonalNormal:
    """Equation (3): h and f, each [B, h, w, width] -> q(z_i | z_<i, x)."""
    return normal(self.from_both(h, features))

  def take(self, h: jax.Array, z: jax.Array) -> jax.Array:
    """Equation (4): h + r [B, h, w, width] and z_i [B, h, w, code] -> the new h."""
    h = h + self.project(z).astype(jnp.float32)
    return h + self.residual(h)


class Ladder(nn.Module):
  """x [B, H, W, C] of the data's size, with one noise for each of `shapes` -> LadderPass.

  widths: channels of the resolutions, the finest first, each half as high and wide as the one
    before, rounded up.
  blocks: number of blocks at each resolution, on both ways; may be 0.
  code: channels of each z.
  bottleneck: how many times narrower than h the inner convolutions are.
  patch: patch x patch squares of pixels are folded into channels around the ladder.
  out: number of output channels.
  dtype: type of the computation; parameters, h, z and nats are float32.
  spec: the data.

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
    # One pixel is the end: a resolution below it would be the same.
    if self.spec and levels > 1 and max(self.sizes[-2]) == 1:
      raise core.UserError(
        f"ladder: {self.spec.shape[:2]} cannot be halved {levels - 1} times; use fewer widths"
      )

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Height and width of each resolution, the finest first."""
    height, width = (-(-size // self.patch) for size in self.spec.shape[:2])
    return convolution.halvings((height, width), len(self.widths))

  @property
  def places(self) -> tuple[int, ...]:
    """The resolution of each block of the way down, as an index into `widths`."""
    levels = reversed(range(len(self.widths)))
    return tuple(level for level in levels for _ in range(self.blocks[level]))

  @property
  def shapes(self) -> tuple[tuple[int, int, int], ...]:
    """The shape [h, w, code] of the z of each block, which is also that of the noise."""
    return tuple((*self.sizes[level], self.code) for level in self.places)

  def setup(self):
    scale = sum(self.blocks) ** -0.5
    zeros = nn.initializers.zeros
    make = lambda kind, level, *fields: kind(
      *fields,
      middle=self.widths[level] // self.bottleneck,
      wide=max(self.sizes[level]) > 2,
      scale=scale,
      dtype=self.dtype,
    )
    up = lambda level: make(Bottleneck, level, self.widths[level])
    down = lambda level: make(Rung, level, self.widths[level], self.code)

    # The way up (1): residual blocks on each resolution, and the change of width between two.
    self.first = convolution.Convolution(self.widths[0], dtype=self.dtype)
    self.up = [[up(level) for _ in range(n)] for level, n in enumerate(self.blocks)]
    self.wider = [nn.Dense(width, dtype=self.dtype) for width in self.widths[1:]]

    # The way down: (2) to (4), the change of width, and a learned picture for each resolution.
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
    """Draws every z from q(z_i | z_<i, x); where the noise is 0, z is the mean of q."""
    features = self._features(x)
    z = []
    kl = []
    ratio = []

    def choose(i, h, p):  # z_i, and what it costs
      q = self.rungs[i].posterior(h, features[self.places[i]])
      z.append(q.at(noise[i]))
      kl.append(divergence(q, p))
      ratio.append(log_ratio(q, p, noise[i]))
      return z[-1]

    out = self._descend(len(x), choose)
    return LadderPass(out, tuple(z), jnp.stack(kl, axis=1), jnp.stack(ratio, axis=1))

  def generate(self, noise: Latents, temperature: float = 1.0, train: bool = False) -> jax.Array:
    """Draws every z from p(z_i | z_<i) and returns the outputs [B, H, W, out].

    temperature: factor of the standard deviations of p.
    """
    return self._descend(len(noise[0]), lambda i, h, p: p.at(noise[i], temperature))

  def decode(self, z: Latents, train: bool = False) -> jax.Array:
    """Returns the outputs [B, H, W, out] of given latents."""
    return self._descend(len(z[0]), lambda i, h, p: z[i])

  def _features(self, x: jax.Array) -> list[jax.Array]:
    """Returns f of (1), [B, h, w, width] for each resolution, the finest first."""
    x = convolution.pad_to_multiple(x, self.patch)
    x = convolution.space_to_depth(x, self.patch)
    h = self.first(x).astype(jnp.float32)

    features = []
    for level, blocks in enumerate(self.up):
      if level:
        # At the border of an odd size the mean is over the pixels that exist.
        half = nn.avg_pool(h, (2, 2), (2, 2), "SAME", count_include_pad=False)
        h = self.wider[level - 1](half).astype(jnp.float32)
      for block in blocks:
        h = h + block(h)
      features.append(h)
    return features

  def _descend(
    self, n: int, choose: Callable[[int, jax.Array, DiagonalNormal], jax.Array]
  ) -> jax.Array:
    """Goes the way down for n examples and returns the outputs [n, H, W, out].

    choose: (i, h, p(z_i | z_<i)) -> z_i.
    """
    h = jnp.broadcast_to(self.pictures[-1], (n, *self.pictures[-1].shape))
    rungs = enumerate(self.rungs)  # each resolution takes its blocks from here

    for level in reversed(range(len(self.blocks))):
      if level + 1 < len(self.blocks):
        # Resolutions were rounded up, so a doubled one may be a row or a column too large.
        high, wide = self.sizes[level]
        doubled = self.narrower[level](convolution.upsample(h)[:, :high, :wide])
        h = doubled.astype(jnp.float32) + self.pictures[level]
      for i, rung in itertools.islice(rungs, self.blocks[level]):
        p, passed = rung.prior(h)  # passed: h + r
        h = rung.take(passed, choose(i, h, p))

    h = convolution.depth_to_space(self.last(h), self.patch)
    return convolution.crop(h, *self.spec.shape[:2])


def scaled(scale: float) -> nn.initializers.Initializer:
  """Returns an initializer of kernels: `scale` times the deviation that preserves the variance."""
  return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


def normal(numbers: jax.Array) -> DiagonalNormal:
  """Returns the distribution with the mean and log deviation in the halves of [..., 2 code]."""
  mean, log_std = jnp.split(numbers, 2, axis=-1)

  # Bounded, so that no deviation, and none of its inverses in (5), overflows.
  return DiagonalNormal(mean, jnp.clip(log_std, -7, 7))


def divergence(q: DiagonalNormal, p: DiagonalNormal) -> jax.Array:
  """Returns the KL divergence (5), summed over the picture: [B] nats."""
  # The numerator of the first term.
  square = jnp.exp(2 * q.log_std) + (q.mean - p.mean) ** 2
  return _total(square / 2 * jnp.exp(-2 * p.log_std) - 0.5 + p.log_std - q.log_std)


def log_ratio(q: DiagonalNormal, p: DiagonalNormal, eps: jax.Array) -> jax.Array:
  """Returns the log ratio (6) at the z of noise eps, summed over the picture: [B] nats."""
  # How far z is from the mean of p, in deviations of p.
  far = (q.at(eps) - p.mean) * jnp.exp(-p.log_std)
  return _total((far**2 - eps**2) / 2 + p.log_std - q.log_std)


def _total(a: jax.Array) -> jax.Array:
  """Sums over all entries of an example: [B, h, w, code] -> [B]."""
  return jnp.sum(a.reshape(len(a), -1), axis=1)


LADDERS = {"vdvae": Ladder}
