"""A diffusion model of a folder of your own pictures.

python -m genjax.main --config=configs/own_pictures.py --config.data.dir=DIR

Size (8, 16, 32 or 64 pixels) and channels (grey or colour) are found by looking at the pictures.
`--config.data.size=32 --config.data.channels=3` sets others.

Sub-folders are classes. If the model is trained with `--config.model.network.conditions=label`,
samples of one class can be asked for: `--mode=sample --label=0`.

`--mode=describe` with the same flags tells what a run costs on this machine.
"""

from configs import base, ddpm_mnist


def get_config(arg=""):
  config = ddpm_mnist.get_config()
  config.data = dict(name="image_folder", dir="", size=0, channels=0, flip=True)
  config.model.network.conditions = ()
  config.model.guidance = dict(name="none")
  config.model.hide = 0.0
  config.metrics = ("nearest",)
  config.num = 100
  return base.variant(config, arg)
