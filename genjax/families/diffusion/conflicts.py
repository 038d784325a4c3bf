"""Which choices of a diffusion exclude each other, and why.

Each function returns pairs (whether a combination of fields is wrong, what to do about it), in the
order in which they are checked. A family that inherits from Diffusion adds its own pairs.
"""

from typing import Any

from genjax.distributions import sources
from genjax.processes import chains
from genjax.samplers import guidance, solvers


def of(model: Any) -> list[tuple[bool, str]]:
  """Returns the pairs of a Diffusion, all of those below."""
  return [*of_network(model), *of_conditions(model), *of_noise(model)]


def of_network(model: Any) -> list[tuple[bool, str]]:
  """Returns the pairs about what the network answers, its learned variance included."""
  out = getattr(model.network, "out", 0)
  learned = getattr(model.sampler, "variance", "") == "learned"
  return [
    (hasattr(model.network, "step"), "network: it predicts tokens; use 'unet' or 'mlp'"),
    (out and not model.learn_variance,
     "network.out must be 0: a denoiser answers in the shape of the data"),
    (model.learn_variance and not isinstance(model.process, chains.Chain),
     "learn_variance=True needs the steps of a chain; use process 'ddpm' or 'ncsn'"),
    (learned and not model.learn_variance, "sampler.variance='learned' needs learn_variance=True"),
  ]  # fmt: skip


def of_conditions(model: Any) -> list[tuple[bool, str]]:
  """Returns the pairs about what the network is told, and about guidance by it."""
  told = model.network.conditions
  by_classifier = isinstance(model.guidance, guidance.ClassifierGuidance)
  return [
    (told and not model.coupling.conditional,
     "this coupling gives each condition its own part of the noise, which sampling does not "
     "know; use 'c2ot' with network.conditions"),
    (model.guidance.needs_null and not (told and model.hide),
     "guidance without a condition needs network.conditions and hide > 0"),
    (by_classifier and not model.spec.classes, "classifier guidance needs data with labels"),
    (not model.guidance.consistent and type(model.sampler) is not solvers.DDIM,
     "guidance 'cfg++' changes how noise is added back, which works with sampler 'ddim' alone"),
  ]  # fmt: skip


def of_noise(model: Any) -> list[tuple[bool, str]]:
  """Returns the pairs about the noise: where it comes from, and whether a solver draws more."""
  normal = isinstance(model.source, sources.Normal)
  noisy = solvers.stochastic(model.sampler)
  bridge = getattr(model.process, "bridge", 0)
  return [
    (not normal and noisy,
     "a solver that draws noise needs source 'normal'; use a deterministic solver"),
    (model.reflow and noisy, "reflow=True follows the teacher's flow: use a deterministic solver"),
    (bridge and (noisy or model.prediction != "velocity"),
     "process.bridge > 0 needs prediction='velocity' and a deterministic solver"),
  ]  # fmt: skip
