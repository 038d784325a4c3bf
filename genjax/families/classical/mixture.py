"""Gaussian mixture by expectation maximisation (Dempster, Laird & Rubin 1977), batch or stepwise.

    p(x) = sum_k pi_k N(x; mu_k, S_k)                                                        (1)
    E    r_k(x) = pi_k N(x; mu_k, S_k) / p(x)                                                (2)
         s = mean over the batch of (r_k, r_k y, r_k y y^T),   y = x - c                     (3)
         T <- (1 - rho) T + rho s,   rho = (2 + step)^(-power)                               (4)
    M    pi_k = T0_k,  m_k = T1_k / T0_k,  mu_k = c + m_k,
         S_k = T2_k / T0_k - m_k m_k^T + floor I                                             (5)

power = 0 is plain EM on each batch, exact and monotone when the batch is the whole data set;
0.5 < power <= 1 is the stepwise EM of Cappe & Moulines (2009), which converges on small batches,
with the rho of Liang & Klein (2009). c, the mean of the first batch, keeps (5) from losing digits.
There is no objective: all work is in `refresh`; T and c are free state in the buffers.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianMixture:
  """One group, "mixture": log_pi [K], mu [K, D], chol [K, D, D] lower triangular.

  components: K. power: of the statistics' step size. floor: added to every variance.
  """

  spec: core.DataSpec
  components: core.Size = 8
  power: core.Fraction = 0.0
  floor: core.Positive = 1e-4
  objectives = ()
  pretrained = ()
  conditions = ()

  def init(self, key, batch, loaded):
    x = _flat(batch["x"])
    params = loaded["mixture"][0] if "mixture" in loaded else self._start(key, x)
    # T of a mixture is (5) read backwards, so that a loaded one goes on where it was.
    centre = jnp.mean(x, axis=0)
    weight, m = jnp.exp(params["log_pi"]), params["mu"] - centre
    second = params["chol"] @ params["chol"].mT + m[:, :, None] * m[:, None]
    total = (weight, weight[:, None] * m, weight[:, None, None] * second)
    return {"mixture": params}, {"statistics": total, "centre": centre}

  def _start(self, key, x):
    """Means by k-means++ seeding, every covariance that of the data."""
    first, *keys = jax.random.split(key, self.components)
    means = [x[jax.random.randint(first, (), 0, len(x))]]
    for k in keys:
      gap = jnp.min(jnp.sum((x[:, None] - jnp.stack(means)) ** 2, -1), 1)
      means.append(x[jax.random.categorical(k, jnp.log(gap))])
    cov = jnp.atleast_2d(jnp.cov(x.T)) + self.floor * jnp.eye(x.shape[1])
    return {
      "log_pi": jnp.full(self.components, -math.log(self.components)),
      "mu": jnp.stack(means),
      "chol": jnp.broadcast_to(jnp.linalg.cholesky(cov), (self.components, *cov.shape)),
    }

  def refresh(self, params, buffers, batch, key, step):
    """One EM step; logs the batch's mean negative log-likelihood before it, in nats."""
    x = _flat(batch["x"])
    joint = self._joint(params, x)  # [B, K]
    log_p = jax.nn.logsumexp(joint, 1)
    r = jnp.exp(joint - log_p[:, None])
    y = x - buffers["centre"]
    mean = lambda *factors: jnp.einsum(*factors, precision="highest") / len(x)
    new = mean("nk->k", r), mean("nk,nd->kd", r, y), mean("nk,nd,ne->kde", r, y, y)
    rho = (2.0 + step) ** -self.power
    total = jax.tree.map(lambda t, s: (1 - rho) * t + rho * s, buffers["statistics"], new)
    weight = total[0] + 1e-8  # a component that has lost all examples stays finite
    m = total[1] / weight[:, None]
    cov = total[2] / weight[:, None, None] - m[:, :, None] * m[:, None]
    chol = jnp.linalg.cholesky(cov + self.floor * jnp.eye(x.shape[1]))
    new = {"log_pi": jnp.log(weight), "mu": buffers["centre"] + m, "chol": chol}
    params = {**params, "mixture": new}
    return params, {**buffers, "statistics": total}, {"mixture/nats": -jnp.mean(log_p)}

  def _joint(self, params, x):
    """log pi_k + log N(x; mu_k, S_k), [B, K]."""
    p = params["mixture"]
    whiten = lambda mu, chol: jax.scipy.linalg.solve_triangular(chol, (x - mu).T, lower=True)
    white = jax.vmap(whiten)(p["mu"], p["chol"])  # [K, D, B]
    log_det = jnp.sum(jnp.log(jnp.diagonal(p["chol"], axis1=1, axis2=2)), 1)
    constant = x.shape[1] / 2 * math.log(2 * math.pi)
    return p["log_pi"] - log_det - constant - jnp.sum(white**2, 1).T / 2

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    return {"density": core.Likelihood(core.EXACT, self.log_prob)}

  def log_prob(self, params, buffers, batch, key):
    """Equation (1): [B] nats."""
    return jax.nn.logsumexp(self._joint(params, _flat(batch["x"])), 1)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event]."""
    p = params["mixture"]
    which, noise = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    k = jax.vmap(lambda key: jax.random.categorical(key, p["log_pi"]))(which)
    z = core.draw(noise, jax.random.normal, p["mu"].shape[1:])
    x = p["mu"][k] + jnp.einsum("nde,ne->nd", p["chol"][k], z)
    return x.reshape(len(keys), *self.spec.shape)


def _flat(x):
  return jnp.asarray(x).reshape(len(x), -1)
