"""Words as pictures."""

from collections.abc import Sequence

import numpy as np

SMALLEST = 48  # pixels of a cell that words can be read in


def cells(titles: Sequence[str], height: int, width: int) -> np.ndarray:
  """Each title in black on white, a word a line unless it is wide, uint8 [N, height, width, 3]."""
  out = np.full((len(titles), height, width, 3), 255, np.uint8)
  drawn = {}
  for i, title in enumerate(titles):
    if title not in drawn:
      lines = title if width > 2 * height else title.replace(" ", "\n")
      drawn[title] = _draw(lines, height, width)
    out[i] = drawn[title]
  return out


def _draw(text, height, width):
  from PIL import Image, ImageDraw, ImageFont

  image = Image.new("RGB", (width, height), "white")
  draw = ImageDraw.Draw(image)
  for size in range(18, 5, -1):  # the largest letters that fit
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, spacing=1)
    if right - left <= width and bottom - top <= height:
      break
  corner = (width - right - left) / 2, (height - bottom - top) / 2
  draw.multiline_text(corner, text, font=font, fill="black", spacing=1, align="center")
  return np.asarray(image)
