"""RBM on bars and stripes, by persistent contrastive divergence.

python -m genjax.main --config=configs/rbm_bars.py

Seed 0: 3.534 nats by enumeration, 0.155 ± 0.009 above the entropy of the distribution; 18 s of
training on 2 cores of an Intel Xeon.
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="bars", kind="bars-and-stripes", size=4)
  config.model = dict(name="rbm", hidden=16, chains=256, gibbs=10, sweeps=1000)
  config.optim = dict(rbm=dict(name="adam", lr=0.005, schedule=dict(name="warmup_linear")))
  config.ema = dict(ema=dict(decay=0.99))
  config.eval_ema = "ema"
  config.steps = 10_000
  config.batch = 256
  config.sample_batch = 256
  config.num = 1000
  config.log_every = 500
  config.sample_every = 2000
  config.save_every = 2000
  config.metrics = ("likelihood",)
  return base.variant(config, arg)
