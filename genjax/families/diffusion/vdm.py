"""Variational diffusion (Kingma et al. 2021, arXiv:2107.00630): likelihood, and the schedule.

The loss is the bound on the likelihood itself, in bits per dimension,

    -log p(x) <= KL(q(x1 | x) || N) + E[-log p(x | x_first)] + E_t[-lambda'(t) |eps - eps_hat|^2]
                 prior                reconstruction           diffusion                      (1)

with lambda = log(alpha/sigma). In continuous time its value does not depend on how gamma =
-2 lambda gets from one end to the other (paper, section 5.1), so three groups are trained:

    denoiser   by (1)
    ends       gamma_0 and gamma_1, by (1): the first two terms depend on them
    schedule   the shape of gamma between them, by the square of the diffusion term: it has the same
               mean for all shapes, so its variance over t falls            (appendix I.2)

Sampling, guidance and likelihoods are those of diffusion.py with the schedule as it was learnt.
"""

import copy
import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import diffusion
from genjax.processes import learned, weightings
from genjax.samplers import grids, likelihood, solvers


@dataclasses.dataclass(frozen=True, kw_only=True)
class VDM(diffusion.Diffusion):
  """Groups: "denoiser", "ends", "schedule", and those that guidance needs."""

  process: core.Process = learned.Learned()
  sampler: core.Sampler = solvers.Ancestral(steps=250)
  prediction: str = "v"
  stratified: bool = True

  def _conflicts(self):
    fixed = (
      ("weighting", weightings.Simple()), ("uncertainty", 0), ("learn_variance", False),
      ("times", type(self).times), ("coupling", type(self).coupling), ("source", type(self).source),
    )  # fmt: skip
    return [
      *super()._conflicts(),
      (not isinstance(self.process, learned.Learned), "vdm: the process must be 'learned'"),
      (not isinstance(self.sampler.grid, grids.UniformGrid),
       "vdm: sampler.grid must be 'uniform', that of the schedule that is learnt"),
      *((getattr(self, name) != value, f"vdm: the bound leaves no choice of {name}")
        for name, value in fixed),
    ]  # fmt: skip

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (
      core.Objective("denoiser", ("denoiser", "ends"), self.loss),
      core.Objective("schedule", ("schedule",), self.variance),
    )

  def init(self, key, batch, loaded):
    params, buffers = super().init(key, batch, loaded)
    ends, shape = self.process.weights()
    new = {"ends": {"gamma": ends}, "schedule": shape}
    return {**params, **{g: loaded[g][0] if g in loaded else new[g] for g in new}}, buffers

  def bound_to(self, params) -> "VDM":
    """The same model with the schedule that the parameters describe."""
    bound = copy.copy(self)  # its fields have been checked, and traced ones cannot be
    process = self.process.bound(params["ends"]["gamma"], params["schedule"])
    object.__setattr__(bound, "process", process)
    return bound

  def loss(self, params, buffers, batch, key, step):
    """Equation (1) in bits per dimension, mean over the batch."""
    end_key, key = jax.random.split(key)
    model, x = self.bound_to(params), batch["x"]
    nats = likelihood.end_nats(model.process, x, end_key, self.spec)
    nats["diffusion"], u, buffers = model.diffusion_nats(params, buffers, batch, key)
    bits = {name: -value / (x[0].size * math.log(2)) for name, value in nats.items()}
    logs = {name: jnp.mean(value) for name, value in bits.items()}
    logs |= diffusion.by_noise_level(bits["diffusion"], u)
    logs |= dict(zip(("gamma_0", "gamma_1"), params["ends"]["gamma"]))
    return sum(map(jnp.mean, bits.values())), (buffers, logs)

  def variance(self, params, buffers, batch, key, step):
    """The mean square of the diffusion term, in bits per dimension."""
    model = self.bound_to(params)
    nats, _, _ = model.diffusion_nats(params, buffers, batch, key)
    return jnp.mean((nats / (batch["x"][0].size * math.log(2))) ** 2), (buffers, {})

  def diffusion_nats(self, params, buffers, batch, key):
    """(minus the last term of (1) [B], the u of its times, buffers)."""
    t_key, eps_key, label_key, guess_key, dropout_key = jax.random.split(key, 5)
    x0 = batch["x"]
    u = self._uniform(t_key, len(x0))
    t, eps = self.process.snap(u), jax.random.normal(eps_key, x0.shape)
    xt, target = self._example(x0, eps, t, eps_key)
    cond = self._drop(label_key, core.given(self, batch), len(x0))
    cond = self._guess(params, buffers, xt, t, cond, guess_key)
    out, _, buffers = self._network(params, buffers, xt, t, cond, train=True, key=dropout_key)
    error = jnp.sum((out - target) ** 2, range(1, x0.ndim))
    return -weightings.LikelihoodWeighting()(self.process, self.prediction, t) * error, u, buffers

  def trajectory(self, params, buffers, keys, cond, frames):
    return super(VDM, self.bound_to(params)).trajectory(params, buffers, keys, cond, frames)

  def flow_log_prob(self, params, buffers, batch, key):
    return super(VDM, self.bound_to(params)).flow_log_prob(params, buffers, batch, key)

  def bound(self, params, buffers, batch, key):
    return super(VDM, self.bound_to(params)).bound(params, buffers, batch, key)
