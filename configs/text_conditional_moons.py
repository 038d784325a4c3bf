"""Two words say which of the moons and which end of it: diffusion with cross-attention.

python -m genjax.main --config=configs/text_conditional_moons.py
python -m genjax.main --mode=sample --workdir=runs/text_conditional_moons --text="upper left"
"""

from configs import base


def get_config(arg=""):
  config = base.get_config()
  config.data = dict(name="toy", kind="moons", words=True)
  config.model = dict(
    name="diffusion",
    network=dict(name="mlp", widths=(128, 128, 128), conditions=("text",)),
    process=dict(name="ddpm", noise=dict(name="cosine"), steps=100),
    sampler=dict(name="unipc", steps=20),
    prediction="v",
    hide=0.1,
  )
  config.optim = dict(denoiser=dict(name="adam", lr=2e-3, schedule=dict(name="warmup_cosine")))
  config.ema = dict(ema=dict(decay=0.995))
  config.eval_ema = "ema"
  config.update(dict(steps=5000, batch=256, sample_batch=512, samples=512, num=1000))
  config.update(dict(log_every=500, sample_every=2500, save_every=2500))
  config.metrics = ("w2", "heard")
  return base.variant(config, arg, smoke=smoke)


def smoke(config):
  """20 steps of a tiny network."""
  config = base.smoke(config)
  config.model.network.widths = (16, 16)
  config.model.sampler.steps = 5
  return config
