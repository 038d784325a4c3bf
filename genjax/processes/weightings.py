"""How much an error counts at each time.

All published weights are one function each of the squared error of x0, here with
lambda = log(alpha/sigma), snr = e^(2 lambda), s = sigma_data:

    snr            snr                 that of eps alone        Ho et al. 2020, arXiv:2006.11239
    truncated_snr  max(snr, 1)                           Salimans & Ho 2022, arXiv:2202.00512
    min_snr        min(snr, gamma)                              Hang et al. 2023, arXiv:2303.09556
    p2             snr / (k + snr)^gamma                       Choi et al. 2022, arXiv:2204.00227
    edm            snr + 1/s^2                                Karras et al. 2022, arXiv:2206.00364
    likelihood     snr (-lambda')      g^2/2 of the score       Song et al. 2021, arXiv:2101.09258
    sigmoid        snr (-lambda') S(bias - 2 lambda)       Hoogeboom et al. 2024, arXiv:2410.19324

where ' is d/dt and S the logistic function. With t uniform, D times the mean of "likelihood" is the
bound on -log p(x0) in nats, but for what is lost at both ends; it and "sigmoid" do not depend on
the process, but for these ends. A network that predicts (a, b) of gaussian.py errs in x0 by
-sigma/det of its own error, so its own squared error counts (sigma/det)^2 times the above; "simple"
is that error itself.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simple:
  """The network's own error, whatever it predicts."""

  def __call__(self, process, prediction: str, t: jax.Array) -> jax.Array:
    """The weight of the squared error of a network's answer, of t's shape."""
    return jnp.ones_like(t)


class OfData:
  """A weight `of_x0`, of the squared error of x0."""

  def __call__(self, process, prediction: str, t: jax.Array) -> jax.Array:
    alpha, sigma = process.coefficients(t)
    a, b = gaussian.ROWS[prediction](process, t)
    return self.of_x0(process, t) * (sigma / (alpha * b - sigma * a)) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class SNR(OfData):
  def of_x0(self, process, t):
    return _snr(process, t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TruncatedSNR(OfData):
  def of_x0(self, process, t):
    return jnp.maximum(_snr(process, t), 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinSNR(OfData):
  gamma: core.Positive = 5.0

  def of_x0(self, process, t):
    return jnp.minimum(_snr(process, t), self.gamma)


@dataclasses.dataclass(frozen=True, kw_only=True)
class P2(OfData):
  k: core.Positive = 1.0
  gamma: core.NonNegative = 1.0

  def of_x0(self, process, t):
    snr = _snr(process, t)
    return snr / (self.k + snr) ** self.gamma


@dataclasses.dataclass(frozen=True, kw_only=True)
class EDMWeighting(OfData):
  def of_x0(self, process, t):
    return _snr(process, t) + 1 / process.sigma_data**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LikelihoodWeighting(OfData):
  def of_x0(self, process, t):
    return _falling(process, t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidWeighting(OfData):
  """bias: log(snr) of half weight; -1 for images in [-1, 1]."""

  bias: float = -1.0

  def of_x0(self, process, t):
    return _falling(process, t) * jax.nn.sigmoid(self.bias - jnp.log(_snr(process, t)))


def _snr(process, t):
  alpha, sigma = process.coefficients(t)
  return (alpha / sigma) ** 2


def _falling(process, t):
  """snr (-lambda'), which is finite at alpha = 0, too."""
  (alpha, sigma), (d_alpha, d_sigma) = process.coefficients(t), process.rates(t)
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
