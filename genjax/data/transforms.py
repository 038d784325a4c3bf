"""Pure functions from stored examples to what models see, and back.

Stored pictures are uint8 grey levels k in {0, ..., levels - 1}. A model sees

    x = low + (high - low) k / (levels - 1)                                                      (1)

in float32, and `quantize` inverts (1) exactly by rounding.

Nothing here owns a generator: what is random is a function of uniform numbers `u` that are given.
`uniforms` draws them by position in one infinite stream. PCG64 can jump to its m-th output, and a
float64 uniform uses one output, so the numbers of position p are a pure function of (seed, p):
whoever loads position p, on whatever host and in whatever batch, draws the same.
"""

from collections.abc import Sequence

import numpy as np


def scale(x: np.ndarray, levels: int, range: tuple[float, float]) -> np.ndarray:
  """Grey levels 0..levels-1 -> float32 in `range`, by (1)."""
  low, high = range
  return x.astype(np.float32) * np.float32((high - low) / (levels - 1)) + np.float32(low)


def quantize(x: np.ndarray, levels: int, range: tuple[float, float]) -> np.ndarray:
  """The nearest grey level of x, uint8: inverts `scale` exactly, and clips what is out of range."""
  low, high = range
  k = np.rint((np.asarray(x, np.float64) - low) * ((levels - 1) / (high - low)))
  return np.clip(k, 0, levels - 1).astype(np.uint8)


def uniforms(
  seed: int, stream: int, positions: np.ndarray, shape: Sequence[int] = ()
) -> np.ndarray:
  """Uniform float64 numbers in [0, 1), [len(positions), *shape]; row i by positions[i] only.

  `stream` separates the uses of one seed. A run of consecutive positions costs one jump.
  """
  size = int(np.prod(shape, dtype=np.int64))
  root = np.random.SeedSequence(seed, spawn_key=(stream,))
  rows = []
  for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
    first = int(run[0]) if len(run) else 0
    rng = np.random.Generator(np.random.PCG64(root).advance(first * size))
    rows.append(rng.random((len(run), *shape)))
  return np.concatenate(rows)


def flip(x: np.ndarray, u: np.ndarray) -> np.ndarray:
  """Mirrors pictures [B, H, W, C] left to right where u [B] < 1/2."""
  return np.where((u < 0.5)[:, None, None, None], x[:, :, ::-1], x)


def threshold(x: np.ndarray, levels: int) -> np.ndarray:
  """1 where the grey level lies above half of the brightest, else 0; uint8."""
  return (2 * x.astype(np.int32) > levels - 1).astype(np.uint8)


def bernoulli(x: np.ndarray, levels: int, u: np.ndarray) -> np.ndarray:
  """1 with probability k / (levels - 1), else 0; uint8. `u` is uniform, of the shape of x."""
  return (u * (levels - 1) < x).astype(np.uint8)


def noise(x: np.ndarray, std: float, u: np.ndarray) -> np.ndarray:
  """x + std * N(0, 1) in float32, by Box and Muller; `u` is uniform [*x.shape, 2]."""
  normal = np.sqrt(-2 * np.log1p(-u[..., 0])) * np.cos(2 * np.pi * u[..., 1])
  return (x + std * normal).astype(np.float32)


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
  """Labels [B] -> float32 [B, classes]."""
  return np.eye(classes, dtype=np.float32)[label]
