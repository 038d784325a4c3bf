"""The values that every configuration starts from.

genjax.config.Experiment explains the keys.

--config=FILE.py:NAME asks for a variant. A variant is a function that changes the finished
configuration. FILE.py:A+B applies A, then B.

Every configuration has the variant `smoke`: the whole path in seconds, with tiny networks on little
data.
"""

import ml_collections

from genjax import core


def get_config():
  """Returns the values that all share; each configuration sets its own model, data and optim."""
  return ml_collections.ConfigDict(
    dict(
      model=dict(),
      data=dict(),
      task=dict(name="none"),
      optim=dict(),
      ema=dict(),
      eval_ema="",
      load=dict(),
      seed=0,
      steps=1000,
      batch=64,
      accumulate=1,
      dtype="float32",
      log_every=100,
      sample_every=1000,
      evaluate_every=0,
      save_every=1000,
      keep=1,
      milestone_every=0,
      sample_batch=64,
      samples=64,
      metrics=(),
      num=500,
    )
  )


def variant(config, arg, **variants):
  """Returns the configuration after the variants that FILE.py:A+B names, in their order.

  arg: "A+B", or "" for none.
  variants: functions from a configuration to a configuration, by name.

  Raises UserError for an unknown name.
  """
  table = {"smoke": smoke, **variants}
  for name in filter(None, arg.split("+")):
    if name not in table:
      raise core.unknown("variant", name, table)
    config = table[name](config)
  return config


def smoke(config):
  """Makes a run of 20 steps: tiny networks, a checkpoint every 5, metrics on few samples."""
  config.steps = 20
  config.batch = 16
  config.log_every = 5
  config.sample_every = 10
  config.save_every = 5
  config.sample_batch = 16
  config.samples = 16
  config.num = 32

  small(config.data, "data")
  small(config.model, "model")

  # A longer warm-up would keep the learning rate near 0 in so few steps.
  for rule in config.optim.values():
    if "schedule" in rule and rule.schedule.get("warmup"):
      rule.schedule.warmup = 2

  # There is no feature net for random pictures.
  if config.data.name == "fake":
    config.metrics = tuple(name for name in config.metrics if name not in FEATURES)

  # First stages are loaded from the runs of their own :smoke, named NAME-smoke or NAME-ARG+smoke.
  for group, run in config.load.items():
    path, _, part = run.partition(":")
    config.load[group] = f"{path}{'+' if '-' in path else '-'}smoke:{part}"

  return config


def small(spec, field):
  """Gives a spec, and every spec inside it, the sizes of SIZES, in place.

  Data of pictures become random pictures of 6 x 6 with the same levels.

  field: the name of the field that holds the spec, such as "model" or "sampler".
  """
  if field in ("data", "first", "second") and spec.name in PICTURES:
    kept = {key: spec[key] for key in ("range", "binarize", "one_hot") if key in spec}
    levels = 17 if spec.name == "digits" else 256
    for key in list(spec):
      del spec[key]
    spec.update(dict(name="fake", shape=(6, 6, 1), levels=levels, n=64, **kept))

  for key, value in spec.items():
    if hasattr(value, "keys") and "name" in value:
      small(value, key)

  # An adaptive sampler chooses its steps itself.
  if field == "sampler" and spec.name != "adaptive":
    spec.steps = 5
  for key, value in SIZES.get((field, spec.name), SIZES.get(spec.name, {})).items():
    spec[key] = value

  # probes=0 asks for the exact density, which fewer steps would not give.
  if spec.get("probes") == 0:
    spec.flow_steps = 24
  for key, value in WHERE_SET.items():
    if spec.get(key):
      spec[key] = value


# Metrics that need a feature net of the data.
FEATURES = ("fd", "kid", "prdc", "legible", "balance")
# Data of pictures, which `smoke` replaces.
PICTURES = ("mnist", "fashion_mnist", "digits", "image_folder")
# Fields that are 0 where they are not used; only other values are replaced.
WHERE_SET = dict(greedy=2, pseudo_inputs=3)
# {name of a class, or (field that holds it, name): its fields in `smoke`}
SIZES = {
  "toy": dict(n=500),
  "bars": dict(size=3, n=500),
  "mlp": dict(widths=(16, 16)),
  "cnn": dict(widths=(8, 8), groups=4),
  "deconv": dict(widths=(8, 8), groups=4),
  "down": dict(widths=(4, 8), blocks=1),
  "up": dict(widths=(4, 8), blocks=1),
  "unet": dict(
    channels=(4,), layers=1, attention=(False,), groups=2, head_dim=4, patch=1, dropout=0.0
  ),
  "transformer": dict(width=8, layers=1, heads=2),
  "dense": dict(widths=(8, 4)),
  "convolutional": dict(widths=(4, 8), code=4),
  "recurrent": dict(width=8, code=4),
  "spatial": dict(widths=(4, 8), blocks=1, code=3),
  "pyramid": dict(widths=(4,), blocks=1, code=3),
  "vdvae": dict(widths=(4, 8), blocks=(1, 1), code=2, patch=1),
  "vq": dict(codes=8, width=3),
  "residual": dict(codes=8, width=3, depth=2),
  "fsq": dict(levels=(4, 3, 3)),
  "topk": dict(k=2),
  "annealed_langevin": dict(corrections=2),
  "diffusion": dict(flow_steps=4, terms=4),
  "vdm": dict(flow_steps=4, terms=4),
  "dequantized": dict(flow_steps=4, terms=4),
  "vae": dict(importance=3),
  "hvae": dict(importance=3),
  "wgan_gp": dict(critic_steps=3),
  "gaussian_mixture": dict(components=3),
  "rbm": dict(hidden=5, chains=16, sweeps=10),
  ("latent", "gaussian"): dict(width=4),
  ("latent", "laplace"): dict(width=4),
  ("latent", "spherical"): dict(width=4),
  ("latent", "categorical"): dict(width=4, classes=3),
  ("latent", "grid"): dict(width=2, places=(2, 2)),
  ("dequantizer", "mlp"): dict(widths=(16, 16), out=2 * 6 * 6),
  ("aim", "importance"): dict(samples=3),
  ("aim", "factor"): dict(network=dict(name="mlp", widths=(16, 16), activation="leaky_relu")),
}
