"""Likelihoods p(x | out) of data given the numbers that a decoder puts out.

    bernoulli   binary x: out is the logit of the higher value
    gaussian    N(out, std^2), with one std for all dimensions or a std of each from the decoder
    logistic    a mixture of logistic distributions. Each grey level has the probability of its
                interval, and the first and the last level have the probability of the tails
                (Salimans et al. 2017, arXiv:1701.05517, eq. 2; here pixels and channels are
                independent given z)

A head reads `size` numbers for each dimension of x: out is [..., *event, size]. "bernoulli" and
"logistic" are probabilities of the values that are stored. "gaussian" is a density (`density`), so
data on levels must be dequantized first.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bernoulli:
  """A coin for each dimension of binary data.

  spec: the data, with 2 levels.
  Raises UserError for data that are not binary: grey values are no outcomes of a coin.
  """

  spec: core.DataSpec
  density = False
  size = 1

  def __post_init__(self):
    if self.spec.levels != 2:
      raise core.UserError(
        "head 'bernoulli' needs binary data; set data.binarize, or use head 'logistic' for grey "
        "levels"
      )

  def log_prob(self, out: jax.Array, x: jax.Array) -> jax.Array:
    """Returns log p(x | out) of each dimension in nats.

    out: [..., *event, size]; x and the result: [..., *event]. The same holds for all heads.
    """
    low, high = self.spec.range
    # log sigmoid(out) for the higher value (sign 1), log sigmoid(-out) for the lower one (sign -1).
    sign = 2 * (x - low) / (high - low) - 1
    return jax.nn.log_sigmoid(sign * out[..., 0])

  def mean(self, out: jax.Array) -> jax.Array:
    """Returns the expected x [..., *event], in the range of the data."""
    low, high = self.spec.range
    return low + (high - low) * jax.nn.sigmoid(out[..., 0])

  def sample(self, key: jax.Array, out: jax.Array) -> jax.Array:
    """Draws x [..., *event] from p(x | out)."""
    low, high = self.spec.range
    return low + (high - low) * jax.random.bernoulli(key, jax.nn.sigmoid(out[..., 0]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianHead:
  """A normal distribution of each dimension.

  std: standard deviation of all dimensions; 0 takes the one of each from the decoder.
  """

  std: core.NonNegative = 0.1
  density = True

  @property
  def size(self) -> int:
    """Numbers per dimension: the mean, and log std unless `std` is given."""
    return 1 if self.std else 2

  def log_prob(self, out: jax.Array, x: jax.Array) -> jax.Array:
    """Returns the log-density at x of each dimension in nats."""
    std = self._std(out)
    return -(((x - out[..., 0]) / std) ** 2) / 2 - jnp.log(std) - np.log(2 * np.pi) / 2

  def mean(self, out: jax.Array) -> jax.Array:
    """Returns the expected x [..., *event]."""
    return out[..., 0]

  def sample(self, key: jax.Array, out: jax.Array) -> jax.Array:
    """Draws x [..., *event] from p(x | out)."""
    return out[..., 0] + self._std(out) * jax.random.normal(key, out.shape[:-1])

  def _std(self, out: jax.Array) -> jax.Array | float:
    """Returns the standard deviation: the fixed one, or [..., *event] from the decoder."""
    # Bounded, so that no standard deviation is 0 or infinite early in training.
    return self.std or jnp.exp(jnp.clip(out[..., 1], -7, 7))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logistic:
  """A mixture of logistic distributions of each dimension, cut to the levels of the data.

  spec: the data, on levels.
  components: number of logistic distributions in the mixture.
  Raises UserError for continuous data.
  """

  spec: core.DataSpec
  components: core.Size = 5
  density = False

  def __post_init__(self):
    if not self.spec.levels:
      raise core.UserError("head 'logistic' needs data on levels; use head 'gaussian'")

  @property
  def size(self) -> int:
    """Numbers per dimension: a weight, a mean and a scale for each component."""
    return 3 * self.components

  def log_prob(self, out: jax.Array, x: jax.Array) -> jax.Array:
    """Returns the log-probability of the level of x, for each dimension in nats."""
    weight, mean, scale = self._split(out)
    low, high = self.spec.range
    half = self.spec.level_width / 2
    x = x[..., None]  # [..., *event, 1], against the components

    # The ends u > l of the level's interval, in units of the scale.
    upper = (x + half - mean) / scale
    lower = (x - half - mean) / scale

    # With the logistic function S: log(S(u) - S(l)) = log S(u) + log S(-l) + log(1 - e^(l - u)),
    # which takes no difference of nearly equal numbers.
    inside = jax.nn.log_sigmoid(upper) + jax.nn.log_sigmoid(-lower)
    inside += jnp.log(-jnp.expm1(-2 * half / scale))

    # The first level has the lower tail as well, the last level the upper one.
    first = x < low + half
    last = x > high - half
    ends = jnp.where(first, jax.nn.log_sigmoid(upper), jax.nn.log_sigmoid(-lower))
    log_p = jnp.where(first | last, ends, inside)
    return jax.nn.logsumexp(jax.nn.log_softmax(weight) + log_p, axis=-1)

  def mean(self, out: jax.Array) -> jax.Array:
    """Returns the mean of the mixture before it is cut to levels, clipped to the data's range."""
    weight, mean, _ = self._split(out)
    return jnp.clip(jnp.sum(jax.nn.softmax(weight) * mean, axis=-1), *self.spec.range)

  def sample(self, key: jax.Array, out: jax.Array) -> jax.Array:
    """Draws x [..., *event] from p(x | out), on the levels."""
    which, noise = jax.random.split(key)
    weight, mean, scale = self._split(out)

    # One component for each dimension.
    pick = jax.nn.one_hot(jax.random.categorical(which, weight), self.components)
    mean = jnp.sum(pick * mean, axis=-1)
    scale = jnp.sum(pick * scale, axis=-1)
    x = mean + scale * jax.random.logistic(noise, mean.shape)

    # The nearest level; the tails go to the first and the last one.
    low, high = self.spec.range
    width = self.spec.level_width
    return jnp.clip(low + width * jnp.round((x - low) / width), low, high)

  def _split(self, out: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the logits of the weights, the means and the scales, each [..., components]."""
    weight, mean, scale = jnp.split(out, 3, axis=-1)
    return weight, mean, jnp.exp(jnp.clip(scale, -7, 7))


HEADS = {"bernoulli": Bernoulli, "gaussian": GaussianHead, "logistic": Logistic}
