"""RBM on bars and stripes, by persistent contrastive divergence.

python -m genjax.main --config=configs/rbm_bars.py
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="bars", kind="bars-and-stripes", size=4)
  config.model = dict(name="rbm", hidden=16, chains=256, gibbs=5, sweeps=1000)
  config.optim = dict(rbm=dict(name="adam", lr=0.01, schedule=dict(name="warmup_linear")))
  config.ema = dict(ema=dict(decay=0.99))
  config.eval_ema = "ema"
  config.update(dict(steps=3000, batch=256, sample_batch=256, num=1000))
  config.metrics = ("likelihood",)
  return base.variant(config, arg)
