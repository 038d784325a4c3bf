"""Pure functions that turn stored examples into what models see, and back.

Stored pictures hold uint8 grey levels k in {0, ..., levels - 1}. A model sees, in float32,

    x = low + (high - low) k / (levels - 1).                                                     (1)

`quantize` inverts (1) exactly, by rounding.

No function here owns a random generator. Whatever is random is a function of uniform numbers `u`
passed as an argument. `uniforms` reads them from one infinite stream, by position: the generator
PCG64 can jump to its m-th output, and one float64 uniform uses one output, so the numbers of
position p are a pure function of (seed, p). Whoever loads position p, on any host and in any batch,
draws the same numbers.
"""

from collections.abc import Sequence

import numpy as np


def scale(x: np.ndarray, levels: int, range: tuple[float, float]) -> np.ndarray:
  """Maps grey levels 0..levels-1 to float32 numbers in `range`, by (1)."""
  low, high = range
  step = np.float32((high - low) / (levels - 1))
  return x.astype(np.float32) * step + np.float32(low)


def quantize(x: np.ndarray, levels: int, range: tuple[float, float]) -> np.ndarray:
  """Returns the nearest grey levels, uint8: the exact inverse of `scale`.

  Values of x outside `range` are clipped.
  """
  low, high = range
  k = np.rint((np.asarray(x, np.float64) - low) * ((levels - 1) / (high - low)))
  return np.clip(k, 0, levels - 1).astype(np.uint8)


def uniforms(
  seed: int, stream: int, positions: np.ndarray, shape: Sequence[int] = ()
) -> np.ndarray:
  """Returns uniform float64 numbers in [0, 1), [N, *shape].

  stream: separates independent uses of one seed.
  positions: integers [N]; row i depends on positions[i] alone. Consecutive positions are cheapest,
    since each run of them costs one jump of the generator.
  shape: of the numbers of one position.
  """
  size = int(np.prod(shape, dtype=np.int64))
  root = np.random.SeedSequence(seed, spawn_key=(stream,))

  # Cut the positions where they are not consecutive; an empty array is one empty run.
  starts = np.flatnonzero(np.diff(positions) != 1) + 1
  rows = []
  for run in np.split(positions, starts):
    first = int(run[0]) if len(run) else 0
    rng = np.random.Generator(np.random.PCG64(root).advance(first * size))
    rows.append(rng.random((len(run), *shape)))
  return np.concatenate(rows)


def flip(x: np.ndarray, u: np.ndarray) -> np.ndarray:
  """Mirrors those of the pictures x [B, H, W, C] left to right whose uniform u [B] is below 1/2."""
  return np.where((u < 0.5)[:, None, None, None], x[:, :, ::-1], x)


def threshold(x: np.ndarray, levels: int) -> np.ndarray:
  """Returns 1 where a grey level is above half of the brightest level, else 0; uint8."""
  # In int32, because 2 * x overflows uint8.
  return (2 * x.astype(np.int32) > levels - 1).astype(np.uint8)


def bernoulli(x: np.ndarray, levels: int, u: np.ndarray) -> np.ndarray:
  """Draws 1 with probability x / (levels - 1), else 0; uint8.

  u: uniform numbers of the shape of x.
  """
  return (u * (levels - 1) < x).astype(np.uint8)


def noise(x: np.ndarray, std: float, u: np.ndarray) -> np.ndarray:
  """Adds Gaussian noise of standard deviation `std`; float32 of the shape of x.

  u: uniform numbers [*x.shape, 2], turned into normal numbers by the method of Box and Muller.
  """
  # 1 - u lies in (0, 1], so that the logarithm is finite.
  radius = np.sqrt(-2 * np.log1p(-u[..., 0]))
  normal = radius * np.cos(2 * np.pi * u[..., 1])
  return (x + std * normal).astype(np.float32)


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
  """Turns integer labels [B] into float32 vectors [B, classes]."""
  return np.eye(classes, dtype=np.float32)[label]
