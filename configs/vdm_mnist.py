"""VDM on MNIST: likelihood, with a learned noise schedule.

python -m genjax.main --config=configs/vdm_mnist.py

Seed 0, 4,000 training digits: at most 2.10 ± 0.03 bits per dimension by the variational bound, of
200 test digits, and still falling where training ends (DDPM: 2.38; independent pixels, whose black
border costs them nothing: 1.74). 21 min of training on 2 cores of an Intel Xeon.
"""

from configs import ddpm_mnist


def get_config(arg=""):
  config = ddpm_mnist.get_config(arg)
  config.model.name = "vdm"
  config.model.network.update(dict(conditions=(), fourier=(7, 8), dropout=0.1))
  config.model.process = dict(name="learned")
  config.model.guidance = dict(name="none")
  config.model.hide = 0.0
  config.model.sampler = dict(name="ancestral", steps=5 if arg == "smoke" else 250)
  schedule = dict(name="constant")
  config.optim.ends = dict(name="adam", lr=1e-2, schedule=schedule)
  config.optim.schedule = dict(name="adam", lr=1e-2, schedule=schedule)
  config.ema.ema.groups = ("denoiser",)
  if arg != "smoke":
    config.model.update(dict(flow_steps=8, terms=64))
    config.update(dict(steps=2400, sample_every=1200, metrics=("likelihood",), num=200))
  return config
