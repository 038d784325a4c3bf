"""A classifier of noisy data, for guidance (Dhariwal & Nichol 2021, arXiv:2105.05233, section 4).

    L = E_{t, x0, eps} -log p(label | xt),   xt = alpha(t) x0 + sigma(t) eps                (1)

The network has the inputs of a denoiser of the same process. The gradient of its log-probability by
xt is therefore the score of the label at every noise level (`guidance.ClassifierGuidance`).

Besides the accuracy at all times, "accuracy@q" is logged for the eighth of the training times
around their quantile q. The first eighth is nearly clean; at the last, nothing can be recognised.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families.diffusion import noise_levels
from genjax.processes import continuous, gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier:
  """A classifier with one parameter group, "classifier".

  spec: what the data are.
  network: module (xt/std(xt) [B, *event], c_noise(t) [B], {}) -> logits [B, classes].
  process: the process of the model that is to be guided.
  Raises UserError for data without integer labels, and unless network.out is their number.
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
    """The one objective, (1)."""
    return (core.Objective("classifier", ("classifier",), self.loss),)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict
  ) -> tuple[core.Params, core.Buffers]:
    """Returns initial params and buffers of the group "classifier"."""
    x = batch["x"]
    t = jnp.ones(len(x))
    params, buffers = loaded.get("classifier") or core.init(self.network, key, x, t, {})
    return {"classifier": params}, {"classifier": buffers}

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
    """Returns (1) in nats, the mean over the batch."""
    t_key, eps_key, dropout_key = jax.random.split(key, 3)
    x0 = batch["x"]  # [B, *event]
    label = batch["label"]  # [B]

    u = noise_levels.quantiles(t_key, len(x0), stratified=True)
    t = self.process.snap(u)
    eps = jax.random.normal(eps_key, x0.shape)
    xt = gaussian.corrupt(self.process, x0, eps, t)

    logits, buffers = self.logits(params, buffers, xt, t, train=True, key=dropout_key)
    # Equation (1), [B].
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1)[:, 0]

    # The accuracy, at all times and around each quantile.
    right = (jnp.argmax(logits, axis=1) == label) * 1.0
    logs = noise_levels.means(right, u, "accuracy")
    return -jnp.mean(log_p), (buffers, {"accuracy": jnp.mean(right), **logs})

  def logits(
    self, params: core.Params, buffers: core.Buffers, xt: jax.Array, t: jax.Array, **training: Any
  ) -> tuple[jax.Array, core.Buffers]:
    """Returns (logits [B, classes], buffers) for noisy data xt [B, *event] at times t [B].

    training: `train` and the dropout `key` of core.call.
    """
    seen = self.process.seen(xt, t)
    return core.call(self.network, "classifier", params, buffers, *seen, {}, **training)

  def classify(self, params: core.Params, buffers: core.Buffers, x: jax.Array) -> jax.Array:
    """Returns log p(label | x) of clean data x [B, *event], [B, classes]."""
    # The least time is the nearest to clean data that the network has seen.
    t = jnp.full(len(x), self.process.least)
    return jax.nn.log_softmax(self.logits(params, buffers, x, t)[0])
