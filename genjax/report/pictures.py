"""Samples as pictures: grids, film strips, animations and scatter plots.

Images come as they are stored, uint8 in 0..levels-1, and leave as uint8 in 0..255. Whatever is
written is written whole: to a temporary file beside the target, then renamed over it. The same
arrays give the same bytes.
"""

import io
import os
import pathlib

import numpy as np

GAP = 1  # pixels between images, before enlarging
SHADE = 110  # of the gap: apart from black and from white
WIDTH = 640  # pixels that small pictures are enlarged towards


def write_bytes(path: str | os.PathLike, data: bytes) -> pathlib.Path:
  """Writes a file all at once: a reader, or a run cut short, never sees half of it."""
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
  """Grey levels 0..levels-1 -> 0..255, uint8: 0 stays black, levels - 1 is white."""
  images = np.asarray(images)
  if not np.issubdtype(images.dtype, np.integer) or levels < 2:
    raise ValueError(f"expected stored integer levels, got {images.dtype} with levels={levels}")
  if levels == 256:
    return images.astype(np.uint8)
  return np.round(images * (255 / (levels - 1))).clip(0, 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int = 8, levels: int = 256) -> np.ndarray:
  """[N, H, W, C] -> [rows (H + gap) - gap, columns (W + gap) - gap, C], row by row, uint8.

  Fewer than `columns` images make one narrower row; the last row is filled up with the gap's shade.
  """
  images = to_bytes(images, levels)
  if images.ndim != 4 or not len(images):
    raise ValueError(f"expected images [N, H, W, C] with N > 0, got shape {images.shape}")
  n, height, width, channels = images.shape
  columns = min(columns, n)
  rows = -(-n // columns)
  cells = np.full((rows * columns, height + GAP, width + GAP, channels), SHADE, np.uint8)
  cells[:n, :height, :width] = images
  cells = cells.reshape(rows, columns, height + GAP, width + GAP, channels).swapaxes(1, 2)
  return cells.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]


def strip(frames: np.ndarray, rows: int = 4, columns: int = 10, levels: int = 256) -> np.ndarray:
  """[F, N, H, W, C] -> a grid [.., .., C] of the first `rows` examples, time running to the right.

  At most `columns` of the frames, evenly spaced, the first and the last among them.
  """
  frames = np.asarray(frames)[spread(len(frames), columns), :rows]  # [columns, rows, H, W, C]
  return grid(frames.swapaxes(0, 1).reshape(-1, *frames.shape[2:]), len(frames), levels)


def spread(n: int, most: int) -> np.ndarray:
  """At most `most` of the indices 0..n-1, evenly spaced, with both ends."""
  return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def enlarge(image: np.ndarray, scale: int | None = None) -> np.ndarray:
  """[..., H, W, C] with every pixel repeated `scale` times in both directions.

  None: the largest factor that keeps the width within `WIDTH`, at least 1.
  """
  scale = max(1, WIDTH // image.shape[-2]) if scale is None else scale
  return image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def save_png(path: str | os.PathLike, image: np.ndarray, scale: int | None = None) -> pathlib.Path:
  """Writes [H, W, C] uint8 (C = 1 grey, 3 RGB, 4 RGBA), enlarged by `scale` (see `enlarge`)."""
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
  """Writes [F, H, W, C] uint8 as an endless animation; `ms` a frame, and a `pause` on the last.

  Grey levels are kept exactly; colours share one palette of 256, so that nothing flickers. Equal
  neighbouring frames become one that is shown for their time together.
  """
  frames = enlarge(np.asarray(frames), scale)
  height, width = frames.shape[1:3]
  every = _pillow(frames.reshape(-1, *frames.shape[2:]))  # one frame below the other
  every = every if every.mode == "L" else every.convert("RGB").quantize(256)
  pictures = [every.crop((0, i * height, width, (i + 1) * height)) for i in range(len(frames))]
  durations = [ms] * (len(pictures) - 1) + [ms + pause]
  out = io.BytesIO()
  pictures[0].save(
    out, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
  )
  return write_bytes(path, out.getvalue())


def box(points: np.ndarray) -> tuple[float, float, float, float]:
  """The square (x low, x high, y low, y high) around 98 % of points [..., D] in each coordinate.

  Points far off, as a diverging sampler makes them, leave it where the others are.
  """
  flat = _planar(points)
  flat = flat[np.isfinite(flat).all(axis=1)]
  if not len(flat):
    return -1.0, 1.0, -1.0, 1.0
  low, high = np.percentile(flat, (1, 99), axis=0)
  middle, half = (low + high) / 2, max(0.62 * float((high - low).max()), 1e-6)
  x, y = (float(m) for m in middle)
  return x - half, x + half, y - half, y + half


def scatter(
  frames: np.ndarray,
  reference: np.ndarray | None = None,
  limits: tuple[float, float, float, float] | None = None,
  pixels: int = 360,
) -> np.ndarray:
  """Points [F, N, D] (or one frame [N, D]) -> uint8 [pixels, F pixels, 3], frames side by side.

  The first two coordinates are drawn; a single one is spread out along the other axis. `reference`
  [M, D] lies in grey behind every frame; `limits` is `box` of all that is drawn unless given, as
  it must be for frames of one animation.
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
  """[..., D] -> [N, 2]."""
  flat = np.asarray(points, np.float64)
  flat = flat.reshape(-1, flat.shape[-1])
  if flat.shape[1] == 1:
    golden = np.arange(len(flat)) * 0.6180339887498949 % 1  # even, and the same every time
    return np.stack([flat[:, 0], 2 * golden - 1], axis=1)
  return flat[:, :2]


def _pillow(image: np.ndarray):
  """[H, W, C] uint8 -> PIL image."""
  from PIL import Image

  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
    raise ValueError(f"expected uint8 [H, W, 1, 3 or 4], got {image.dtype} {image.shape}")
  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
