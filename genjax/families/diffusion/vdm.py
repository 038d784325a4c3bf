"""Variational diffusion models: the likelihood is the loss, and the schedule is learnt.

Kingma et al. 2021, arXiv:2107.00630. The loss is the bound on the likelihood itself, in bits per
dimension,

    -log p(x) <= KL(q(x1 | x) || N) + E[-log p(x | x_first)] + E_t[-lambda'(t) |eps - eps_hat|^2]
                 prior                reconstruction           diffusion                      (1)

with lambda = log(alpha/sigma). In continuous time its value does not depend on how gamma =
-2 lambda gets from one end to the other (section 5.1), so three groups are trained:

    denoiser   by (1)
    ends       gamma_0 and gamma_1, by (1): its first two terms depend on them
    schedule   the shape of gamma between its ends, by the square of the diffusion term: the term
               has the same mean for all shapes, so a smaller mean square is a smaller variance
               over t                                                       (appendix I.2)

Sampling, guidance and likelihoods are those of diffusion.py, with the learnt schedule.
"""

import copy
import dataclasses
import math

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import diffusion, noise_levels, told
from genjax.processes import learned, weightings
from genjax.samplers import grids, likelihood, solvers


@dataclasses.dataclass(frozen=True, kw_only=True)
class VDM(diffusion.Diffusion):
  """A diffusion model that is trained by (1).

  Parameter groups: "denoiser"; "ends" with the entry "gamma" [2]; "schedule", the weights of
  learned.py; and the models that guidance brings.
  Raises UserError for a process other than 'learned', for a grid other than 'uniform', for another
  value of what (1) fixes (weighting, uncertainty, learn_variance, times, coupling, source,
  reflow), and where Diffusion does.
  """

  process: core.Process = learned.Learned()
  sampler: core.Sampler = solvers.Ancestral(steps=250)
  prediction: str = "v"
  stratified: bool = True

  def _conflicts(self) -> list[tuple[bool, str]]:
    # What (1) leaves no choice of; type(self) has the default values of the fields.
    fixed = (
      ("weighting", weightings.Simple()), ("uncertainty", 0), ("learn_variance", False),
      ("times", type(self).times), ("coupling", type(self).coupling), ("source", type(self).source),
      ("reflow", False),
    )  # fmt: skip
    # First, so that nobody is told how to repair what this model cannot have.
    return [
      (not isinstance(self.process, learned.Learned), "vdm: the process must be 'learned'"),
      (not isinstance(self.sampler.grid, grids.UniformGrid),
       "vdm: sampler.grid must be 'uniform', which does not depend on the schedule"),
      *((getattr(self, name) != value,
         f"vdm: the bound leaves no choice of {name}; leave it at its default")
        for name, value in fixed),
      *super()._conflicts(),
    ]  # fmt: skip

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """The bound (1), and the variance of its diffusion term."""
    return (
      core.Objective("denoiser", ("denoiser", "ends"), self.loss),
      core.Objective("schedule", ("schedule",), self.variance),
    )

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict
  ) -> tuple[core.Params, core.Buffers]:
    """Returns initial params and buffers; the schedule starts nearly linear in gamma."""
    params, buffers = super().init(key, batch, loaded)
    ends, shape = self.process.weights()
    new = {"ends": {"gamma": ends}, "schedule": shape}
    own = {g: loaded[g][0] if g in loaded else new[g] for g in new}
    return {**params, **own}, buffers

  def bound_to(self, params: core.Params) -> "VDM":
    """Returns the same model with the schedule that the parameters describe."""
    # A copy, since the checks of a new model cannot be made on traced parameters.
    bound = copy.copy(self)
    process = self.process.bound(params["ends"]["gamma"], params["schedule"])
    object.__setattr__(bound, "process", process)
    return bound

  def loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns (1) in bits per dimension, the mean over the batch."""
    end_key, key = jax.random.split(key)
    model = self.bound_to(params)
    x = batch["x"]

    # The three terms of (1) as log-likelihood, {term: [B]}.
    nats = likelihood.end_nats(model.process, x, end_key, self.spec)
    nats["diffusion"], u, buffers = model.diffusion_nats(params, buffers, batch, key)

    bits = {name: -value / (x[0].size * math.log(2)) for name, value in nats.items()}
    logs = {name: jnp.mean(value) for name, value in bits.items()}
    logs |= noise_levels.means(bits["diffusion"], u)
    logs |= dict(zip(("gamma_0", "gamma_1"), params["ends"]["gamma"]))
    return sum(map(jnp.mean, bits.values())), (buffers, logs)

  def variance(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns the mean square of the diffusion term of (1), in bits per dimension."""
    model = self.bound_to(params)
    nats, _, _ = model.diffusion_nats(params, buffers, batch, key)
    # As in `loss`, but the sign does not matter.
    bits = nats / (batch["x"][0].size * math.log(2))
    return jnp.mean(bits**2), (buffers, {})

  def diffusion_nats(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> tuple[jax.Array, jax.Array, core.Buffers]:
    """Returns minus the diffusion term of (1) at one time for each example, in nats.

    The result is (nats [B], the quantiles u [B] of the times, buffers).
    """
    t_key, eps_key, label_key, guess_key, dropout_key = jax.random.split(key, 5)
    x0 = batch["x"]  # [B, *event]

    u = noise_levels.quantiles(t_key, len(x0), self.stratified)
    t = self.process.snap(u)
    eps = jax.random.normal(eps_key, x0.shape)
    # The last key is that of a bridge, which this process does not have.
    xt, target = self._example(x0, eps, t, eps_key)

    cond = told.partly_hidden(self, label_key, core.given(self, batch), len(x0))
    cond = told.guessed(self, params, buffers, xt, t, cond, guess_key)
    out, _, buffers = self.answer(params, buffers, xt, t, cond, train=True, key=dropout_key)

    # The weight "likelihood" turns an error of any prediction into the one of (1).
    error = jnp.sum((out - target) ** 2, range(1, x0.ndim))  # [B]
    weight = weightings.LikelihoodWeighting()(self.process, self.prediction, t)
    return -weight * error, u, buffers

  # The methods below call those of Diffusion on the model with the learnt schedule.

  def trajectory(
    self,
    params: core.Params,
    buffers: core.Buffers,
    keys: jax.Array,
    cond: core.Batch,
    frames: int,
  ) -> jax.Array:
    """Returns the draw at `frames` equally spaced steps, [frames, N, *event]."""
    return super(VDM, self.bound_to(params)).trajectory(params, buffers, keys, cond, frames)

  def flow_log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns the log-density along the probability flow, [B] nats."""
    return super(VDM, self.bound_to(params)).flow_log_prob(params, buffers, batch, key)

  def bound(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> dict[str, jax.Array]:
    """Returns the terms of the variational bound, {term: [B] nats}."""
    return super(VDM, self.bound_to(params)).bound(params, buffers, batch, key)
