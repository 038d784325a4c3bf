"""Distributions of the training times, as quantile functions from u in [0, 1) to t.

    uniform       t = u
    logit_normal  logit t ~ N(mean, std^2)                    Esser et al. 2024, arXiv:2403.03206
    log_normal    ln(sigma/alpha) ~ N(mean, std^2)           Karras et al. 2022, arXiv:2206.00364
    importance    p(t) prop. to sqrt(E[loss(t)^2]), losses divided by p(t), so that their mean is
                  still that of uniform times             Nichol & Dhariwal 2021, arXiv:2102.09672

The first three do not change the loss, so times that are drawn more often count more. The process
rounds every time to one that it has: to a state of a chain, or to `least` <= t <= 1.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian


class Fixed:
  """Base of the distributions that do not learn; each defines a quantile function `at`."""

  def start(self) -> dict[str, jax.Array]:
    """Returns the initial memory; {} if nothing is remembered from step to step."""
    return {}

  def __call__(
    self, process: gaussian.Process, u: jax.Array, memory: dict[str, jax.Array] | None
  ) -> tuple[jax.Array, jax.Array]:
    """Returns (times, factors on the losses at these times), both of u's shape."""
    return self.at(process, u), jnp.ones_like(u)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformTimes(Fixed):
  """All times are equally likely."""

  def at(self, process: gaussian.Process, u: jax.Array) -> jax.Array:
    """Returns the time at the quantile u."""
    return process.snap(u)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitNormal(Fixed):
  """Most times lie around the middle.

  mean, std: of logit t = ln(t / (1 - t)).
  """

  mean: float = 0.0
  std: core.Positive = 1.0

  def at(self, process: gaussian.Process, u: jax.Array) -> jax.Array:
    """Returns the time at the quantile u."""
    logit = self.mean + self.std * jax.scipy.special.ndtri(u)
    return process.visit(jax.nn.sigmoid(logit))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogNormal(Fixed):
  """Most times lie around one noise level, whatever the process.

  mean, std: of ln(sigma/alpha).
  """

  mean: float = -1.2
  std: core.Positive = 1.2

  def at(self, process: gaussian.Process, u: jax.Array) -> jax.Array:
    """Returns the time at the quantile u."""
    # lambda is -ln(sigma/alpha).
    lam = -self.mean - self.std * jax.scipy.special.ndtri(u)
    return process.visit(process.time(lam))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportanceTimes:
  """Times of large losses are drawn more often.

  The times lie in equal bins. Each bin remembers its last losses; all bins are equally likely until
  each of them has a full memory.

  bins: number of bins, at most the number of states of a chain.
  last: number of losses that a bin remembers.
  floor: share of the draws that stays uniform.
  """

  bins: core.Size = 100
  last: core.Size = 10
  floor: core.Fraction = 0.001

  def start(self) -> dict[str, jax.Array]:
    """Returns the initial memory: no losses [bins, last], and how many were seen [bins]."""
    return {
      "losses": jnp.zeros((self.bins, self.last)),
      "seen": jnp.zeros(self.bins, jnp.int32),
    }

  def probabilities(self, memory: dict[str, jax.Array]) -> jax.Array:
    """Returns the probability of each bin, [bins]."""
    root = jnp.sqrt(jnp.mean(memory["losses"] ** 2, axis=1))
    p = (1 - self.floor) * root / jnp.maximum(jnp.sum(root), 1e-30) + self.floor / self.bins

    ready = jnp.all(memory["seen"] >= self.last) & (jnp.sum(root) > 0)
    return jnp.where(ready, p, 1 / self.bins)

  def _bin(
    self, u: jax.Array, memory: dict[str, jax.Array]
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the bin of u, the place of u within it in [0, 1), and the bin's probability."""
    p = self.probabilities(memory)
    ends = jnp.cumsum(p)
    i = jnp.minimum(jnp.searchsorted(ends, u, side="right"), self.bins - 1)

    # ends[i] is where bin i stops; rounding may put u just outside.
    within = jnp.clip((u - ends[i]) / p[i] + 1, 0, 1 - 1e-6)
    return i, within, p[i]

  def __call__(
    self, process: gaussian.Process, u: jax.Array, memory: dict[str, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    i, within, p = self._bin(u, memory)
    return process.snap((i + within) / self.bins), 1 / (self.bins * p)

  def learn(
    self, u: jax.Array, loss: jax.Array, memory: dict[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """Returns the memory after the losses [B] at the times that it chose for u [B]."""

    # One loss after the other, since several may fall into one bin.
    def one(memory, pair):
      i, loss = pair
      losses = memory["losses"]
      seen = memory["seen"]

      # The new loss takes the place of the bin's oldest.
      losses = losses.at[i, seen[i] % self.last].set(loss)
      return {"losses": losses, "seen": seen.at[i].add(1)}, None

    i, _, _ = self._bin(u, memory)
    return jax.lax.scan(one, memory, (i, loss))[0]


TIMES = {
  "uniform": UniformTimes,
  "logit_normal": LogitNormal,
  "log_normal": LogNormal,
  "importance": ImportanceTimes,
}
