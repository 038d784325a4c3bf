"""What every configuration starts from; the keys are explained in genjax.config.Experiment."""

import ml_collections

from genjax import core


def get_config():
  """The slots that all share; model, data and optim are each configuration's own."""
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


def smoke(config):
  """The same path in 20 steps, saving every 5; metrics on few samples."""
  config.update(dict(steps=20, batch=16, log_every=5, sample_every=10, save_every=5))
  config.update(dict(sample_batch=16, samples=16, num=32))
  return config


def variant(config, arg, **others):
  """The variant of a configuration that FILE.py:ARG asks for; each is a function of the config."""
  table = {"": lambda config: config, "smoke": smoke, **others}
  if arg not in table:
    raise core.unknown("variant", arg, filter(None, table))
  return table[arg](config)
