"""Samples as pictures: grids, film strips, animations and scatter plots.

Images come in as they are stored, integers in 0..levels-1, and go out as uint8 in 0..255. A file is
written to a temporary file beside it, which then takes its name, so that it is never incomplete.
The same arrays give the same bytes.
"""

import io
import os
import pathlib
from typing import Any

import numpy as np

# Pixels between the images of a grid, before enlarging.
GAP = 1
# Grey level of the gaps, which is neither black nor white.
SHADE = 110
# Small pictures are enlarged to at most this many pixels of width.
WIDTH = 640


def write_bytes(path: str | os.PathLike, data: bytes) -> pathlib.Path:
  """Writes a file atomically, so that nobody ever sees half of it, and returns its path."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f".{path.name}.{os.getpid()}")

  try:
    part.write_bytes(data)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)
  return path


def to_bytes(images: np.ndarray, levels: int = 256) -> np.ndarray:
  """Returns integer grey levels 0..levels-1 as uint8 in 0..255; levels - 1 becomes white.

  Raises ValueError if the images are not integers or if there are fewer than two levels.
  """
  images = np.asarray(images)
  if not np.issubdtype(images.dtype, np.integer) or levels < 2:
    raise ValueError(f"expected stored integer levels, got {images.dtype} with levels={levels}")

  if levels == 256:
    return images.astype(np.uint8)
  return np.round(images * (255 / (levels - 1))).clip(0, 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int = 8, levels: int = 256) -> np.ndarray:
  """Returns one picture of many images, arranged row by row, as uint8.

  [N, H, W, C] -> [rows (H + GAP) - GAP, columns (W + GAP) - GAP, C]. Fewer than `columns` images
  make one shorter row. Empty places in the last row have the shade of the gaps.

  Raises ValueError for another shape than [N, H, W, C] with N > 0.
  """
  images = to_bytes(images, levels)
  if images.ndim != 4 or not len(images):
    raise ValueError(f"expected images [N, H, W, C] with N > 0, got shape {images.shape}")

  n, height, width, channels = images.shape
  columns = min(columns, n)
  rows = -(-n // columns)  # rounded up

  # A cell is an image with its gap below and at its right.
  tall = height + GAP
  wide = width + GAP
  cells = np.full((rows * columns, tall, wide, channels), SHADE, np.uint8)
  cells[:n, :height, :width] = images

  # [rows, columns, H, W, C] -> [rows, H, columns, W, C], whose axes join in pairs.
  cells = cells.reshape(rows, columns, tall, wide, channels).swapaxes(1, 2)
  cells = cells.reshape(rows * tall, columns * wide, channels)
  return cells[:-GAP, :-GAP]


def strip(frames: np.ndarray, rows: int = 4, columns: int = 10, levels: int = 256) -> np.ndarray:
  """Returns a film strip of the first `rows` examples, with time from left to right.

  frames: [F, N, H, W, C], N examples at F times. At most `columns` of the F times are shown, evenly
    spaced, with the first and the last.
  """
  frames = np.asarray(frames)[spread(len(frames), columns), :rows]  # [columns, rows, H, W, C]
  return grid(frames.swapaxes(0, 1).reshape(-1, *frames.shape[2:]), len(frames), levels)


def spread(n: int, most: int) -> np.ndarray:
  """Returns at most `most` of the indices 0..n-1, evenly spaced, with both ends."""
  return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def enlarge(image: np.ndarray, scale: int | None = None) -> np.ndarray:
  """Returns an image [..., H, W, C] with every pixel repeated `scale` times in both directions.

  scale: None for the largest factor that keeps the width within WIDTH, at least 1.
  """
  scale = max(1, WIDTH // image.shape[-2]) if scale is None else scale
  return image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def save_png(path: str | os.PathLike, image: np.ndarray, scale: int | None = None) -> pathlib.Path:
  """Writes an image as PNG, enlarged by `scale` (see `enlarge`), and returns the path.

  image: [H, W, C] uint8, where C is 1 (grey), 3 (RGB) or 4 (RGBA).
  """
  out = io.BytesIO()
  _pillow(enlarge(image, scale)).save(out, "PNG", optimize=True)
  return write_bytes(path, out.getvalue())


def save_gif(
  path: str | os.PathLike,
  frames: np.ndarray,
  ms: int = 80,
  pause: int = 2000,
  scale: int | None = None,
) -> pathlib.Path:
  """Writes frames as an endless GIF animation and returns the path.

  frames: [F, H, W, C] uint8. Grey levels are kept exactly; colours share one palette of 256. Equal
    neighbouring frames become one frame, which is shown for the sum of their times.
  ms: milliseconds for each frame.
  pause: milliseconds more for the last frame.
  scale: see `enlarge`.
  """
  frames = enlarge(np.asarray(frames), scale)
  height, width = frames.shape[1:3]

  # The frames one below the other as one picture get one palette, so that nothing flickers.
  every = _pillow(frames.reshape(-1, *frames.shape[2:]))
  every = every if every.mode == "L" else every.convert("RGB").quantize(256)
  pictures = [every.crop((0, i * height, width, (i + 1) * height)) for i in range(len(frames))]
  durations = [ms] * (len(pictures) - 1) + [ms + pause]

  out = io.BytesIO()
  pictures[0].save(
    out,
    "GIF",
    save_all=True,
    append_images=pictures[1:],
    duration=durations,
    loop=0,
  )
  return write_bytes(path, out.getvalue())


def box(points: np.ndarray) -> tuple[float, float, float, float]:
  """Returns a square (x low, x high, y low, y high) around points [..., D].

  In each coordinate it holds at least the middle 98 % of the points, so that a few points far off,
  such as a diverging sampler makes, do not matter. Points that are not finite are left out.
  """
  flat = _planar(points)
  flat = flat[np.isfinite(flat).all(axis=1)]
  if not len(flat):
    return -1.0, 1.0, -1.0, 1.0

  low, high = np.percentile(flat, (1, 99), axis=0)
  middle = (low + high) / 2
  # A margin of 12 % of the longer side on each side; the side of equal points is not zero.
  half = max(0.62 * float((high - low).max()), 1e-6)
  x, y = (float(m) for m in middle)
  return x - half, x + half, y - half, y + half


def scatter(
  frames: np.ndarray,
  reference: np.ndarray | None = None,
  limits: tuple[float, float, float, float] | None = None,
  pixels: int = 360,
) -> np.ndarray:
  """Returns scatter plots, one for each frame and side by side, [pixels, F pixels, 3] uint8.

  frames: points [F, N, D], or one frame [N, D]. The first two coordinates are drawn; points of one
    coordinate are spread out along the other axis.
  reference: points [M, D], drawn in grey behind every frame.
  limits: (x low, x high, y low, y high), by default `box` of all points. Frames of one animation
    that are drawn by several calls need common limits.
  pixels: the height of the picture and the width of each frame.
  """
  from matplotlib.backends import backend_agg
  from matplotlib.figure import Figure

  frames = np.asarray(frames, np.float64)
  frames = frames[None] if frames.ndim == 2 else frames
  drawn = [_planar(frames)] if reference is None else [_planar(frames), _planar(reference)]
  limits = box(np.concatenate(drawn)) if limits is None else limits

  figure = Figure(figsize=(len(frames) * pixels / 100, pixels / 100), dpi=100, facecolor="white")
  canvas = backend_agg.FigureCanvasAgg(figure)

  for i, frame in enumerate(frames):
    axes = figure.add_axes(((i + 0.02) / len(frames), 0.02, 0.96 / len(frames), 0.96))
    if reference is not None:
      axes.scatter(*_planar(reference).T, s=5, c="#c9c9c9", linewidths=0)
    axes.scatter(*_planar(frame).T, s=6, c="#1f5f99", alpha=0.6, linewidths=0)
    axes.set(xlim=limits[:2], ylim=limits[2:], xticks=(), yticks=())
    for side in axes.spines.values():
      side.set_color("#d8d8d8")

  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _planar(points: np.ndarray) -> np.ndarray:
  """Returns points [..., D] as a list [N, 2] of their first two coordinates.

  For D = 1 the second coordinate spreads the points evenly over (-1, 1).
  """
  flat = np.asarray(points, np.float64)
  flat = flat.reshape(-1, flat.shape[-1])
  if flat.shape[1] == 1:
    # Multiples of the golden ratio modulo 1: evenly spread, and the same at every call.
    golden = np.arange(len(flat)) * 0.6180339887498949 % 1
    return np.stack([flat[:, 0], 2 * golden - 1], axis=1)
  return flat[:, :2]


def _pillow(image: np.ndarray) -> Any:
  """Returns a PIL image of [H, W, C] uint8. Raises ValueError for another dtype or shape."""
  from PIL import Image

  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
    raise ValueError(f"expected uint8 [H, W, 1, 3 or 4], got {image.dtype} {image.shape}")
  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
