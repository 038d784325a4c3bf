"""Every process on two moons, seconds each.

python -m genjax.main --config=configs/toys.py
python -m genjax.main --config=configs/toys.py:edm

Seed 0; 36 s of training each (ncsn: 63 s) on 2 cores of an Intel Xeon. Nats above the entropy of
the distribution along the probability flow (exact trace, 1,000 test points, ± 0.025), and
Wasserstein-2 distance of as many samples (real ones 0.20):

    vp      0.067  0.23      edm         0.040  0.22
    sub_vp  0.068  0.24      cond_ot     0.055  0.23
    ve      0.055  0.22      cosine      0.048  0.22
    ncsn    0.074  0.16      polynomial  0.058  0.25

`:self_conditioned`, flow matching that sees its own last guess, has not been measured.
"""

import functools

from configs import base

# name: (process, prediction, sampler)
TOYS = {
  "vp": (dict(), "eps", dict(name="dpm++", steps=20, grid=dict(name="log_snr"))),
  "sub_vp": (dict(), "eps", dict(name="dpm++", steps=20, grid=dict(name="log_snr"))),
  "ve": (dict(), "F", dict(name="heun", steps=20, grid=dict(name="karras"))),
  "edm": (dict(), "F", dict(name="heun", steps=20, grid=dict(name="karras"))),
  "ncsn": (
    dict(steps=50, sigma_min=0.02, sigma_max=10.0),
    "F",
    dict(name="annealed_langevin", steps=50),
  ),
  "cond_ot": (dict(), "velocity", dict(name="euler", steps=50)),
  "cosine": (dict(), "velocity", dict(name="euler", steps=50)),
  "polynomial": (dict(), "v", dict(name="ddim", steps=50)),
}


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="moons")
  config.model = dict(
    name="diffusion",
    network=dict(name="mlp", widths=(256, 256, 256)),
    probes=0,
    terms=64,
  )
  config.optim = dict(denoiser=dict(name="adam", lr=2e-3, schedule=dict(name="warmup_cosine")))
  config.ema = dict(ema=dict(decay=0.995))
  config.eval_ema = "ema"
  config.steps = 10_000
  config.batch = 256
  config.sample_batch = 500
  config.samples = 500
  config.num = 1000
  config.log_every = 500
  config.sample_every = 2000
  config.save_every = 2000
  config.metrics = ("w2", "likelihood")
  return base.variant(of(config, "vp"), arg, **VARIANTS)


def of(config, name):
  """The process called `name`, as it is usually predicted and walked."""
  process, prediction, sampler = TOYS[name]
  config.model.process = dict(name=name, **process)
  config.model.prediction = prediction
  config.model.sampler = sampler
  if name == "edm":  # sigma is t: uniform times would hardly look at little noise
    config.model.times = dict(name="log_normal", mean=-0.5, std=1.5)
  return config


def self_conditioned(config):
  """Flow matching that sees its own last guess, at the times that tell it most."""
  config = of(config, "cond_ot")
  config.model.times = dict(name="importance")
  config.model.self_condition = True
  return config


VARIANTS = {name: functools.partial(of, name=name) for name in TOYS}
VARIANTS["self_conditioned"] = self_conditioned
