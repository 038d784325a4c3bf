"""genjax as a worker of run.py: reads a name a line, does it once, answers with the seconds.

    step      one training step, as the loop compiles it
    forward   the network on one batch
    sample    one batch of samples, one compiled program

usage: ours.py batch=64 ...       overrides of unet.py
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import worker

from genjax import config as config_lib
from genjax import core
from genjax.runs import build, conditions
from genjax.training import runtime, sharding

CONFIG = str(pathlib.Path(__file__).with_name("unet.py"))


class Work:
  """What can be asked for; everything is compiled at the first call."""

  def __init__(self, overrides):
    values, _ = config_lib.from_file(CONFIG, overrides)
    self.setup, over = build.assemble(values), sharding.mesh()
    self.batch = sharding.place(self.setup.pipeline.at(0), over)
    self.state = self.setup.initial(over, {})
    self.step_fn = self.setup.program(over).once
    network = self.setup.model.network
    call = lambda params, x, t: core.call(network, "denoiser", params, {"denoiser": {}}, x, t, {})
    self.net = runtime.Jit(call)
    self.index = jnp.arange(values["batch"])
    names = getattr(self.setup.model, "conditions", ())
    self.cond = conditions.Conditions(names, self.setup.pipeline).at(np.asarray(self.index), "test")
    self.params = jax.tree.map(jnp.copy, self.state.params)  # the state's are donated

  def step(self):
    self.state, metrics = self.step_fn(self.state, self.batch, due=(0,))
    return metrics

  def forward(self):
    return self.net(self.params, self.batch["x"], jnp.zeros(len(self.index)))

  def sample(self):
    return self.setup.sample(
      self.params, {"denoiser": {}}, jax.random.key(0), self.index, self.cond
    )


def main() -> None:
  runtime.keep_memory()
  worker.serve(Work(sys.argv[1:]), jax.block_until_ready)


if __name__ == "__main__":
  main()
