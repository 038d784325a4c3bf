"""diffusers in PyTorch eager as a worker of run.py, in a Python environment of its own.

usage: theirs.py BATCH [channels_last]

The work is that of ours.py: a training step, a forward pass, a batch of samples.
"""

import sys

import torch
import worker
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler

from tests.golden.make_unet2d import network


class Work:
  """The methods that a line of input can name."""

  def __init__(self, batch: int, layout: torch.memory_format):
    torch.manual_seed(0)
    self.net = network().to(memory_format=layout)
    self.x = torch.randn(batch, 1, 32, 32).to(memory_format=layout)

    self.noise = DDPMScheduler(1000)
    self.pipeline = DDIMPipeline(self.net, DDIMScheduler(1000))
    self.pipeline.set_progress_bar_config(disable=True)

    self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-4)

  def step(self) -> float:
    """Makes one training step; reading the loss waits for it."""
    t = torch.randint(1000, (len(self.x),))
    eps = torch.randn_like(self.x)
    out = self.net(self.noise.add_noise(self.x, eps, t), t).sample
    loss = torch.nn.functional.mse_loss(out, eps)

    self.optimizer.zero_grad()
    loss.backward()
    self.optimizer.step()
    return loss.item()

  @torch.no_grad()
  def forward(self) -> None:
    """Applies the network to one batch."""
    self.net(self.x, torch.zeros(len(self.x)))

  def sample(self) -> None:
    """Generates one batch of samples by DDIM in 50 steps."""
    self.pipeline(batch_size=len(self.x), num_inference_steps=50, output_type="np")


def main() -> None:
  """Serves run.py until its input ends."""
  layout = torch.channels_last if "channels_last" in sys.argv else torch.contiguous_format
  worker.serve(Work(int(sys.argv[1]), layout))


if __name__ == "__main__":
  main()
