"""Words as pictures."""

from collections.abc import Sequence

import numpy as np

# Sides of a cell, in pixels, from which on words in it can be read.
SMALLEST = 48


def cells(titles: Sequence[str], height: int, width: int) -> np.ndarray:
  """Returns N titles in black on white, uint8 [N, height, width, 3].

  Each word gets its own line, unless a cell is more than twice as wide as high.
  """
  out = np.full((len(titles), height, width, 3), 255, np.uint8)
  drawn = {}  # many samples have the same title

  for i, title in enumerate(titles):
    if title not in drawn:
      lines = title if width > 2 * height else title.replace(" ", "\n")
      drawn[title] = _draw(lines, height, width)
    out[i] = drawn[title]
  return out


def _draw(text: str, height: int, width: int) -> np.ndarray:
  """Returns a text in the middle of a white picture, uint8 [height, width, 3]."""
  from PIL import Image, ImageDraw, ImageFont

  image = Image.new("RGB", (width, height), "white")
  draw = ImageDraw.Draw(image)

  # The largest letters that fit, else the smallest.
  for size in range(18, 5, -1):
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, spacing=1)
    if right - left <= width and bottom - top <= height:
      break

  corner = (width - right - left) / 2, (height - bottom - top) / 2
  draw.multiline_text(corner, text, font=font, fill="black", spacing=1, align="center")
  return np.asarray(image)
