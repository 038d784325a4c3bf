"""A classifier of noisy data, for guidance (Dhariwal & Nichol 2021, arXiv:2105.05233, section 4).

    L = E_{t, x0, eps} -log p(label | xt),   xt = alpha(t) x0 + sigma(t) eps                (1)

The network sees xt as a denoiser of the same process does, so its gradient by xt is a score of the
label at every noise level (`guidance.ClassifierGuidance`). "accuracy@q" is that of the eighth of
the times around their quantile q: the first eighth is nearly clean, at the end nothing can be told.
"""

import dataclasses

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import diffusion
from genjax.processes import continuous, gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier:
  """One group, "classifier". network: (xt/std(xt), c_noise(t), {}) -> logits [B, classes].

  process: that of the model to be guided.
  Raises UserError for data without labels, and for a network with another number of answers.
  """

  spec: core.DataSpec
  network: core.Network
  process: core.Process = continuous.VP()
  pretrained = ()

  def __post_init__(self):
    if not self.spec.classes:
      raise core.UserError("a classifier needs data with labels")
    if not self.spec.fields["label"].integer:
      raise core.UserError("a classifier needs labels by number; use data.one_hot=False")
    if self.network.out != self.spec.classes:
      raise core.UserError(
        f"network.out={self.network.out} must be the number of classes, {self.spec.classes}"
      )

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    return (core.Objective("classifier", ("classifier",), self.loss),)

  def init(self, key, batch, loaded):
    x, t = batch["x"], jnp.ones(len(batch["x"]))
    params, buffers = loaded.get("classifier") or core.init(self.network, key, x, t, {})
    return {"classifier": params}, {"classifier": buffers}

  def refresh(self, params, buffers, batch, key, step):
    return params, buffers, {}

  def loss(self, params, buffers, batch, key, step):
    """Equation (1) in nats, mean over the batch."""
    t_key, eps_key, dropout_key = jax.random.split(key, 3)
    x0, label = batch["x"], batch["label"]
    u = (jnp.arange(len(x0)) + jax.random.uniform(t_key, (len(x0),))) / len(x0)
    t = self.process.snap(u)
    xt = gaussian.corrupt(self.process, x0, jax.random.normal(eps_key, x0.shape), t)
    logits, buffers = self.logits(params, buffers, xt, t, train=True, key=dropout_key)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1)[:, 0]
    right = (jnp.argmax(logits, axis=1) == label) * 1.0
    logs = diffusion.by_noise_level(right, u, "accuracy")
    return -jnp.mean(log_p), (buffers, {"accuracy": jnp.mean(right), **logs})

  def logits(self, params, buffers, xt, t, **training):
    """(logits [B, classes] of xt at times t [B], buffers)."""
    seen = self.process.seen(xt, t)
    return core.call(self.network, "classifier", params, buffers, *seen, {}, **training)

  def classify(self, params, buffers, x):
    """log p(label | x) [B, classes] of clean data."""
    t = jnp.full(len(x), self.process.least)
    return jax.nn.log_softmax(self.logits(params, buffers, x, t)[0])
