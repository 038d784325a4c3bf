"""Any family on the codes of a first stage that has been trained: x = decode(z), z ~ prior.

One wrapper is the ex-post density of an autoencoder (Ghosh et al. 2020, arXiv:1903.12436), the
second stage of a VAE (Dai & Wipf 2019, arXiv:1903.05789) and latent diffusion (Rombach et al. 2022,
arXiv:2112.10752):

    z = (encode(x) - mean) / std                 mean and std of each entry or channel of the codes,
    x = decode(mean + std z),   z ~ prior        measured while the first stage was trained     (1)

encode is the mean of q where there is one. An autoencoder that damages x has measured the codes of
damaged ones, a hierarchy those that it drew.

The prior is any family and sees codes as its data; the first stage is loaded and stays as it is.
Where its codes are integers (van den Oord et al. 2017, arXiv:1711.00937), z is encode(x) itself and
the prior one of integers. What the prior says of z is nothing of x: there are no likelihoods.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families import moments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latent:
  """Groups of the prior, trained, and of the first stage, from config.load.

  stage: a model that can encode and decode. prior: a model of its codes, points or integers.
  Raises UserError for a first stage without codes, for a prior of the other kind of codes, and if
  both have a group of one name.
  """

  spec: core.DataSpec
  stage: core.Model
  prior: core.Model

  def __post_init__(self):
    check(self.stage)
    integers = getattr(self.prior, "discrete", False)
    if self.codes and not integers:
      raise core.UserError("prior: this stage's codes are integers; use 'autoregressive'")
    if integers and not self.codes:
      raise core.UserError("prior: this stage's codes are real numbers, and it models integers")
    both = set(groups(self.stage)) & set(groups(self.prior))
    if both:
      raise core.UserError(f"stage and prior both have a group {min(both)!r}")
    if not hasattr(self.prior, "sample"):
      raise core.UserError("prior: this model has no samples")

  @staticmethod
  def given(field: str, built: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What the registry tells the objects nested in this one: codes are the prior's data."""
    if field != "prior":
      return given
    check(built["stage"])
    return {**given, "spec": code_spec(built["stage"], given["spec"])}

  @property
  def codes(self) -> dict[str, core.Field]:
    """Those of the first stage: {} for real numbers."""
    return self.stage.codes

  @property
  def pretrained(self) -> tuple[str, ...]:
    return (*groups(self.stage), *self.prior.pretrained)

  @property
  def conditions(self) -> tuple[str, ...]:
    """Those of the prior, then those that only the first stage has."""
    return tuple(dict.fromkeys([*self.prior.conditions, *self.stage.conditions]))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    def on_codes(loss):
      def own(params, buffers, batch, key, step):
        value, rest = loss(params, buffers, self._codes(params, buffers, batch), key, step)
        good = jnp.all(jnp.isfinite(batch["x"]))  # integers, as codes, could not say so
        return jnp.where(good, value, jnp.nan), rest

      return own

    return tuple(o._replace(loss=on_codes(o.loss)) for o in self.prior.objectives)

  def init(self, key, batch, loaded):
    first, second = jax.random.split(key)
    params, buffers = self.stage.init(first, batch, loaded)
    own, free = self.prior.init(second, self._codes(params, buffers, batch), loaded)
    return {**params, **own}, {**buffers, **free}

  def refresh(self, params, buffers, batch, key, step):
    return self.prior.refresh(params, buffers, self._codes(params, buffers, batch), key, step)

  def sample(self, params, buffers, keys, cond):
    """keys [N] -> x [N, *event], cut to the data's range."""
    own = {name: cond[name] for name in self.prior.conditions}
    x = self.decode(params, buffers, self.prior.sample(params, buffers, keys, own), cond)
    return jnp.clip(x, *self.spec.range) if self.spec.range else x

  def encode(self, params, buffers, x, cond=None):
    """x [N, *event] -> z of (1)."""
    code = self.stage.encode(params, buffers, x, cond)
    if self.codes:
      return code
    mean, std = moments.of(groups(self.stage), buffers)
    return (code - mean) / std

  def decode(self, params, buffers, z, cond=None):
    """z of (1) -> [N, *event]."""
    if not self.codes:
      mean, std = moments.of(groups(self.stage), buffers)
      z = mean + std * z
    return self.stage.decode(params, buffers, z, cond)

  def reconstruct(self, params, buffers, x, cond=None):
    """By the first stage."""
    return self.stage.reconstruct(params, buffers, x, cond)

  def _codes(self, params, buffers, batch):
    z = self.encode(params, buffers, batch["x"], core.given(self.stage, batch))
    return {**batch, "x": jax.lax.stop_gradient(z)}


def check(stage: Any) -> None:
  """UserError unless the model encodes and decodes, and is no latent model itself."""
  if isinstance(stage, Latent):
    raise core.UserError("stage: the codes of a 'latent' are its own stage's; use that")
  if not (hasattr(stage, "encode") and hasattr(stage, "decode")):
    raise core.UserError("stage: this model has no codes; use 'autoencoder', 'vae' or 'vqvae'")


def groups(model: Any) -> tuple[str, ...]:
  """The groups of a model, trained ones first."""
  trained = (group for objective in model.objectives for group in objective.trains)
  return tuple(dict.fromkeys([*trained, *model.pretrained]))


def code_spec(stage: Any, spec: core.DataSpec) -> core.DataSpec:
  """What the codes of a first stage are as data."""
  batch = {"x": jnp.zeros((2, *spec.shape), spec.dtype)}
  batch |= {name: core.null(field, 2) for name, field in spec.fields.items()}

  def codes(key):
    params, buffers = stage.init(key, batch, {})
    return stage.encode(params, buffers, batch["x"], core.given(stage, batch))

  shape = jax.eval_shape(codes, jax.random.key(0)).shape[1:]
  if not stage.codes:
    return core.DataSpec(shape=shape, classes=spec.classes, others=spec.others)
  levels = next(iter(stage.codes.values())).levels  # all of a stage's books have one size
  return core.DataSpec(
    shape=shape,
    dtype="int32",
    levels=levels,
    classes=spec.classes,
    others=spec.others,
    kind="tokens",
  )
