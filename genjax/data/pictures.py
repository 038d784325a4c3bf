"""Picture files of any mode -> uint8 arrays; no file may fill the memory or run anything."""

import contextlib
import os
from typing import BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps

# Decoders that only decode: PIL would run a PostScript interpreter for an .eps named .png.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LIMIT = 2**26  # pixels: a small file can claim a picture that fills the memory


def peek(file: str | os.PathLike | BinaryIO) -> PIL.Image.Image:
  """Reads the header; raises ValueError or OSError if it is no picture, or one above the limit."""
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
  """The first frame as uint8 [H, W, channels], upright, transparency laid over white.

  With `size`, the middle square is resized to [size, size, channels]. 16-bit grey keeps its upper
  byte. Raises ValueError or OSError for what cannot be decoded.
  """
  with peek(file) as image:
    if size:
      image.draft(None, (2 * size, 2 * size))  # large JPEG files are decoded at a fraction
    try:
      image.load()
    except Exception as error:  # a decoder of damaged data raises whatever it trips over
      raise ValueError(f"damaged: {error}") from error
    image = opaque(upright(image)).convert("L" if channels == 1 else "RGB")
    if size:
      image = PIL.ImageOps.fit(image, (size, size), PIL.Image.Resampling.LANCZOS)
    x = np.asarray(image)
  return x[..., None] if channels == 1 else x


def opaque_where(file: str | os.PathLike | BinaryIO) -> np.ndarray:
  """Where a picture is not wholly transparent, bool [H, W]. Raises as `decode`."""
  with peek(file) as image:
    try:
      image.load()
    except Exception as error:  # a decoder of damaged data raises whatever it trips over
      raise ValueError(f"damaged: {error}") from error
    image = upright(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
      return np.asarray(image.convert("RGBA"))[..., 3] > 0
    return np.ones((image.height, image.width), bool)


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
  """Turned as its metadata asks; damaged metadata ask for nothing."""
  with contextlib.suppress(Exception):
    PIL.ImageOps.exif_transpose(image, in_place=True)
  return image


def opaque(image: PIL.Image.Image) -> PIL.Image.Image:
  """An 8-bit picture without transparency."""
  if image.mode == "F":
    raise ValueError("pixels are floating-point numbers of unknown range")
  if image.mode.startswith("I"):  # 16 bits; PIL's own conversion would clip them to 255
    return PIL.Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype("u1"))
  if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
    image = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
  return image
