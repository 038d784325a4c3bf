"""Hierarchical variational autoencoder (VDVAE) on binarized MNIST.

python -m genjax.main --config=configs/hvae_mnist.py

Seed 0, 4,000 training digits binarized anew each epoch, 500 test digits (5,000 of the 70,000 come
with a dependency): ELBO -103.1 ± 1.0 nats, importance bound -97.9 ± 1.0 with 100 samples; 7.4, 9.4,
9.9 and 17.4 nats are in the last four of the six blocks, none in the first two, and without warm-up
two blocks hold all (ELBO -106.0); 5 min 53 s of training on 2 cores of an Intel Xeon (12 steps/s).
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="mnist", source="auto", binarize="dynamic")
  config.model = dict(
    name="hvae",
    ladder=dict(name="vdvae", widths=(24, 32, 32), blocks=(1, 3, 2), code=8, patch=2),
    head=dict(name="bernoulli"),
    aim=dict(name="elbo", warmup=800),
    importance=100,
  )
  config.optim = dict(
    hvae=dict(name="adamw", lr=1e-3, clip=200.0, schedule=dict(name="warmup_cosine", warmup=100))
  )
  config.ema = dict(ema=dict(decay=0.999))
  config.eval_ema = "ema"
  config.steps = 4000
  config.batch = 64
  config.log_every = 200
  config.sample_every = 2000
  config.save_every = 1000
  config.metrics = ("likelihood", "reconstruction")
  return base.variant(config, arg)
