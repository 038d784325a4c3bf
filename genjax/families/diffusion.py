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
solved for the pair (x0, eps), and a solver walks it from t = 1 to t = 0. With `uncertainty`,

    L = E [ w(t) err^2 / e^u(t) + u(t) ]                                                         (2)

and a linear layer u learns the log of the loss at each noise level, so that all levels count alike
(Karras et al. 2024, arXiv:2312.02696, eq. 20). The loss is logged per noise level: "loss@q" is its
mean over the eighth of the training times around their quantile q.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks import mlp
from genjax.processes import chains, couplings, gaussian, weightings
from genjax.processes import times as times_lib
from genjax.samplers import guidance, solvers

BINS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusion:
  """Groups: "denoiser" and, with `uncertainty`, "uncertainty".

  network: module (xt, c_noise(t), cond) -> [B, *event]. process: how data is corrupted.
  sampler: solver that draws; guidance: of the field it follows.
  prediction: a name in gaussian.ROWS. weighting: of the loss at each time.
  times: how often training looks at each; stratified: a batch's are spread evenly over them.
  coupling: which noise goes with which example.
  uncertainty: number of sinusoids of t that u of (2) is linear in; 0 leaves it out.
  label_dropout: share of the labels that training hides, for a network that is conditional.
  clip: the predicted x0 is cut to the data's range while sampling.
  Raises UserError for what does not fit together.
  """

  spec: core.DataSpec
  network: Any
  process: Any = chains.DDPM()
  sampler: Any = solvers.Ancestral()
  guidance: Any = guidance.Unguided()
  prediction: str = "eps"
  weighting: Any = weightings.Simple()
  times: Any = times_lib.Uniform()
  coupling: Any = couplings.Independent()
  uncertainty: core.Count = 0
  label_dropout: core.Fraction = 0.0
  stratified: bool = False
  clip: bool = True
  pretrained = ()

  def __post_init__(self):
    self.process.check(self.prediction)
    if getattr(self.network, "out", 0):
      raise core.UserError("network.out must be 0: a denoiser answers in the shape of the data")
    solvers.times(self.sampler, self.process)
    if self.network.conditional and not self.spec.classes:
      raise core.UserError("network.conditional=True needs data with labels")
    if self.network.conditional and not self.coupling.conditional:
      raise core.UserError(
        "this coupling gives each label its own part of the noise, which sampling does not know; "
        "use 'c2ot' with network.conditional=True"
      )
    if isinstance(self.guidance, guidance.ClassifierFree) and not (
      self.network.conditional and self.label_dropout
    ):
      raise core.UserError(
        "classifier-free guidance needs network.conditional=True and label_dropout > 0"
      )

  @property
  def conditions(self) -> tuple[str, ...]:
    return ("label",) if self.network.conditional else ()

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    trained = ("denoiser", "uncertainty") if self.uncertainty else ("denoiser",)
    return (core.Objective("denoiser", trained, self.loss),)

  @functools.cached_property
  def log_loss(self) -> mlp.MLP:
    """u of (2)."""
    return mlp.MLP(widths=(), out=1, time_width=self.uncertainty)

  def init(self, key, batch, loaded):
    x, t = batch["x"], jnp.ones(len(batch["x"]))
    cond, nothing = self._cond(batch), x.reshape(len(x), -1)[:, :0]
    memory = self.times.start()
    params, buffers = {}, {"times": memory} if memory else {}
    for group, module, args in [
      ("denoiser", self.network, (x, t, cond)), ("uncertainty", self.log_loss, (nothing, t)),
    ][: 1 + (self.uncertainty > 0)]:  # fmt: skip
      params[group], buffers[group] = loaded.get(group) or core.init(module, key, *args)
    return params, buffers

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def loss(self, params, buffers, batch, key, step):
    """Equation (1) or (2): mean squared error per dimension, mean over the batch."""
    t_key, eps_key, pair_key, dropout_key, label_key = jax.random.split(key, 5)
    x0, cond = batch["x"], self._cond(batch)
    u = self._uniform(t_key, len(x0))
    t, scale = self.times(self.process, u, buffers.get("times"))
    eps = self.coupling(pair_key, x0, jax.random.normal(eps_key, x0.shape), cond)
    xt = gaussian.corrupt(self.process, x0, eps, t)
    out, buffers = self._network(
      params, buffers, xt, t, self._drop(label_key, cond), train=True, key=dropout_key
    )
    target = gaussian.project(self.process, self.prediction, x0, eps, t)
    error = jnp.mean((out - target) ** 2, range(1, x0.ndim))  # [B]
    loss = self.weighting(self.process, self.prediction, t) * error
    if "times" in buffers:
      memory = self.times.learn(u, jax.lax.stop_gradient(loss), buffers["times"])
      buffers = {**buffers, "times": memory}
    logs = _by_noise_level(loss, u)
    if self.uncertainty:
      u_t = self._log_loss(params, buffers, t)
      loss = loss * jnp.exp(-u_t) + u_t
    return jnp.mean(scale * loss), (buffers, logs)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event] in the data's range (if clipped)."""
    return self.trajectory(params, buffers, keys, cond, 1)[-1]

  def trajectory(self, params, buffers, keys, cond, frames):
    """The same draw, seen at `frames` equally spaced steps: [frames, N, *event]."""
    first, rest = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    x = self.process.std(1.0) * core.draw(first, jax.random.normal, self.spec.shape)
    grid = solvers.times(self.sampler, self.process)
    field = self.field(params, buffers, cond)
    return solvers.integrate(self.sampler, field, self.process, grid, x, rest, frames)

  def field(self, params, buffers, cond) -> solvers.Field:
    """What the network believes of (x0, eps) at (xt, t), t a scalar: guided, then clipped."""

    def at(xt, t, memory, cond):
      out, _ = self._network(params, buffers, xt, jnp.broadcast_to(t, len(xt)), cond)
      return *gaussian.solve(self.process, self.prediction, out, xt, t), memory

    null = jax.tree.map(lambda a: jnp.full_like(a, self.spec.classes), cond)
    guided = self.guidance(solvers.Field(lambda x: (), at), cond, null)
    if self.clip and self.spec.range:
      return guidance.clipped(guided, self.process, *self.spec.range)
    return guided

  def _network(self, params, buffers, xt, t, cond, **training):
    """(its answer at times t [B], buffers)."""
    scaled = xt / core.expand(self.process.std(t), xt)
    c_noise = self.process.c_noise(t)
    return core.call(self.network, "denoiser", params, buffers, scaled, c_noise, cond, **training)

  def _log_loss(self, params, buffers, t):
    nothing = jnp.zeros((len(t), 0))
    c_noise = self.process.c_noise(t)
    return core.call(self.log_loss, "uncertainty", params, buffers, nothing, c_noise)[0][:, 0]

  def _cond(self, batch):
    return {name: batch[name] for name in self.conditions}

  def _drop(self, key, cond):
    """The conditions with some labels replaced by the null one, which is `classes`."""
    if not self.label_dropout:
      return cond
    drop = lambda a: jax.random.bernoulli(key, self.label_dropout, (len(a),))
    return jax.tree.map(lambda a: jnp.where(drop(a), self.spec.classes, a), cond)

  def _uniform(self, key, n):
    if self.stratified:
      return (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
    return jax.random.uniform(key, (n,))


def _by_noise_level(loss, u):
  """{"loss@q": an unbiased estimate of the mean loss in the bin around q}; u ~ U[0, 1)."""
  which = jnp.floor(u * BINS).astype(jnp.int32)
  mean = jnp.zeros(BINS).at[which].add(loss) * BINS / len(loss)
  return {f"loss@{(i + 0.5) / BINS:g}": mean[i] for i in range(BINS)}
