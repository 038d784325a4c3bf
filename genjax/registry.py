"""Literal tables name -> class, and `build`: the only module that knows every class.

A spec is plain data: dict(name="unet", channels=(32, 64)). The field it stands in says which table
its name is looked up in, its other keys are the fields of that class, and nested specs are built in
the same way. Classes declare what only the run knows and the registry passes it in:

    spec: core.DataSpec      what the data looks like
    total_steps: int         how many steps the run trains
    dtype: str               the compute dtype of networks, "float32" or "bfloat16"

A class may tell what is nested in it something else, by `given(field, fields before it, given)`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from genjax import core
from genjax.data import bars, digits, fake, folder, mnist, prepared, toys
from genjax.distributions import heads, latents, sources
from genjax.families import (
  autoencoder,
  autoregressive,
  classifier,
  dequantized,
  diffusion,
  gan,
  hvae,
  latent,
  mixture,
  rbm,
  vae,
  vae_aims,
  vdm,
  vqvae,
  vqvae2,
)
from genjax.networks import (
  autoencoders,
  cnn,
  codes,
  ladder,
  mlp,
  pyramid,
  quantizers,
  transformer,
  unet,
)
from genjax.processes import (
  chains,
  continuous,
  corruptions,
  couplings,
  learned,
  schedules,
  times,
  weightings,
)
from genjax.samplers import (
  adams,
  adaptive,
  grids,
  guidance,
  langevin,
  multistep,
  singlestep,
  solvers,
)
from genjax.training import optimizers

MODELS = {
  "diffusion": diffusion.Diffusion,
  "vdm": vdm.VDM,
  "dequantized": dequantized.Dequantized,
  "wgan_gp": gan.WGANGP,
  "gaussian_mixture": mixture.GaussianMixture,
  "rbm": rbm.RBM,
  "classifier": classifier.Classifier,
  "autoencoder": autoencoder.Autoencoder,
  "vae": vae.VAE,
  "hvae": hvae.HVAE,
  "latent": latent.Latent,
  "vqvae": vqvae.VQVAE,
  "vqvae2": vqvae2.VQVAE2,
  "autoregressive": autoregressive.Autoregressive,
}
NETWORKS = {
  "mlp": mlp.MLP,
  "cnn": cnn.CNN,
  "deconv": cnn.Deconv,
  "down": autoencoders.Down,
  "up": autoencoders.Up,
  "unet": unet.UNet,
  "transformer": transformer.Transformer,
}
SOURCES = {
  "mnist": mnist.Mnist,
  "fashion_mnist": mnist.FashionMnist,
  "digits": digits.Digits,
  "toy": toys.Toy,
  "bars": bars.Bars,
  "image_folder": folder.ImageFolder,
  "tfds": prepared.Prepared,
  "fake": fake.Fake,
}
SOLVERS = {
  "ancestral": solvers.Ancestral,
  "ddim": solvers.DDIM,
  "euler": singlestep.Euler,
  "euler_maruyama": singlestep.EulerMaruyama,
  "heun": singlestep.Heun,
  "dpm++": multistep.DPMSolver,
  "dpm++2s": singlestep.Midpoint,
  "unipc": multistep.UniPC,
  "lms": adams.LMS,
  "deis": adams.DEIS,
  "pndm": adams.PNDM,
  "adaptive": adaptive.Adaptive,
  "predictor_corrector": langevin.PredictorCorrector,
  "annealed_langevin": langevin.AnnealedLangevin,
}
PROCESSES = {
  "ddpm": chains.DDPM,
  "ncsn": chains.NCSN,
  "vp": continuous.VP,
  "sub_vp": continuous.SubVP,
  "ve": continuous.VE,
  "edm": continuous.EDM,
  "cond_ot": continuous.CondOT,
  "cosine": continuous.Cosine,
  "polynomial": continuous.Polynomial,
  "learned": learned.Learned,
}
TABLES = {
  "model": MODELS,
  "data": SOURCES,
  "network": NETWORKS,
  "generator": NETWORKS,
  "critic": NETWORKS,
  "dequantizer": NETWORKS,
  "process": PROCESSES,
  "noise": schedules.SCHEDULES,
  "stage": MODELS,
  "prior": MODELS,
  "encoder": NETWORKS,
  "decoder": NETWORKS,
  "latent": latents.LATENTS,
  "head": heads.HEADS,
  "aim": vae_aims.AIMS,
  "codec": {**autoencoders.CODECS, "pyramid": pyramid.Pyramid},
  "ladder": ladder.LADDERS,
  "quantizer": quantizers.QUANTIZERS,
  "corruption": corruptions.CORRUPTIONS,
  "code": codes.CODES,
  "penalty": autoencoder.PENALTIES,
  "weighting": weightings.WEIGHTINGS,
  "times": times.TIMES,
  "coupling": couplings.COUPLINGS,
  "source": sources.SOURCES,
  "sampler": SOLVERS,
  "grid": grids.GRIDS,
  "guidance": guidance.GUIDANCE,
  "optim": optimizers.OPTIMIZERS,
  "schedule": optimizers.SCHEDULES,
}
GIVEN = ("spec", "total_steps", "dtype")
LINEN = ("parent", "name")  # fields of every flax module that are not its own


def lookup(field: str, name: str) -> type:
  """The class called `name` where `field` is configured. UserError with the nearest spelling."""
  if name not in TABLES[field]:
    raise core.unknown(field, name, TABLES[field])
  return TABLES[field][name]


def fields(cls: type) -> dict[str, dataclasses.Field]:
  """The configurable fields of a class."""
  hidden = (*GIVEN, *LINEN)
  return {f.name: f for f in dataclasses.fields(cls) if f.init and f.name not in hidden}


def hints(cls: type) -> dict[str, Any]:
  """The annotations of a class, with their bounds."""
  return get_type_hints(cls, include_extras=True)


def build(field: str, spec: Mapping[str, Any], given: Mapping[str, Any], path: str = "") -> Any:
  """The object that a spec describes, with everything nested in it.

  given: values for the names in GIVEN; a class gets those it declares.
  Raises UserError, prefixed with the spec's path, where a class refuses its values.
  """
  path = path or field
  cls = lookup(field, spec["name"])
  nested = getattr(cls, "given", lambda key, own, given: given)
  place, own = {key: i for i, key in enumerate(fields(cls))}, {}
  for key in sorted(spec.keys() - {"name"}, key=lambda key: place.get(key, -1)):
    own[key] = _build_value(key, spec[key], nested(key, own, given), path)
  declared = {f.name for f in dataclasses.fields(cls)}
  own |= {key: value for key, value in given.items() if key in declared}
  try:
    return cls(**own)
  except core.UserError as e:
    raise core.UserError(f"{path}: {e}") from None


def _build_value(key, value, given, path):
  if key in TABLES and isinstance(value, Mapping):
    return build(key, value, given, f"{path}.{key}")
  return value


def describe(field: str, obj: Any) -> dict[str, Any]:
  """The spec of an object: the inverse of `build`, used to write a class's defaults out."""
  name = next(name for name, cls in TABLES[field].items() if cls is type(obj))
  return {"name": name} | {key: plain(key, getattr(obj, key)) for key in fields(type(obj))}


def plain(key: str, value: Any) -> Any:
  """A field's value as plain data: an object of a table becomes its spec."""
  if key in TABLES and type(value) in TABLES[key].values():
    return describe(key, value)
  return value
