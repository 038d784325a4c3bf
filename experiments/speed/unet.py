"""The network of the comparison: diffusers' UNet2DModel with 4,023,233 parameters, on 32 x 32 x 1.

This is a configuration of genjax; the comparison is

python experiments/speed/run.py
"""

from typing import Any

from configs import base


def get_config(arg: str = "") -> Any:
  """Returns the configuration, or the variant of it that `arg` names."""
  config = base.get_config()
  config.data = dict(name="fake", shape=(32, 32, 1))
  config.model = dict(
    name="diffusion",
    network=dict(name="unet"),
    process=dict(name="ddpm", noise=dict(name="linear"), steps=1000),
    sampler=dict(name="ddim", steps=50),
  )
  config.optim = dict(denoiser=dict(name="adam", lr=1e-4))
  return base.variant(config, arg)
