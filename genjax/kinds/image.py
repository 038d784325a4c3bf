"""Pictures: read from files, drawn in a grid."""

import dataclasses
import os
from typing import Any

import numpy as np

from genjax import core
from genjax.data import pictures as files
from genjax.kinds import letters
from genjax.kinds.shown import Shown
from genjax.report import pictures

# Samples in a row of the grid, if they stand alone.
COLUMNS = 8
# Samples in a row of the grid, if each stands beside its conditions.
GROUPS = 4
# The colour of pixels that are missing; no grey level can be mistaken for it.
MISSING = (70, 90, 150)


@dataclasses.dataclass(frozen=True)
class Image:
  """Pictures [H, W, C] with values in field.range; transparent pixels of a file are missing.

  word: the flag that gives a picture on the command line.
  behind: 0, since nothing is drawn behind pictures.
  """

  word: str = "image"
  behind: int = 0

  def read(self, text: str, field: core.Field, flag: str) -> core.Partial:
    """Returns the picture in the file `text` as a core.Partial [H, W, C], in model units.

    Raises UserError if the file cannot be read or has another size, and if the field does not have
    1 or 3 channels.
    """
    height, width, channels = field.shape
    if channels not in (1, 3):
      raise core.UserError(f"--{flag}: a file has 1 or 3 channels, but this field has {channels}")
    text = os.path.expanduser(text)
    if not os.path.isfile(text):
      raise core.UserError(f"--{flag}={text}: there is no such file")
    try:
      x = files.decode(text, channels)  # [H, W, C] uint8
      there = files.opaque_where(text)  # [H, W] bool
    except (OSError, ValueError) as e:
      raise core.UserError(f"--{flag}={text}: cannot be read as a picture ({e})") from None
    if x.shape != field.shape:
      raise core.UserError(
        f"--{flag}={text}: {x.shape[1]}x{x.shape[0]} pixels, expected {width}x{height}"
      )

    # From 0..255 to the range of the field; binary pictures become black or white.
    low, high = field.range or (-1.0, 1.0)
    share = x.astype(np.float32) / 255
    if field.levels == 2:
      share = np.float32(share > 0.5)

    there = there.astype(np.float32)[..., None]
    return core.Partial(((low + (high - low) * share) * there).astype(np.float32), there)

  def cells(self, a: Any, field: core.Field, height: int, width: int) -> np.ndarray:
    """Returns pictures [N, H, W, C] in model units as uint8 [N, height, width, 3].

    a: an array, or a core.Partial whose missing pixels get the colour MISSING.
    """
    value, there = core.Partial(*map(np.asarray, a)) if isinstance(a, core.Partial) else (a, None)
    low, high = field.range or (float(np.min(value)), float(np.max(value)))
    x = np.rint(255 * (np.asarray(value) - low) / (high - low)).clip(0, 255).astype(np.uint8)

    x = np.broadcast_to(x, (*x.shape[:-1], 3))
    if there is not None:
      x = np.where(there > 0, x, np.array(MISSING, np.uint8))
    return resized(x, height, width)

  def titles(self, a: Any, field: core.Field) -> None:
    """Returns None: a picture cannot be said in words."""
    return None

  def picture(self, shown: Shown) -> np.ndarray:
    """Returns samples as one grid, uint8 [height, width, C].

    Each sample has its conditions at its left, and the truth at its right if there is one.
    """
    levels = shown.spec.levels
    if not shown.told:
      return pictures.grid(shown.x, columns=COLUMNS, levels=levels)

    # Words need larger cells than small pictures give; -(-a // b) rounds a / b up.
    height, width = shown.spec.shape[:2]
    if any(t.kind.titles(t.value, t.field) for t in shown.told):
      scale = -(-letters.SMALLEST // min(height, width))
      height, width = height * scale, width * scale

    # From left to right: the conditions, the sample, the truth; each [N, height, width, 3].
    parts = [t.kind.cells(t.value, t.field, height, width) for t in shown.told]
    for x in (shown.x, shown.truth):
      if x is not None:
        coloured = np.broadcast_to(pictures.to_bytes(x, levels), (*x.shape[:-1], 3))
        parts.append(resized(coloured, height, width))

    # [N, parts, ...] -> [N parts, ...]: the parts of one sample become neighbours.
    woven = np.stack(parts, axis=1).reshape(-1, height, width, 3)
    return pictures.grid(woven, columns=GROUPS * len(parts))

  def legend(self, shown: Shown) -> list[str]:
    """Returns what stands side by side in `picture`, from the left; [] for samples alone."""
    if not shown.told:
      return []
    return [*(t.name for t in shown.told), "sample", *["truth"] * (shown.truth is not None)]

  def pairs(self, x: np.ndarray, again: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """Returns examples and their reconstructions as one grid: a row of x, then one of `again`.

    x, again: [N, *event] in stored units.
    """
    rows = [np.split(part, range(COLUMNS, len(part), COLUMNS)) for part in (x, again)]
    woven = np.concatenate([part for row in zip(*rows) for part in row])
    return pictures.grid(woven, columns=COLUMNS, levels=spec.levels)

  def strip(self, film: np.ndarray, spec: core.DataSpec) -> np.ndarray:
    """Returns a film [frames, N, *event] as one image in which time runs to the right."""
    return pictures.strip(film, rows=6, columns=12, levels=spec.levels)


def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
  """Returns pictures [N, H, W, C] as [N, height, width, C], by the nearest pixel."""
  rows = np.arange(height) * x.shape[1] // height
  columns = np.arange(width) * x.shape[2] // width
  return x[:, rows][:, :, columns]
