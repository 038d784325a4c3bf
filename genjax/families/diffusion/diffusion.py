"""Diffusion, score and flow matching: any process, prediction, weighting, times and coupling.

One loss trains them all (Ho, Jain & Abbeel 2020, arXiv:2006.11239; Song et al. 2021,
arXiv:2011.13456; Kingma et al. 2021, arXiv:2107.00630; Karras et al. 2022, arXiv:2206.00364;
Lipman et al. 2023, arXiv:2210.02747). At a time t, noisy data are xt = alpha(t) x0 + sigma(t) eps.
The network's output is compared with the target a(t) x0 + b(t) eps, where gaussian.py gives the
row (a, b) for each prediction: x0, eps, v, score, velocity, F and mu.

    L = E_{t, x0, eps} w(t) || out(xt/std(xt), c_noise(t)) - (a(t) x0 + b(t) eps) ||^2 / D       (1)

    process      ddpm        vp, ve, ...    edm            cond_ot, cosine, polynomial
    prediction   eps         score          F              velocity
    weighting    simple      snr            simple         simple
    times        uniform     uniform        log_normal     uniform, logit_normal

The columns are DDPM (its eq. 14), the score SDEs, EDM and flow matching as published. In sampling,
the output is solved for the pair (x0, eps), and a solver walks xt from t = 1 to t = 0. The loss is
logged per noise level: "loss@q" is the mean over the eighth of the training times around their
quantile q.

What may be added to (1):

    uncertainty      L = E [ w(t) err^2 / e^u(t) + u(t) ]: a linear layer u learns the log of the
                     loss at each noise level, so that all levels count alike
                                                     Karras et al. 2024, arXiv:2312.02696, eq. 20
    learn_variance   the network also predicts where between its bounds the variance of a step back
                     lies; it is trained by its part of the bound: L + 0.001 T (step's nats / D)
                                            Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15, 16
    self_condition   the network sees its previous x0 beside xt; in training, half of the examples
                     see a first guess                        Chen et al. 2023, arXiv:2208.04202
    source           another distribution than N(0, I) as the noise of flow matching
    reflow           x0 is where this sampler takes eps with the network of the group "teacher":
                     training pairs from a flow trained before   Liu et al. 2023, arXiv:2209.03003
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.distributions import sources
from genjax.families.diffusion import conflicts, fields, noise_levels, told
from genjax.networks import mlp
from genjax.networks.layers import conditioning
from genjax.processes import chains, couplings, gaussian, weightings
from genjax.processes import times as times_lib
from genjax.samplers import guidance, likelihood, multistep, solvers

# The weight of the loss of learn_variance, lambda of Nichol & Dhariwal.
VARIATIONAL = 0.001


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusion:
  """A denoising network with its process, loss and sampler.

  Parameter groups: "denoiser"; "uncertainty" with `uncertainty`; "teacher" with `reflow`; and the
  models that guidance brings.

  spec: what the data are.
  network: module (xt/std(xt) [B, *event], c_noise(t) [B], cond) -> [B, *event].
  process: how data are corrupted.
  sampler: the solver that draws.
  guidance: how the field that the solver follows is guided.
  prediction: what the network predicts, a name in gaussian.ROWS.
  weighting: w(t) of (1).
  times: distribution of the training times.
  coupling: which noise goes with which example.
  source: distribution of the noise.
  uncertainty: number of sinusoids of t that u is linear in; 0 leaves it out.
  learn_variance: see above; needs network.out of twice the answer.
  self_condition, reflow: see above.
  hide: share of the examples whose conditions training hides, for guidance without them.
  stratified: whether the quantiles of a batch's times are spread evenly over [0, 1).
  clip: whether sampling cuts the predicted x0 to the data's range.
  flow_steps, probes, terms: settings of the likelihoods, see samplers/likelihood.py.
  Raises UserError for what does not fit together.
  """

  spec: core.DataSpec
  network: core.Network
  process: core.Process = chains.DDPM()
  sampler: core.Sampler = multistep.UniPC(steps=10)
  guidance: core.Guidance = guidance.Unguided()
  prediction: str = "eps"
  weighting: core.Weighting = weightings.Simple()
  times: core.Times = times_lib.UniformTimes()
  coupling: core.Coupling = couplings.Independent()
  source: core.NoiseSource = sources.Normal()
  uncertainty: core.Count = 0
  learn_variance: bool = False
  self_condition: bool = False
  reflow: bool = False
  hide: core.Fraction = 0.0
  stratified: bool = False
  clip: bool = True
  flow_steps: core.Size = 32
  probes: core.Count = 1
  terms: core.Size = 16

  # Fields that may be changed after training, see registry.view.
  view = ("sampler", "guidance", "clip", "flow_steps", "probes", "terms")

  @staticmethod
  def trains_with(spec: dict[str, Any]) -> tuple[str, ...]:
    """Returns the fields of `view` that training uses too: with reflow, the sampler."""
    return ("sampler",) * bool(spec.get("reflow"))

  def __post_init__(self):
    self.process.check(self.prediction)
    solvers.times(self.sampler, self.process)  # raises UserError if there is no such grid
    for wrong, why in self._conflicts():
      if wrong:
        raise core.UserError(why)

  def _conflicts(self) -> list[tuple[bool, str]]:
    """Returns pairs: whether a combination of fields is wrong, and what to do about it."""
    return conflicts.of(self)

  @property
  def pretrained(self) -> tuple[str, ...]:
    """The groups of guidance, and the teacher of reflow."""
    return (*self.guidance.networks, *["teacher"] * self.reflow)

  @property
  def conditions(self) -> tuple[str, ...]:
    """The fields that the network is told, and the label for classifier guidance."""
    # The network may be told the label as well; dict.fromkeys keeps one of the two.
    label = ("label",) * isinstance(self.guidance, guidance.ClassifierGuidance)
    return tuple(dict.fromkeys([*conditioning.names(self.network.conditions), *label]))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """The loss (1), for the denoiser and the uncertainty."""
    trained = ("denoiser", "uncertainty") if self.uncertainty else ("denoiser",)
    return (core.Objective("denoiser", trained, self.loss),)

  @functools.cached_property
  def log_loss(self) -> mlp.MLP:
    """The network u of the module docstring, linear in sinusoids of the time."""
    return mlp.MLP(widths=(), out=1, time_width=self.uncertainty)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict
  ) -> tuple[core.Params, core.Buffers]:
    """Returns initial params and buffers; buffers["times"] is the memory of the times, if any."""
    x = batch["x"]
    t = jnp.ones(len(x))
    cond = told.first(self, x, core.given(self, batch))
    nothing = x.reshape(len(x), -1)[:, :0]  # [B, 0], since u sees only the time

    modules = {"denoiser": (self.network, (x, t, cond))}
    if self.uncertainty:
      modules["uncertainty"] = (self.log_loss, (nothing, t))
    if self.reflow:
      # The teacher has the architecture of the denoiser.
      modules["teacher"] = modules["denoiser"]
    modules |= {group: (net, (x, t, cond)) for group, net in self.guidance.networks.items()}

    memory = self.times.start()
    params = {}
    buffers = {"times": memory} if memory else {}
    for group, (module, args) in modules.items():
      params[group], buffers[group] = loaded.get(group) or core.init(module, key, *args)
    return params, buffers

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Changes nothing."""
    return params, buffers, {}

  def loss(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, tuple[core.Buffers, core.Metrics]]:
    """Returns (1) and what is added to it, per dimension, the mean over the batch."""
    t_key, eps_key, pair_key, *keys = jax.random.split(key, 7)
    dropout_key, label_key, guess_key, bridge_key = keys
    cond = core.given(self, batch)

    u = noise_levels.quantiles(t_key, len(batch["x"]), self.stratified)
    # `scale` undoes the preference of times that are drawn for their large loss; 1 for the others.
    t, scale = self.times(self.process, u, buffers.get("times"))  # [B]
    x0, eps = self._pairs(params, buffers, batch["x"], cond, eps_key, pair_key)
    xt, target = self._example(x0, eps, t, bridge_key)  # [B, *event]

    hidden = told.partly_hidden(self, label_key, cond, len(x0))
    cond = told.guessed(self, params, buffers, xt, t, hidden, guess_key)
    out, fraction, buffers = self.answer(params, buffers, xt, t, cond, train=True, key=dropout_key)

    # Equation (1), for each example.
    error = jnp.mean((out - target) ** 2, range(1, x0.ndim))  # [B]
    loss = self.weighting(self.process, self.prediction, t) * error

    # The times and the logs look at this loss, before anything is added to it.
    if "times" in buffers:
      memory = self.times.learn(u, jax.lax.stop_gradient(loss), buffers["times"])
      buffers = {**buffers, "times": memory}
    logs = noise_levels.means(loss, u)

    # The additions of the module docstring.
    if self.uncertainty:
      u_t = self._log_loss(params, buffers, t)
      loss = loss * jnp.exp(-u_t) + u_t
    if self.learn_variance:
      # The mean of the step is held fixed: only the variance learns from its nats.
      mean, _ = gaussian.solve(self.process, self.prediction, jax.lax.stop_gradient(out), xt, t)
      nats = likelihood.step_nats(self.process, x0, t, mean, fraction)
      loss += VARIATIONAL * self.process.steps * nats / x0[0].size
    return jnp.mean(scale * loss), (buffers, logs)

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event] from keys [N].

    The draws lie in the data's range if `clip` is set and the solver's last step returns an x0.
    """
    return self.trajectory(params, buffers, keys, cond, 1)[-1]

  def trajectory(
    self,
    params: core.Params,
    buffers: core.Buffers,
    keys: jax.Array,
    cond: core.Batch,
    frames: int,
  ) -> jax.Array:
    """Returns the draw of `sample` at `frames` equally spaced steps, [frames, N, *event]."""
    # One key for the start and one for the solver, for each example.
    first, rest = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    x = self.process.std(1.0) * core.draw(first, self.source.sample, self.spec.shape)
    grid = solvers.times(self.sampler, self.process)
    field = self.field(params, buffers, cond)
    return solvers.integrate(self.sampler, field, self.process, grid, x, rest, frames)

  def field(
    self, params: core.Params, buffers: core.Buffers, cond: core.Batch
  ) -> solvers.VectorField:
    """Returns the field that the solver follows: guided, then clipped.

    It gives the pair (x0, eps) that the network believes in at xt [N, *event] and a scalar t.
    """
    return fields.guided(self, params, buffers, cond)

  @property
  def suffix(self) -> str:
    """The end of the names of likelihoods, such as "-given-label"."""
    return self.spec.suffix(conditioning.names(self.network.conditions))

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """Log p along the flow and by the bound, given the conditions; {} unless noise is normal."""
    if not isinstance(self.source, sources.Normal):
      return {}

    given = self.suffix
    # Random probes make log p an unbiased estimate; dequantization makes it a lower bound.
    exact = core.ESTIMATE if self.probes else core.EXACT
    kind = core.LOWER_BOUND if self.spec.levels else exact
    total = lambda *args: sum(self.bound(*args).values())
    return {
      f"flow{given}": core.Likelihood(kind, self.flow_log_prob),
      f"elbo{given}": core.Likelihood(core.LOWER_BOUND, total, self.bound),
    }

  def flow_log_prob(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> jax.Array:
    """Returns log p(x) along the probability flow, [B] nats; dequantizes data on levels first."""
    noise, trace = jax.random.split(key)
    x, nats = likelihood.dequantize(batch["x"], noise, self.spec)
    return self._flow(params, buffers, batch, x, trace) + nats

  def bound(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch, key: jax.Array
  ) -> dict[str, jax.Array]:
    """Returns the terms of the variational bound, {term: [B] nats}; see likelihood.Bound."""
    field = self._believed(params, buffers, batch)
    bound = likelihood.Bound(terms=self.terms)
    return bound.parts(field, self.process, batch["x"], key, self.spec)

  def _flow(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    x: jax.Array,
    key: jax.Array,
  ) -> jax.Array:
    """Returns the log-density at x [B, *event] given the batch's conditions, [B] nats."""
    flow = likelihood.Flow(steps=self.flow_steps, probes=self.probes)
    return flow.log_prob(self._believed(params, buffers, batch), self.process, x, key)

  def _believed(
    self, params: core.Params, buffers: core.Buffers, batch: core.Batch
  ) -> solvers.VectorField:
    """Returns the field of the denoiser without guidance or clipping."""
    return fields.plain(self, params, buffers, core.given(self, batch))

  def _pairs(
    self,
    params: core.Params,
    buffers: core.Buffers,
    x0: jax.Array,
    cond: core.Batch,
    eps_key: jax.Array,
    pair_key: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns coupled pairs (x0, eps), each [B, *event]; with reflow, the teacher makes x0."""
    eps = self.source.sample(eps_key, x0.shape)
    if not self.reflow:
      return x0, self.coupling(pair_key, x0, eps, cond)

    # The teacher's draws from eps, without guidance or clipping.
    field = fields.plain(self, params, buffers, cond, group="teacher")
    grid = solvers.times(self.sampler, self.process)
    keys = jax.random.split(pair_key, len(x0))
    start = self.process.std(1.0) * eps
    return solvers.integrate(self.sampler, field, self.process, grid, start, keys, 1)[-1], eps

  def _example(
    self, x0: jax.Array, eps: jax.Array, t: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns (xt, target of the network), each [B, *event]; `key` is for a bridge."""
    xt = gaussian.corrupt(self.process, x0, eps, t)
    target = gaussian.project(self.process, self.prediction, x0, eps, t)
    if not getattr(self.process, "bridge", 0):
      return xt, target

    # With a bridge the prediction is the velocity (see conflicts.py), which the bridge changes too.
    detour, turn = self.process.detour(t, jax.random.normal(key, x0.shape))
    return xt + detour, target + turn

  def answer(
    self,
    params: core.Params,
    buffers: core.Buffers,
    xt: jax.Array,
    t: jax.Array,
    cond: core.Batch,
    network: Any = None,
    group: str = "denoiser",
    **training: Any,
  ) -> tuple[jax.Array, jax.Array | None, core.Buffers]:
    """Returns (output [B, *event], the variance's fraction or None, buffers) at times t [B]."""
    args = params, buffers, *self.process.seen(xt, t), cond
    out, buffers = core.call(network or self.network, group, *args, **training)
    if not self.learn_variance:
      return out, None, buffers

    # Half of the channels are the output. Of the others, -1 stands for fraction 0, and 1 for 1.
    out, fraction = jnp.split(out.reshape(*xt.shape[:-1], 2 * xt.shape[-1]), 2, axis=-1)
    return out, (fraction + 1) / 2, buffers

  def _log_loss(self, params: core.Params, buffers: core.Buffers, t: jax.Array) -> jax.Array:
    """Returns u(t), [B]."""
    nothing = jnp.zeros((len(t), 0))
    c_noise = self.process.c_noise(t)
    return core.call(self.log_loss, "uncertainty", params, buffers, nothing, c_noise)[0][:, 0]
