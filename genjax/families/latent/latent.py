"""A generative model of the codes of a trained first stage: x = decode(z), z ~ prior.

The same wrapper covers three methods: the ex-post density of an autoencoder (Ghosh et al. 2020,
arXiv:1903.12436), the second stage of a VAE (Dai & Wipf 2019, arXiv:1903.05789) and latent
diffusion (Rombach et al. 2022, arXiv:2112.10752). With mean and std of each channel of the codes,

    z = (encode(x) - mean) / std
    x = decode(mean + std z),   z ~ prior                                                       (1)

For a VAE encode(x) is the mean of q(z | x). The moments were measured while the first stage was
trained (families/moments.py), on the codes that it saw then: of damaged examples, if an autoencoder
damages its input, and of samples of q, for a hierarchical VAE.

The prior may be any model; its data are the codes. The first stage is loaded and stays fixed. If
its codes are integers (van den Oord et al. 2017, arXiv:1711.00937), z is encode(x) itself, and the
prior must be a model of integers.

There are no likelihoods: the prior gives the density of z, which is not the density of x.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from genjax import core
from genjax.families import moments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latent:
  """Model of the codes of a first stage.

  Its parameter groups are those of the prior, which are trained, and those of the first stage,
  which config.load supplies.

  stage: the first stage, a model that can encode and decode.
  prior: a model of the codes, which are points, pictures or integers.

  Raises UserError for a first stage without codes or one that is a Latent itself, for a prior
  without samples or of the wrong kind of codes (real numbers, integers), and if both models have a
  group of the same name.
  """

  spec: core.DataSpec
  stage: core.Model
  prior: core.Model

  def __post_init__(self):
    check(self.stage)

    # Codes and prior must be of the same kind.
    integers = getattr(self.prior, "discrete", False)
    if self.codes and not integers:
      raise core.UserError("prior: this stage's codes are integers; use 'autoregressive'")
    if integers and not self.codes:
      raise core.UserError(
        "prior: this stage's codes are real numbers, but the prior models integers; "
        "use a model of real numbers, such as 'diffusion'"
      )

    # Both live in one dict of parameters.
    both = set(groups(self.stage)) & set(groups(self.prior))
    if both:
      raise core.UserError(
        f"stage and prior both have a group {min(both)!r}; use models of different families"
      )
    if not hasattr(self.prior, "sample"):
      raise core.UserError("prior: this model has no samples; use one that can sample")

  @staticmethod
  def given(field: str, built: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Returns what the registry tells the object in `field`: for the prior, codes are the data.

    built: the fields built so far, in order; the stage comes before the prior.
    given: what the registry would tell it otherwise.
    """
    if field != "prior":
      return given
    check(built["stage"])
    return {**given, "spec": code_spec(built["stage"], given["spec"])}

  @property
  def codes(self) -> dict[str, core.Field]:
    """The integer codes of the first stage by name; {} if its codes are real numbers."""
    return self.stage.codes

  @property
  def pretrained(self) -> tuple[str, ...]:
    """All groups of the first stage, and those that the prior needs loaded."""
    return (*groups(self.stage), *self.prior.pretrained)

  @property
  def conditions(self) -> tuple[str, ...]:
    """The fields that the prior is told, then those that only the first stage is told."""
    return tuple(dict.fromkeys([*self.prior.conditions, *self.stage.conditions]))

  @property
  def objectives(self) -> tuple[core.Objective, ...]:
    """The objectives of the prior, with the codes of a batch in place of x."""

    def on_codes(loss):
      def own(params, buffers, batch, key, step):
        value, rest = loss(params, buffers, self._codes(params, buffers, batch), key, step)
        # Integer codes cannot be NaN, so a batch that is not finite must be noticed here.
        good = jnp.all(jnp.isfinite(batch["x"]))
        return jnp.where(good, value, jnp.nan), rest

      return own

    return tuple(o._replace(loss=on_codes(o.loss)) for o in self.prior.objectives)

  def init(
    self, key: jax.Array, batch: core.Batch, loaded: dict[str, Any]
  ) -> tuple[core.Params, core.Buffers]:
    """Returns the groups of the first stage and of the prior together."""
    first, second = jax.random.split(key)
    params, buffers = self.stage.init(first, batch, loaded)
    own, free = self.prior.init(second, self._codes(params, buffers, batch), loaded)
    return {**params, **own}, {**buffers, **free}

  def refresh(
    self,
    params: core.Params,
    buffers: core.Buffers,
    batch: core.Batch,
    key: jax.Array,
    step: jax.Array,
  ) -> tuple[core.Params, core.Buffers, core.Metrics]:
    """Does what the prior does without gradients; the first stage stays fixed."""
    return self.prior.refresh(params, buffers, self._codes(params, buffers, batch), key, step)

  def sample(
    self, params: core.Params, buffers: core.Buffers, keys: jax.Array, cond: core.Batch
  ) -> jax.Array:
    """Draws x [N, *event], one example for each of keys [N], clipped to the range of the data."""
    # The prior sees its own conditions only, the first stage those of both.
    own = {name: cond[name] for name in self.prior.conditions}
    z = self.prior.sample(params, buffers, keys, own)
    x = self.decode(params, buffers, z, cond)
    return jnp.clip(x, *self.spec.range) if self.spec.range else x

  def encode(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns z of (1) for x [N, *event]: standardized codes, or integers."""
    code = self.stage.encode(params, buffers, x, cond)
    # Integers are not standardized.
    if self.codes:
      return code
    mean, std = moments.of(groups(self.stage), buffers)
    return (code - mean) / std

  def decode(
    self, params: core.Params, buffers: core.Buffers, z: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns x [N, *event] of (1) for z: standardized codes, or integers."""
    if not self.codes:
      mean, std = moments.of(groups(self.stage), buffers)
      z = mean + std * z
    return self.stage.decode(params, buffers, z, cond)

  def reconstruct(
    self, params: core.Params, buffers: core.Buffers, x: jax.Array, cond: core.Batch | None = None
  ) -> jax.Array:
    """Returns x [N, *event] as the first stage reconstructs it; the prior has no part in this."""
    return self.stage.reconstruct(params, buffers, x, cond)

  def _codes(self, params: core.Params, buffers: core.Buffers, batch: core.Batch) -> core.Batch:
    """Returns the batch with z of (1) in place of x; no gradient reaches the first stage."""
    z = self.encode(params, buffers, batch["x"], core.given(self.stage, batch))
    return {**batch, "x": jax.lax.stop_gradient(z)}


def check(stage: Any) -> None:
  """Raises UserError unless the model encodes and decodes and is not a Latent itself."""
  if isinstance(stage, Latent):
    raise core.UserError("stage: a 'latent' has the codes of its own stage; use that stage")
  if not (hasattr(stage, "encode") and hasattr(stage, "decode")):
    raise core.UserError("stage: this model has no codes; use 'autoencoder', 'vae' or 'vqvae'")


def groups(model: Any) -> tuple[str, ...]:
  """Returns the names of the parameter groups of a model, those that are trained first."""
  # dict.fromkeys drops repetitions and keeps the order.
  trained = (group for objective in model.objectives for group in objective.trains)
  return tuple(dict.fromkeys([*trained, *model.pretrained]))


def code_spec(stage: Any, spec: core.DataSpec) -> core.DataSpec:
  """Returns the description of the codes of a first stage, as data for the prior.

  The fields beside x are those of `spec`, the data of the first stage.
  """
  # Any batch with the right shapes will do; conditions are absent in it.
  batch = {"x": jnp.zeros((2, *spec.shape), spec.dtype)}
  batch |= {name: core.null(field, 2) for name, field in spec.fields.items()}

  def codes(key):
    params, buffers = stage.init(key, batch, {})
    return stage.encode(params, buffers, batch["x"], core.given(stage, batch))

  # Only the shape is worked out; nothing is computed.
  shape = jax.eval_shape(codes, jax.random.key(0)).shape[1:]
  if not stage.codes:
    return core.DataSpec(shape=shape, classes=spec.classes, others=spec.others)

  # All codebooks of a stage have the same size.
  levels = next(iter(stage.codes.values())).levels
  return core.DataSpec(
    shape=shape,
    dtype="int32",
    levels=levels,
    classes=spec.classes,
    others=spec.others,
    kind="tokens",
  )
