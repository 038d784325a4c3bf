"""Denoising diffusion (Ho, Jain & Abbeel 2020, arXiv:2006.11239) with any process and prediction.

Training: a time t, noise eps, xt = alpha(t) x0 + sigma(t) eps, and the network's answer is compared
with what it should have said (gaussian.py writes x0, eps, v and score as rows over the pair):

    L = E_{t, eps} || out(xt, c_noise(t)) - (a(t) x0 + b(t) eps) ||^2 / D                    (1)

With prediction "eps" this is the paper's L_simple, its eq. 14. Sampling: the answer is solved for
the pair (x0, eps), and a solver walks it from t = 1 to t = 0. The loss is logged per noise level,
"loss@t" for a bin of times around t.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.processes import gaussian
from genjax.samplers import guidance, solvers

BINS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diffusion:
  """One group, "denoiser".

  network: module (xt, c_noise(t), cond) -> [B, *event]. process: how data is corrupted.
  sampler: solver that draws; guidance: of the field it follows.
  prediction: "eps", "x0", "v" or "score".
  label_dropout: share of the labels that training hides, for a network that is conditional.
  stratified: the batch's times are spread evenly over (0, 1], not drawn independently.
  clip: the predicted x0 is cut to the data's range while sampling.
  Raises UserError for a prediction that the process cannot be solved for.
  """

  spec: core.DataSpec
  network: Any
  process: Any = gaussian.DDPM()
  sampler: Any = solvers.Ancestral()
  guidance: Any = guidance.Unguided()
  prediction: str = "eps"
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
    return (core.Objective("denoiser", ("denoiser",), self.loss),)

  def init(self, key, batch, loaded):
    x, t = batch["x"], jnp.ones(len(batch["x"]))
    params, buffers = loaded.get("denoiser") or core.init(
      self.network, key, x, t, self._cond(batch)
    )
    return {"denoiser": params}, {"denoiser": buffers}

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def loss(self, params, buffers, batch, key, step):
    """Equation (1): mean squared error per dimension, mean over the batch."""
    x0 = batch["x"]
    t_key, eps_key, dropout_key, label_key = jax.random.split(key, 4)
    u = self._uniform(t_key, len(x0))
    t = self.process.snap(u)
    alpha, sigma = self.process.coefficients(t)
    eps = jax.random.normal(eps_key, x0.shape)
    xt = gaussian.corrupt(x0, eps, alpha, sigma)
    cond = self._drop(label_key, self._cond(batch))
    out, buffers = core.call(
      self.network, "denoiser", params, buffers, xt, self.process.c_noise(t), cond,
      train=True, key=dropout_key,
    )  # fmt: skip
    target = gaussian.project(self.prediction, x0, eps, alpha, sigma)
    loss = jnp.mean((out - target) ** 2, range(1, x0.ndim))  # [B]
    return jnp.mean(loss), (buffers, _by_noise_level(loss, u))

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event] in the data's range (if clipped)."""
    return self.trajectory(params, buffers, keys, cond, 1)[-1]

  def trajectory(self, params, buffers, keys, cond, frames):
    """The same draw, seen at `frames` equally spaced steps: [frames, N, *event]."""
    first, rest = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    x = core.draw(first, jax.random.normal, self.spec.shape)
    grid = solvers.times(self.sampler, self.process)
    field = self.field(params, buffers, cond)
    return solvers.integrate(self.sampler, field, self.process, grid, x, rest, frames)

  def field(self, params, buffers, cond) -> solvers.Field:
    """What the network believes of (x0, eps) at (xt, t), t a scalar: guided, then clipped."""

    def at(xt, t, memory, cond):
      alpha, sigma = self.process.coefficients(t)
      times = jnp.broadcast_to(self.process.c_noise(t), len(xt))
      out, _ = core.call(self.network, "denoiser", params, buffers, xt, times, cond)
      return *gaussian.solve(self.prediction, out, xt, alpha, sigma), memory

    null = jax.tree.map(lambda a: jnp.full_like(a, self.spec.classes), cond)
    guided = self.guidance(solvers.Field(lambda x: (), at), cond, null)
    if self.clip and self.spec.range:
      return guidance.clipped(guided, self.process, *self.spec.range)
    return guided

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
  """{"loss@t": an unbiased estimate of the mean loss in the bin around t}; u ~ U[0, 1)."""
  which = jnp.floor(u * BINS).astype(jnp.int32)
  mean = jnp.zeros(BINS).at[which].add(loss) * BINS / len(loss)
  return {f"loss@{(i + 0.5) / BINS:g}": mean[i] for i in range(BINS)}
