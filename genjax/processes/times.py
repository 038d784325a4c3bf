"""At which times training looks: quantile functions, from u in [0, 1) to t.

    uniform       t = u
    logit_normal  logit t ~ N(mean, std^2)                    Esser et al. 2024, arXiv:2403.03206
    log_normal    ln(sigma/alpha) ~ N(mean, std^2)           Karras et al. 2022, arXiv:2206.00364
    importance    p(t) prop. to sqrt(E[loss(t)^2]), losses divided by p(t), so that their mean is
                  still that of uniform times             Nichol & Dhariwal 2021, arXiv:2102.09672

The first three leave the loss as it is: what they look at more often counts more. A process rounds
every time to one of its own.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core


class Fixed:
  """A distribution that does not learn: `at` is its quantile function."""

  def start(self) -> dict[str, jax.Array]:
    """What it remembers from step to step."""
    return {}

  def __call__(self, process, u: jax.Array, memory) -> tuple[jax.Array, jax.Array]:
    """(times, what their losses are multiplied with), both of u's shape."""
    return self.at(process, u), jnp.ones_like(u)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformTimes(Fixed):
  def at(self, process, u):
    return process.snap(u)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogitNormal(Fixed):
  mean: float = 0.0
  std: core.Positive = 1.0

  def at(self, process, u):
    return process.visit(jax.nn.sigmoid(self.mean + self.std * jax.scipy.special.ndtri(u)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogNormal(Fixed):
  mean: float = -1.2
  std: core.Positive = 1.2

  def at(self, process, u):
    return process.visit(process.time(-self.mean - self.std * jax.scipy.special.ndtri(u)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportanceTimes:
  """Times in equal bins, each with its last losses; uniform until every bin has them all.

  bins: as many as the chain has states, or fewer. last: losses remembered of each.
  floor: share of the draws that stays uniform.
  """

  bins: core.Size = 100
  last: core.Size = 10
  floor: core.Fraction = 0.001

  def start(self):
    return {
      "losses": jnp.zeros((self.bins, self.last)),
      "seen": jnp.zeros(self.bins, jnp.int32),
    }

  def probabilities(self, memory) -> jax.Array:
    """[bins]."""
    root = jnp.sqrt(jnp.mean(memory["losses"] ** 2, axis=1))
    p = (1 - self.floor) * root / jnp.maximum(jnp.sum(root), 1e-30) + self.floor / self.bins
    ready = jnp.all(memory["seen"] >= self.last) & (jnp.sum(root) > 0)
    return jnp.where(ready, p, 1 / self.bins)

  def _bin(self, u, memory):
    """The bin of u, how far into it u lies, and the bin's probability."""
    p = self.probabilities(memory)
    ends = jnp.cumsum(p)
    i = jnp.minimum(jnp.searchsorted(ends, u, side="right"), self.bins - 1)
    return i, jnp.clip((u - ends[i]) / p[i] + 1, 0, 1 - 1e-6), p[i]

  def __call__(self, process, u, memory):
    i, within, p = self._bin(u, memory)
    return process.snap((i + within) / self.bins), 1 / (self.bins * p)

  def learn(self, u, loss, memory):
    """Its memory after losses [B] at the times that it chose for u [B]."""

    def one(memory, pair):
      i, loss = pair
      losses, seen = memory["losses"], memory["seen"]
      losses = losses.at[i, seen[i] % self.last].set(loss)
      return {"losses": losses, "seen": seen.at[i].add(1)}, None

    return jax.lax.scan(one, memory, (self._bin(u, memory)[0], loss))[0]


TIMES = {
  "uniform": UniformTimes,
  "logit_normal": LogitNormal,
  "log_normal": LogNormal,
  "importance": ImportanceTimes,
}
