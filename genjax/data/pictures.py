"""Picture files of any mode, decoded to uint8 arrays.

Files come from anywhere, so decoding is defensive: no file may fill the memory or run a program.
"""

import contextlib
import os
from typing import BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps

# Decoders that only decode: PIL would run a PostScript interpreter for an .eps named .png.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# Pixels of a picture at most: a small file can claim a picture that fills the memory.
LIMIT = 2**26


def peek(file: str | os.PathLike | BinaryIO) -> PIL.Image.Image:
  """Opens a picture and reads its header only.

  Raises ValueError or OSError if the file is not a picture, or has more than LIMIT pixels.
  """
  try:
    image = PIL.Image.open(file, formats=FORMATS)
  except PIL.UnidentifiedImageError:
    raise ValueError("not a picture") from None
  except PIL.Image.DecompressionBombError as error:
    raise ValueError(str(error)) from None

  if image.width * image.height > LIMIT:
    raise ValueError(f"{image.width}x{image.height} is above the limit of {LIMIT:,} pixels")
  return image


def decode(file: str | os.PathLike | BinaryIO, channels: int, size: int = 0) -> np.ndarray:
  """Decodes the first frame of a picture, uint8 [H, W, channels].

  The picture is turned upright, and transparent pixels are laid over white. 16-bit grey keeps its
  upper byte. Raises ValueError or OSError if the file cannot be decoded.

  channels: 1 for grey, 3 for colour.
  size: if not 0, the middle square is resized to [size, size, channels].
  """
  with peek(file) as image:
    if size:
      # JPEG can be decoded at a fraction of its size, which is faster for large files.
      image.draft(None, (2 * size, 2 * size))
    try:
      image.load()
    except Exception as error:
      # A decoder may raise any exception at all on damaged data.
      raise ValueError(f"damaged: {error}") from error

    image = opaque(upright(image)).convert("L" if channels == 1 else "RGB")
    if size:
      image = PIL.ImageOps.fit(image, (size, size), PIL.Image.Resampling.LANCZOS)
    x = np.asarray(image)
  return x[..., None] if channels == 1 else x


def opaque_where(file: str | os.PathLike | BinaryIO) -> np.ndarray:
  """Returns which pixels of a picture are not fully transparent, bool [H, W].

  Raises ValueError or OSError if the file cannot be decoded.
  """
  with peek(file) as image:
    try:
      image.load()
    except Exception as error:
      # A decoder may raise any exception at all on damaged data.
      raise ValueError(f"damaged: {error}") from error

    image = upright(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
      return np.asarray(image.convert("RGBA"))[..., 3] > 0
    return np.ones((image.height, image.width), bool)


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
  """Turns a picture, in place, as its metadata say; damaged metadata are ignored."""
  with contextlib.suppress(Exception):
    PIL.ImageOps.exif_transpose(image, in_place=True)
  return image


def opaque(image: PIL.Image.Image) -> PIL.Image.Image:
  """Returns the picture with at most 8 bits a channel and without transparency, laid over white.

  Raises ValueError if the pixels are floating-point numbers.
  """
  if image.mode == "F":
    raise ValueError("pixels are floating-point numbers of unknown range")

  if image.mode.startswith("I"):
    # 16-bit grey: PIL's own conversion would clip it to 255 instead of scaling.
    upper = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255)
    return PIL.Image.fromarray(upper.astype("u1"))

  if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
    image = image.convert("RGBA")
    white = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(white, image)
  return image
