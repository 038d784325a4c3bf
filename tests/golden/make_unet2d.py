"""Makes unet2d.npz: an input and an output of diffusers' UNet2DModel, with seeded weights.

It was run once, by hand, in a Python environment of its own with torch 2.13.0 and diffusers 0.42.1.
Neither is a dependency of this project or of its tests:

    python tests/golden/make_unet2d.py

Every weight is drawn from a NumPy generator seeded by the parameter's own name and scaled by
1 / sqrt(fan in), so the test draws the same weights and the file holds only x, t and the output y.
"""

import math
import pathlib
import zlib

import numpy as np
import torch
from diffusers import UNet2DModel


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Draws the weights of a parameter name, in torch's layout (outputs first).

  Scales of norms vary around 1, all other weights around 0.
  """
  values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
  fan_in = math.prod(shape[1:])
  is_scale = "norm" in name and name.endswith("weight")
  return (is_scale + values / math.sqrt(fan_in if len(shape) > 1 else 10)).astype(np.float32)


def network() -> UNet2DModel:
  """Returns the network of 4,023,233 parameters; genjax.networks.unet.UNet() computes the same."""
  return UNet2DModel(
    sample_size=32,
    in_channels=1,
    out_channels=1,
    layers_per_block=2,
    block_out_channels=(32, 64, 128),
    norm_num_groups=8,
    down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
  )


def main():
  torch.set_grad_enabled(False)
  model = network().eval()
  for name, parameter in model.named_parameters():
    parameter.copy_(torch.from_numpy(draw(name, tuple(parameter.shape))))
  x = np.random.default_rng(0).standard_normal((3, 32, 32, 1)).astype(np.float32)
  t = np.array([0.0, 371.25, 999.0], np.float32)
  y = model(torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(t)).sample
  y = y.numpy().transpose(0, 2, 3, 1)
  np.savez_compressed(pathlib.Path(__file__).with_name("unet2d.npz"), x=x, t=t, y=y)
  print("output scale", np.abs(y).max(), y.std())


if __name__ == "__main__":
  main()
