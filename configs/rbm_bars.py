"""RBM on bars and stripes, by persistent contrastive divergence.

python -m genjax.main --config=configs/rbm_bars.py

Results with seed 0:

    nats            3.533, by enumeration: 0.154 ± 0.008 above the entropy of the distribution
    training time   20 s on 2 cores of an AMD EPYC
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
