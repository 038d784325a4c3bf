"""Weights of the loss: how much an error counts at each time.

Every published weight is a function of time that multiplies the squared error of x0. Here with
lambda = log(alpha/sigma), snr = e^(2 lambda) and s = sigma_data:

    snr            snr                 counts errors of eps     Ho et al. 2020, arXiv:2006.11239
    truncated_snr  max(snr, 1)                           Salimans & Ho 2022, arXiv:2202.00512
    min_snr        min(snr, gamma)                              Hang et al. 2023, arXiv:2303.09556
    p2             snr / (k + snr)^gamma                       Choi et al. 2022, arXiv:2204.00227
    edm            snr + 1/s^2                                Karras et al. 2022, arXiv:2206.00364
    likelihood     snr (-lambda')      g^2/2 of the score       Song et al. 2021, arXiv:2101.09258
    sigmoid        snr (-lambda') S(bias - 2 lambda)       Hoogeboom et al. 2024, arXiv:2410.19324

where ' is d/dt and S the logistic function. The weight of a network that predicts something else
follows from gaussian.py: if the network predicts the row (a, b) and its output is wrong by e, then
x0 is wrong by -sigma/det e, with det = alpha b - sigma a. The squared error of the output therefore
counts (sigma/det)^2 times the weight above. The weight "simple" is 1 for the output itself,
whatever it predicts.

With uniform t, D times the mean of the "likelihood" loss is the bound on -log p(x0) in nats, apart
from what is lost at both ends of time (samplers/likelihood.py). Apart from these ends, the losses
"likelihood" and "sigmoid" do not depend on the process.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simple:
  """Weight 1 on the squared error of the network's output, whatever it predicts."""

  def __call__(self, process: gaussian.Process, prediction: str, t: jax.Array) -> jax.Array:
    """Returns the weight of the squared error of the network's output, of t's shape."""
    return jnp.ones_like(t)


class OfData:
  """Base of the weights of the module's table; each defines `of_x0`, the weight for x0."""

  def __call__(self, process: gaussian.Process, prediction: str, t: jax.Array) -> jax.Array:
    alpha, sigma = process.coefficients(t)
    a, b = gaussian.ROWS[prediction](process, t)
    det = alpha * b - sigma * a

    # An error e of the output is an error -sigma/det e of x0.
    return self.of_x0(process, t) * (sigma / det) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class SNR(OfData):
  """Weight of DDPM, which counts errors of eps equally at all times."""

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns snr, of t's shape."""
    return _snr(process, t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TruncatedSNR(OfData):
  """Weight of progressive distillation, which does not vanish in pure noise."""

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns max(snr, 1), of t's shape."""
    return jnp.maximum(_snr(process, t), 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinSNR(OfData):
  """Min-SNR weight, which is limited near the data.

  gamma: the largest weight.
  """

  gamma: core.Positive = 5.0

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns min(snr, gamma), of t's shape."""
    return jnp.minimum(_snr(process, t), self.gamma)


@dataclasses.dataclass(frozen=True, kw_only=True)
class P2(OfData):
  """Perception-prioritised weight, which counts low noise less than `SNR`.

  k: snr below which the weight is that of `SNR`, up to a factor.
  gamma: how much less low noise counts; 0 is `SNR`.
  """

  k: core.Positive = 1.0
  gamma: core.NonNegative = 1.0

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns snr / (k + snr)^gamma, of t's shape."""
    snr = _snr(process, t)
    return snr / (self.k + snr) ** self.gamma


@dataclasses.dataclass(frozen=True, kw_only=True)
class EDMWeighting(OfData):
  """Weight of EDM, which is 1 for errors of the prediction "F"."""

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns snr + 1/s^2, of t's shape."""
    return _snr(process, t) + 1 / process.sigma_data**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LikelihoodWeighting(OfData):
  """Weight with which the loss bounds the likelihood."""

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns snr (-lambda'), of t's shape."""
    return _falling(process, t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidWeighting(OfData):
  """The likelihood weight, faded out at low noise.

  bias: log(snr) at which half of the weight is left; -1 suits images in [-1, 1].
  """

  bias: float = -1.0

  def of_x0(self, process: gaussian.Process, t: jax.Array) -> jax.Array:
    """Returns snr (-lambda') S(bias - 2 lambda), of t's shape."""
    # log(snr) is 2 lambda.
    fade = jax.nn.sigmoid(self.bias - jnp.log(_snr(process, t)))
    return _falling(process, t) * fade


def _snr(process: gaussian.Process, t: jax.Array) -> jax.Array:
  """Returns the signal-to-noise ratio at times t, of t's shape."""
  alpha, sigma = process.coefficients(t)
  return (alpha / sigma) ** 2


def _falling(process: gaussian.Process, t: jax.Array) -> jax.Array:
  """Returns snr (-lambda') in a form that is finite at alpha = 0 as well."""
  alpha, sigma = process.coefficients(t)
  d_alpha, d_sigma = process.rates(t)

  # -lambda' = sigma'/sigma - alpha'/alpha, multiplied out with snr = (alpha/sigma)^2.
  return alpha / sigma**2 * (alpha * d_sigma / sigma - d_alpha)


WEIGHTINGS = {
  "simple": Simple,
  "snr": SNR,
  "truncated_snr": TruncatedSNR,
  "min_snr": MinSNR,
  "p2": P2,
  "edm": EDMWeighting,
  "likelihood": LikelihoodWeighting,
  "sigmoid": SigmoidWeighting,
}
