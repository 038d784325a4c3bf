"""genjax as a worker of run.py: reads names, one a line, does each once and prints the seconds.

    step      one training step, compiled as in the training loop
    forward   the network on one batch
    sample    one batch of samples, in one compiled program

usage: ours.py batch=64 ...       overrides of unet.py
"""

import pathlib
import sys
from collections.abc import Sequence

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
  """The methods that a line of input can name; each is compiled at its first call."""

  def __init__(self, overrides: Sequence[str]):
    values, _ = config_lib.from_file(CONFIG, overrides)
    self.setup = build.assemble(values)
    over = sharding.mesh()

    # Training.
    self.batch = sharding.place(self.setup.pipeline.at(0), over)
    self.state = self.setup.initial(over, {})
    self.step_fn = self.setup.program(over).once

    # The network alone.
    network = self.setup.model.network
    call = lambda params, x, t: core.call(network, "denoiser", params, {"denoiser": {}}, x, t, {})
    self.net = runtime.Jit(call)

    # Sampling.
    self.index = jnp.arange(values["batch"])
    names = getattr(self.setup.model, "conditions", ())
    self.cond = conditions.Conditions(names, self.setup.pipeline).at(np.asarray(self.index), "test")
    # A copy, because a training step donates the arrays of the state.
    self.params = jax.tree.map(jnp.copy, self.state.params)

  def step(self) -> core.Metrics:
    """Makes one training step."""
    self.state, metrics = self.step_fn(self.state, self.batch, due=(0,))
    return metrics

  def forward(self) -> jax.Array:
    """Applies the network to one batch."""
    return self.net(self.params, self.batch["x"], jnp.zeros(len(self.index)))

  def sample(self) -> jax.Array:
    """Generates one batch of samples."""
    return self.setup.sample(
      self.params, {"denoiser": {}}, jax.random.key(0), self.index, self.cond
    )


def main() -> None:
  """Serves run.py until its input ends."""
  runtime.keep_memory()
  worker.serve(Work(sys.argv[1:]), jax.block_until_ready)


if __name__ == "__main__":
  main()
