"""What a decoder's numbers say of x: the likelihoods p(x | out).

    bernoulli   binary x: out is the logit of 1
    gaussian    N(out, std^2) with one std for all, or with an own one from the decoder
    logistic    a mixture of logistic distributions, each grey level having the probability of its
                interval, the first and the last those of the tails (Salimans et al. 2017,
                arXiv:1701.05517, eq. 2; pixels and channels independent given z)

A head reads `size` numbers for each dimension. "bernoulli" and "logistic" are probabilities of what
is stored; "gaussian" is a density, so data on levels are to be dequantized first (`density`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bernoulli:
  """Raises UserError for data that are not binary: grey values are no outcomes of a coin."""

  spec: core.DataSpec
  density = False
  size = 1

  def __post_init__(self):
    if self.spec.levels != 2:
      raise core.UserError("head 'bernoulli' is of binary data; set data.binarize")

  def log_prob(self, out: jax.Array, x: jax.Array) -> jax.Array:
    """out [..., *event, size], x [..., *event] -> nats of each dimension [..., *event]."""
    sign = 2 * (x - self.spec.range[0]) / (self.spec.range[1] - self.spec.range[0]) - 1
    return jax.nn.log_sigmoid(sign * out[..., 0])

  def mean(self, out: jax.Array) -> jax.Array:
    """The expected x."""
    low, high = self.spec.range
    return low + (high - low) * jax.nn.sigmoid(out[..., 0])

  def sample(self, key: jax.Array, out: jax.Array) -> jax.Array:
    """A draw."""
    low, high = self.spec.range
    return low + (high - low) * jax.random.bernoulli(key, jax.nn.sigmoid(out[..., 0]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianHead:
  """std: the same for all dimensions; 0 for one of each, from the decoder."""

  std: core.NonNegative = 0.1
  density = True

  @property
  def size(self) -> int:
    return 1 if self.std else 2

  def log_prob(self, out: jax.Array, x: jax.Array) -> jax.Array:
    std = self._std(out)
    return -(((x - out[..., 0]) / std) ** 2) / 2 - jnp.log(std) - np.log(2 * np.pi) / 2

  def mean(self, out: jax.Array) -> jax.Array:
    return out[..., 0]

  def sample(self, key: jax.Array, out: jax.Array) -> jax.Array:
    return out[..., 0] + self._std(out) * jax.random.normal(key, out.shape[:-1])

  def _std(self, out):
    return self.std or jnp.exp(jnp.clip(out[..., 1], -7, 7))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logistic:
  """components: of the mixture."""

  spec: core.DataSpec
  components: core.Size = 5
  density = False

  def __post_init__(self):
    if not self.spec.levels:
      raise core.UserError("head 'logistic' is of data on levels; use 'gaussian'")

  @property
  def size(self) -> int:
    return 3 * self.components

  def log_prob(self, out: jax.Array, x: jax.Array) -> jax.Array:
    weight, mean, scale = self._split(out)
    low, high = self.spec.range
    half = self.spec.level_width / 2
    x = x[..., None]
    upper, lower = (x + half - mean) / scale, (x - half - mean) / scale
    # log(S(u) - S(l)) = log S(u) + log S(-l) + log(1 - e^(l - u)): no difference of near numbers
    inside = jax.nn.log_sigmoid(upper) + jax.nn.log_sigmoid(-lower)
    inside += jnp.log(-jnp.expm1(-2 * half / scale))
    first, last = x < low + half, x > high - half
    ends = jnp.where(first, jax.nn.log_sigmoid(upper), jax.nn.log_sigmoid(-lower))
    log_p = jnp.where(first | last, ends, inside)
    return jax.nn.logsumexp(jax.nn.log_softmax(weight) + log_p, axis=-1)

  def mean(self, out: jax.Array) -> jax.Array:
    """That of the mixture before it is cut to levels."""
    weight, mean, _ = self._split(out)
    return jnp.clip(jnp.sum(jax.nn.softmax(weight) * mean, axis=-1), *self.spec.range)

  def sample(self, key: jax.Array, out: jax.Array) -> jax.Array:
    which, noise = jax.random.split(key)
    weight, mean, scale = self._split(out)
    pick = jax.nn.one_hot(jax.random.categorical(which, weight), self.components)
    mean, scale = jnp.sum(pick * mean, axis=-1), jnp.sum(pick * scale, axis=-1)
    x = mean + scale * jax.random.logistic(noise, mean.shape)
    low, high = self.spec.range
    width = self.spec.level_width
    return jnp.clip(low + width * jnp.round((x - low) / width), low, high)

  def _split(self, out):
    """(logits of the weights, means, scales), each [..., components]."""
    weight, mean, scale = jnp.split(out, 3, axis=-1)
    return weight, mean, jnp.exp(jnp.clip(scale, -7, 7))


HEADS = {"bernoulli": Bernoulli, "gaussian": GaussianHead, "logistic": Logistic}
