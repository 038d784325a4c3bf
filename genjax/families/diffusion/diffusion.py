"""Diffusion, score and flow matching: any process, prediction, weighting, times and coupling.

One loss trains them all (Ho, Jain & Abbeel 2020, arXiv:2006.11239; Song et al. 2021,
arXiv:2011.13456; Kingma et al. 2021, arXiv:2107.00630; Karras et al. 2022, arXiv:2206.00364;
Lipman et al. 2023, arXiv:2210.02747). At a time t, xt = alpha(t) x0 + sigma(t) eps, the network's
answer is compared with what it should have said (gaussian.py writes x0, eps, v, score, velocity, F
and mu as rows over the pair):

    L = E_{t, x0, eps} w(t) || out(xt/std(xt), c_noise(t)) - (a(t) x0 + b(t) eps) ||^2 / D       (1)

    process      ddpm        vp, ve, ...    edm            cond_ot, cosine, polynomial
    prediction   eps         score          F              velocity
    weighting    simple      snr            simple         simple
    times        uniform     uniform        log_normal     uniform, logit_normal

are DDPM (its eq. 14), the score SDEs, EDM and flow matching as published. Sampling: the answer is
solved for the pair (x0, eps), and a solver walks it from t = 1 to t = 0. The loss is logged per
noise level: "loss@q" is its mean over the eighth of the training times around their quantile q.

What may be added:

    uncertainty      L = E [ w(t) err^2 / e^u(t) + u(t) ]: a linear layer u learns the log of the
                     loss at each noise level, so that all count alike
                                                     Karras et al. 2024, arXiv:2312.02696, eq. 20
    learn_variance   the network also says where between its bounds the variance of a step back
                     lies, by its part of the bound: L + 0.001 T (step's nats / D)
                                            Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15, 16
    self_condition   the network sees its own last x0 beside xt, in training a first guess half of
                     the time                                 Chen et al. 2023, arXiv:2208.04202
    source           another distribution than N(0, I) to come from, in flow matching
    reflow           x0 is where the group "teacher" takes eps by this sampler: pairs that its own
                     flow has made                       Liu et al. 2023, arXiv:2209.03003
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.distributions import sources
from genjax.networks import mlp
from genjax.networks.layers import conditioning
from genjax.processes import chains, couplings, gaussian, weightings
from genjax.processes import times as times_lib
from genjax.samplers import guidance, likelihood, multistep, solvers

BINS = 8
VARIATIONAL = 0.001  # lambda of Nichol & Dhariwal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusion:
  """Groups: "denoiser", with `uncertainty` "uncertainty", and what reflow and guidance need.

  network: module (xt, c_noise(t), cond) -> [B, *event]. process: how data is corrupted.
  sampler: solver that draws; guidance: of the field it follows.
  prediction: a name in gaussian.ROWS. weighting: of the loss at each time.
  times: how often training looks at each; stratified: a batch's are spread evenly over them.
  coupling: which noise goes with which example. source: what the noise is.
  uncertainty: number of sinusoids of t that u is linear in; 0 leaves it out.
  learn_variance: needs network.out of twice the answer. self_condition, reflow: see above.
  hide: share of the examples whose conditions training hides, for guidance without them.
  clip: the predicted x0 is cut to the data's range while sampling.
  flow_steps, probes, terms: of the likelihoods; see samplers/likelihood.py.
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

  view = ("sampler", "guidance", "clip", "flow_steps", "probes", "terms")

  @staticmethod
  def trains_with(spec: dict[str, Any]) -> tuple[str, ...]:
    """What of the view belongs to training: reflow learns from the sampler's own paths."""
    return ("sampler",) * bool(spec.get("reflow"))

  def __post_init__(self):
    self.process.check(self.prediction)
    solvers.times(self.sampler, self.process)
    for wrong, why in self._conflicts():
      if wrong:
        raise core.UserError(why)

  def _conflicts(self):
    """(whether it is so, what to do about it)."""
    told, out = self.network.conditions, getattr(self.network, "out", 0)
    learned = getattr(self.sampler, "variance", "") == "learned"
    normal, noisy = isinstance(self.source, sources.Normal), solvers.stochastic(self.sampler)
    bridge = getattr(self.process, "bridge", 0)
    return [
      (hasattr(self.network, "step"), "network: it predicts tokens; use 'unet' or 'mlp'"),
      (out and not self.learn_variance,
       "network.out must be 0: a denoiser answers in the shape of the data"),
      (self.learn_variance and not isinstance(self.process, chains.Chain),
       "learn_variance=True is of the steps of a chain; use process 'ddpm' or 'ncsn'"),
      (learned and not self.learn_variance, "sampler.variance='learned' needs learn_variance=True"),
      (told and not self.coupling.conditional,
       "this coupling gives each condition its own part of the noise, which sampling does not "
       "know; use 'c2ot' with network.conditions"),
      (self.guidance.needs_null and not (told and self.hide),
       "guidance without a condition needs network.conditions and hide > 0"),
      (isinstance(self.guidance, guidance.ClassifierGuidance) and not self.spec.classes,
       "classifier guidance needs data with labels"),
      (not self.guidance.consistent and type(self.sampler) is not solvers.DDIM,
       "guidance 'cfg++' renoises in its own way, which is that of sampler 'ddim' alone"),
      (not normal and noisy,
       "source: a solver that draws noise knows only the normal one; use a deterministic solver"),
      (self.reflow and noisy, "reflow=True follows the teacher's flow: use a deterministic solver"),
      (bridge and (noisy or self.prediction != "velocity"),
       "process.bridge: it takes prediction='velocity' and a deterministic solver"),
    ]  # fmt: skip

  @property
  def pretrained(self) -> tuple[str, ...]:
    return (*self.guidance.networks, *["teacher"] * self.reflow)

  @property
  def conditions(self) -> tuple[str, ...]:
    label = ("label",) * isinstance(self.guidance, guidance.ClassifierGuidance)
    return tuple(dict.fromkeys([*conditioning.names(self.network.conditions), *label]))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    trained = ("denoiser", "uncertainty") if self.uncertainty else ("denoiser",)
    return (core.Objective("denoiser", trained, self.loss),)

  @functools.cached_property
  def log_loss(self) -> mlp.MLP:
    """u of the module docstring."""
    return mlp.MLP(widths=(), out=1, time_width=self.uncertainty)

  def init(self, key, batch, loaded):
    x, t = batch["x"], jnp.ones(len(batch["x"]))
    cond, nothing = self._start(x, core.given(self, batch)), x.reshape(len(x), -1)[:, :0]
    modules = {"denoiser": (self.network, (x, t, cond))}
    if self.uncertainty:
      modules["uncertainty"] = (self.log_loss, (nothing, t))
    if self.reflow:
      modules["teacher"] = modules["denoiser"]
    modules |= {group: (net, (x, t, cond)) for group, net in self.guidance.networks.items()}
    memory = self.times.start()
    params, buffers = {}, {"times": memory} if memory else {}
    for group, (module, args) in modules.items():
      params[group], buffers[group] = loaded.get(group) or core.init(module, key, *args)
    return params, buffers

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def loss(self, params, buffers, batch, key, step):
    """Equation (1) with what is added to it: per dimension, mean over the batch."""
    t_key, eps_key, pair_key, *keys = jax.random.split(key, 7)
    dropout_key, label_key, guess_key, bridge_key = keys
    u, cond = self._uniform(t_key, len(batch["x"])), core.given(self, batch)
    t, scale = self.times(self.process, u, buffers.get("times"))
    x0, eps = self._pairs(params, buffers, batch["x"], cond, eps_key, pair_key)
    xt, target = self._example(x0, eps, t, bridge_key)
    told = self._drop(label_key, cond, len(x0))
    cond = self._guess(params, buffers, xt, t, told, guess_key)
    out, fraction, buffers = self._network(
      params, buffers, xt, t, cond, train=True, key=dropout_key
    )
    error = jnp.mean((out - target) ** 2, range(1, x0.ndim))  # [B]
    loss = self.weighting(self.process, self.prediction, t) * error
    if "times" in buffers:
      memory = self.times.learn(u, jax.lax.stop_gradient(loss), buffers["times"])
      buffers = {**buffers, "times": memory}
    logs = by_noise_level(loss, u)
    if self.uncertainty:
      u_t = self._log_loss(params, buffers, t)
      loss = loss * jnp.exp(-u_t) + u_t
    if self.learn_variance:
      mean, _ = gaussian.solve(self.process, self.prediction, jax.lax.stop_gradient(out), xt, t)
      nats = likelihood.step_nats(self.process, x0, t, mean, fraction)
      loss += VARIATIONAL * self.process.steps * nats / x0[0].size
    return jnp.mean(scale * loss), (buffers, logs)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event], in the data's range if clipped and the solver ends in an x0."""
    return self.trajectory(params, buffers, keys, cond, 1)[-1]

  def trajectory(self, params, buffers, keys, cond, frames):
    """The same draw, seen at `frames` equally spaced steps: [frames, N, *event]."""
    first, rest = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    x = self.process.std(1.0) * core.draw(first, self.source.sample, self.spec.shape)
    grid = solvers.times(self.sampler, self.process)
    field = self.field(params, buffers, cond)
    return solvers.integrate(self.sampler, field, self.process, grid, x, rest, frames)

  def field(self, params, buffers, cond) -> solvers.VectorField:
    """What the network believes of (x0, eps) at (xt, t), t a scalar: guided, then clipped."""
    all_of_them = jnp.ones(1, bool)
    null, others = core.hidden(cond, self.spec, all_of_them), {}
    cond = self._whole(cond)
    for group, net in self.guidance.networks.items():
      others[group] = self._logits(params, buffers, net) if group == "classifier" else (
        self._answer(params, buffers, net, group).at
      )  # fmt: skip
    own = self._answer(params, buffers, self.network, "denoiser")
    guided = self.guidance(guidance.Answers(own, self.process, cond, null, others))
    if self.clip and self.spec.range:
      limits = (*self.spec.range, self.guidance.consistent)
      return guidance.clipped(guided, self.process, *limits)
    return guided

  @property
  def suffix(self) -> str:
    """What the names of likelihoods end in."""
    return self.spec.suffix(conditioning.names(self.network.conditions))

  @property
  def likelihoods(self) -> dict[str, core.Likelihood]:
    """Along the flow and by the bound; of x given what the network is told."""
    if not isinstance(self.source, sources.Normal):
      return {}
    given = self.suffix
    exact = core.ESTIMATE if self.probes else core.EXACT
    kind = core.LOWER_BOUND if self.spec.levels else exact
    total = lambda *args: sum(self.bound(*args).values())
    return {
      f"flow{given}": core.Likelihood(kind, self.flow_log_prob),
      f"elbo{given}": core.Likelihood(core.LOWER_BOUND, total, self.bound),
    }

  def flow_log_prob(self, params, buffers, batch, key):
    """[B] nats, see likelihood.Flow; data on levels are dequantized."""
    noise, trace = jax.random.split(key)
    x, nats = likelihood.dequantize(batch["x"], noise, self.spec)
    return self._flow(params, buffers, batch, x, trace) + nats

  def bound(self, params, buffers, batch, key):
    """{term: [B] nats}, see likelihood.Bound."""
    field = self._believed(params, buffers, batch)
    bound = likelihood.Bound(terms=self.terms)
    return bound.parts(field, self.process, batch["x"], key, self.spec)

  def _flow(self, params, buffers, batch, x, key):
    """The density at x [B, *event], [B] nats."""
    flow = likelihood.Flow(steps=self.flow_steps, probes=self.probes)
    return flow.log_prob(self._believed(params, buffers, batch), self.process, x, key)

  def _believed(self, params, buffers, batch):
    """The field without guidance or clipping."""
    answers = self._answer(params, buffers, self.network, "denoiser")
    return guidance.Unguided()(
      guidance.Answers(answers, self.process, core.given(self, batch), {}, {})
    )

  def _answer(self, params, buffers, network, group):
    """The field of a network, whose `at` also takes the conditions; t a scalar or [N]."""

    def at(xt, t, memory, cond):
      t = jnp.broadcast_to(t, len(xt))
      cond = cond | {k: v for k, v in memory.items() if k == "beside"}
      out, fraction, _ = self._network(params, buffers, xt, t, cond, network=network, group=group)
      x0, eps = gaussian.solve(self.process, self.prediction, out, xt, t)
      new = {"beside": self._cut(x0), "fraction": fraction}
      return x0, eps, {name: new[name] for name in memory}

    def start(xt):
      names = ["beside"] * self.self_condition + ["fraction"] * self.learn_variance
      return {name: jnp.zeros_like(xt) for name in names}

    fraction = (lambda memory: memory["fraction"]) if self.learn_variance else None
    return solvers.VectorField(start, at, fraction)

  def _pairs(self, params, buffers, x0, cond, eps_key, pair_key):
    """(x0, eps) of a batch, coupled."""
    eps = self.source.sample(eps_key, x0.shape)
    if not self.reflow:
      return x0, self.coupling(pair_key, x0, eps, cond)
    answers = self._answer(params, buffers, self.network, "teacher")
    field = guidance.Unguided()(guidance.Answers(answers, self.process, cond, {}, {}))
    grid, keys = solvers.times(self.sampler, self.process), jax.random.split(pair_key, len(x0))
    start = self.process.std(1.0) * eps
    return solvers.integrate(self.sampler, field, self.process, grid, start, keys, 1)[-1], eps

  def _example(self, x0, eps, t, key):
    """(xt, what the network should say of it)."""
    xt = gaussian.corrupt(self.process, x0, eps, t)
    target = gaussian.project(self.process, self.prediction, x0, eps, t)
    if not getattr(self.process, "bridge", 0):
      return xt, target
    detour, turn = self.process.detour(t, jax.random.normal(key, x0.shape))
    return xt + detour, target + turn

  def _network(self, params, buffers, xt, t, cond, network=None, group="denoiser", **training):
    """(its answer at times t [B], the variance's fraction or None, buffers)."""
    args = params, buffers, *self.process.seen(xt, t), cond
    out, buffers = core.call(network or self.network, group, *args, **training)
    if not self.learn_variance:
      return out, None, buffers
    out, fraction = jnp.split(out.reshape(*xt.shape[:-1], 2 * xt.shape[-1]), 2, axis=-1)
    return out, (fraction + 1) / 2, buffers

  def _logits(self, params, buffers, network):
    """(xt, t) -> [N, classes] of the classifier that guides."""

    def logits(xt, t):
      seen = self.process.seen(xt, jnp.broadcast_to(t, len(xt)))
      return core.call(network, "classifier", params, buffers, *seen, {})[0]

    return logits

  def _log_loss(self, params, buffers, t):
    nothing = jnp.zeros((len(t), 0))
    c_noise = self.process.c_noise(t)
    return core.call(self.log_loss, "uncertainty", params, buffers, nothing, c_noise)[0][:, 0]

  def _start(self, x, cond):
    """The conditions as the network first sees them."""
    return cond | {"beside": jnp.zeros_like(x)} if self.self_condition else cond

  def _guess(self, params, buffers, xt, t, cond, key):
    """The conditions with, for half of the examples, the x0 that the network first thinks of."""
    cond = self._start(xt, cond)
    if not self.self_condition:
      return cond
    out, _, _ = self._network(params, buffers, xt, t, cond)
    x0, _ = gaussian.solve(self.process, self.prediction, jax.lax.stop_gradient(out), xt, t)
    seen = core.expand(jax.random.bernoulli(key, 0.5, t.shape), x0)
    return cond | {"beside": jnp.where(seen, self._cut(x0), 0)}

  def _cut(self, x0):
    return jnp.clip(x0, *self.spec.range) if self.spec.range else x0

  def _drop(self, key, cond, batch):
    """The conditions, hidden for some of the examples."""
    if not self.hide:
      return cond
    return core.hidden(cond, self.spec, jax.random.bernoulli(key, self.hide, (batch,)))

  def _whole(self, cond):
    """The conditions in the form that hidden ones have."""
    real = lambda name: not self.spec.fields[name].integer
    return {name: core.partial(a) if real(name) else a for name, a in cond.items()}

  def _uniform(self, key, n):
    if self.stratified:
      return (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
    return jax.random.uniform(key, (n,))


def by_noise_level(values, u, name="loss") -> core.Metrics:
  """{"loss@q": an unbiased estimate of the mean in the bin around q} of values [B]; u ~ U[0, 1)."""
  which = jnp.floor(u * BINS).astype(jnp.int32)
  mean = jnp.zeros(BINS).at[which].add(values) * BINS / len(values)
  return {f"{name}@{(i + 0.5) / BINS:g}": mean[i] for i in range(BINS)}
