"""Gaussian mixture by expectation maximisation (Dempster, Laird & Rubin 1977), batch or stepwise.

    p(x) = sum_k pi_k N(x; mu_k, S_k)                                                        (1)
    E    r_k(x) = pi_k N(x; mu_k, S_k) / p(x)                                                (2)
         s = mean over the batch of (r_k, r_k y, r_k y y^T),   y = x - c                     (3)
         T <- (1 - rho) T + rho s,   rho = (2 + step)^(-power)                               (4)
    M    pi_k = T0_k,  m_k = T1_k / T0_k,  mu_k = c + m_k,
         S_k = T2_k / T0_k - m_k m_k^T + floor I                                             (5)

With power = 0, rho is 1 and each step is plain EM on its batch; if the batch is the whole data set,
the likelihood never falls. With 0.5 < power <= 1 this is the stepwise EM of Cappe &
Moulines (2009), which converges on small batches too; rho is that of Liang & Klein (2009).

The constant c is the mean of the first batch. It keeps the difference in (5) from losing digits
when the data are far from 0.

There is no objective: all work is done in `refresh`. T and c are free state in the buffers.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianMixture:
  """Gaussian mixture with one parameter group, "mixture".

  The group holds log_pi [K], mu [K, D] and chol [K, D, D], the lower Cholesky factors of S_k.

  components: K.
  power: the exponent of the step size rho in (4).
  floor: added to every variance in (5).
  """

  spec: core.DataSpec
  components: core.Size = 8
  power: core.Fraction = 0.0
  floor: core.Positive = 1e-4
  objectives = ()
  pretrained = ()
  conditions = ()

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns a mixture that starts on the batch, or a loaded one, with its statistics T."""
    x = _flat(batch["x"])
    params = loaded["mixture"][0] if "mixture" in loaded else self._start(key, x)

    # T of the mixture is (5) solved for T, so that a loaded mixture goes on where it was.
    centre = jnp.mean(x, axis=0)
    weight = jnp.exp(params["log_pi"])
    m = params["mu"] - centre
    second = params["chol"] @ params["chol"].mT + m[:, :, None] * m[:, None]  # [K, D, D]
    total = (weight, weight[:, None] * m, weight[:, None, None] * second)
    return {"mixture": params}, {"statistics": total, "centre": centre}

  def _start(self, key: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
    """Returns a mixture for x [B, D]: means by k-means++, and the data's covariance for all."""
    first, *keys = jax.random.split(key, self.components)
    means = [x[jax.random.randint(first, (), 0, len(x))]]
    for k in keys:
      # k-means++ draws a point with probability proportional to its squared distance from the
      # nearest mean so far.
      square = jnp.sum((x[:, None] - jnp.stack(means)) ** 2, -1)  # [B, means so far]
      gap = jnp.min(square, 1)
      means.append(x[jax.random.categorical(k, jnp.log(gap))])

    cov = jnp.atleast_2d(jnp.cov(x.T)) + self.floor * jnp.eye(x.shape[1])
    return {
      "log_pi": jnp.full(self.components, -math.log(self.components)),
      "mu": jnp.stack(means),
      "chol": jnp.broadcast_to(jnp.linalg.cholesky(cov), (self.components, *cov.shape)),
    }

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Makes one EM step, and logs the mean of -log p(x) over the batch before it, in nats."""
    x = _flat(batch["x"])

    # Responsibilities r_k(x), eq. 2.
    joint = self._joint(params, x)  # [B, K]
    log_p = jax.nn.logsumexp(joint, 1)
    r = jnp.exp(joint - log_p[:, None])

    # Statistics of the batch, eq. 3, and their running mean, eq. 4. In the default precision of
    # accelerators the second moments would lose too many digits.
    y = x - buffers["centre"]
    mean = lambda *factors: jnp.einsum(*factors, precision="highest") / len(x)
    new = (
      mean("nk->k", r),
      mean("nk,nd->kd", r, y),
      mean("nk,nd,ne->kde", r, y, y),
    )
    rho = (2.0 + step) ** -self.power
    total = jax.tree.map(lambda t, s: (1 - rho) * t + rho * s, buffers["statistics"], new)

    # The mixture of these statistics, eq. 5.
    weight = total[0] + 1e-8  # keeps a component finite that has lost all its examples
    m = total[1] / weight[:, None]
    cov = total[2] / weight[:, None, None] - m[:, :, None] * m[:, None]
    chol = jnp.linalg.cholesky(cov + self.floor * jnp.eye(x.shape[1]))
    new = {"log_pi": jnp.log(weight), "mu": buffers["centre"] + m, "chol": chol}

    params = {**params, "mixture": new}
    buffers = {**buffers, "statistics": total}
    return params, buffers, {"mixture/nats": -jnp.mean(log_p)}

  def _joint(self, params: core.Params, x: jax.Array) -> jax.Array:
    """Returns log pi_k + log N(x; mu_k, S_k) for x [B, D]: [B, K]."""
    p = params["mixture"]
    # L^-1 (x - mu), whose squared norm is the Mahalanobis distance, since S = L L^T.
    whiten = lambda mu, chol: jax.scipy.linalg.solve_triangular(chol, (x - mu).T, lower=True)
    white = jax.vmap(whiten)(p["mu"], p["chol"])  # [K, D, B]

    log_det = jnp.sum(jnp.log(jnp.diagonal(p["chol"], axis1=1, axis2=2)), 1)
    constant = x.shape[1] / 2 * math.log(2 * math.pi)
    return p["log_pi"] - log_det - constant - jnp.sum(white**2, 1).T / 2

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """The exact log-likelihood, "density"."""
    return {"density": core.Likelihood(core.EXACT, self.log_prob)}

  def log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns log p(x) of equation (1), [B] nats."""
    return jax.nn.logsumexp(self._joint(params, _flat(batch["x"])), 1)

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event], one example for each of keys [N]."""
    p = params["mixture"]
    which, noise = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)

    k = jax.vmap(lambda key: jax.random.categorical(key, p["log_pi"]))(which)  # [N]
    z = core.draw(noise, jax.random.normal, p["mu"].shape[1:])  # [N, D]
    x = p["mu"][k] + jnp.einsum("nde,ne->nd", p["chol"][k], z)
    return x.reshape(len(keys), *self.spec.shape)


def _flat(x: jax.Array) -> jax.Array:
  """Returns x [B, *event] as [B, D]."""
  return jnp.asarray(x).reshape(len(x), -1)
