"""Pictures: read from files, drawn side by side."""

import dataclasses
import os

import numpy as np

from genjax import core
from genjax.data import pictures as files
from genjax.kinds import letters
from genjax.kinds.shown import Shown
from genjax.report import pictures

COLUMNS = 8
GROUPS = 4  # samples in a row, each beside what it was drawn for
MISSING = (70, 90, 150)  # the colour of what is not there


@dataclasses.dataclass(frozen=True)
class Image:
  """Pictures [H, W, C] in field.range; what is transparent in a file is missing."""

  word: str = "image"
  behind: int = 0

  def read(self, text: str, field: core.Field, flag: str) -> core.Partial:
    height, width, channels = field.shape
    if channels not in (1, 3):
      raise core.UserError(f"--{flag}: a file has 1 or 3 channels, and this field {channels}")
    if not os.path.isfile(text):
      raise core.UserError(f"--{flag}={text}: there is no such file")
    try:
      x, there = files.decode(text, channels), files.opaque_where(text)
    except (OSError, ValueError) as e:
      raise core.UserError(f"--{flag}={text}: cannot be read as a picture ({e})") from None
    if x.shape != field.shape:
      raise core.UserError(
        f"--{flag}={text}: {x.shape[1]}x{x.shape[0]} pixels, expected {width}x{height}"
      )
    low, high = field.range or (-1.0, 1.0)
    share = x.astype(np.float32) / 255
    if field.levels == 2:
      share = np.float32(share > 0.5)
    there = there.astype(np.float32)[..., None]
    return core.Partial(((low + (high - low) * share) * there).astype(np.float32), there)

  def cells(self, a, field: core.Field, height: int, width: int) -> np.ndarray:
    value, there = core.Partial(*map(np.asarray, a)) if isinstance(a, core.Partial) else (a, None)
    low, high = field.range or (float(np.min(value)), float(np.max(value)))
    x = np.rint(255 * (np.asarray(value) - low) / (high - low)).clip(0, 255).astype(np.uint8)
    x = np.broadcast_to(x, (*x.shape[:-1], 3))
    if there is not None:
      x = np.where(there > 0, x, np.array(MISSING, np.uint8))
    return resized(x, height, width)

  def titles(self, a, field: core.Field) -> None:
    return None

  def picture(self, shown: Shown) -> np.ndarray:
    """A grid; each sample behind what it was drawn for and before the truth, if there is one."""
    levels = shown.spec.levels
    if not shown.told:
      return pictures.grid(shown.x, columns=COLUMNS, levels=levels)
    height, width = shown.spec.shape[:2]
    if any(t.kind.titles(t.value, t.field) for t in shown.told):
      scale = -(-letters.SMALLEST // min(height, width))
      height, width = height * scale, width * scale
    parts = [t.kind.cells(t.value, t.field, height, width) for t in shown.told]
    for x in (shown.x, shown.truth):
      if x is not None:
        coloured = np.broadcast_to(pictures.to_bytes(x, levels), (*x.shape[:-1], 3))
        parts.append(resized(coloured, height, width))
    woven = np.stack(parts, axis=1).reshape(-1, height, width, 3)
    return pictures.grid(woven, columns=GROUPS * len(parts))

  def legend(self, shown: Shown) -> list[str]:
    """What stands beside each other in `picture`, from the left; [] if there are only samples."""
    if not shown.told:
      return []
    return [*(t.name for t in shown.told), "sample", *["truth"] * (shown.truth is not None)]

  def pairs(self, x: np.ndarray, again: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """Examples and their reconstructions, both [N, *event] in stored units, below each other."""
    rows = [np.split(part, range(COLUMNS, len(part), COLUMNS)) for part in (x, again)]
    woven = np.concatenate([part for row in zip(*rows) for part in row])
    return pictures.grid(woven, columns=COLUMNS, levels=spec.levels)

  def strip(self, film: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """A film [frames, N, *event] as one image, time running to the right."""
    return pictures.strip(film, rows=6, columns=12, levels=spec.levels)


def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
  """Nearest neighbours: [N, H, W, C] -> [N, height, width, C]."""
  rows = np.arange(height) * x.shape[1] // height
  columns = np.arange(width) * x.shape[2] // width
  return x[:, rows][:, :, columns]
