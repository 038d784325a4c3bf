"""The IDX file format of MNIST and data sets like it.

Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.

A file is a header and the entries of an array, in C order:

    bytes 0, 0, type, rank      type 8 is unsigned bytes, the only one that is read here
    rank sizes                  big-endian uint32 each
    the entries                 one byte each
"""

import gzip
import math
import os
import struct
import zlib

import numpy as np

from genjax import core

# Bytes of one unpacked file at most, so that no file can fill the memory: more than five times the
# largest file of MNIST.
LIMIT = 2**28


def read(path: str | os.PathLike) -> np.ndarray:
  """Reads an IDX file, gzipped or not, as a uint8 array.

  Raises core.UserError if the file cannot be read, or is not an IDX file of bytes.
  """
  try:
    # The name says nothing reliable: gzip files start with these two bytes.
    with open(path, "rb") as file:
      packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as file:
      # A file that goes on beyond the limit does not fit its header below.
      data = file.read(LIMIT + 1)
  except (OSError, EOFError, zlib.error) as error:
    raise core.UserError(f"cannot read {path}: {error}") from error

  if len(data) < 4 or data[:3] != b"\0\0\x08":
    raise core.UserError(f"{path} is not an IDX file of bytes")
  head = 4 + 4 * data[3]  # bytes of the header
  shape = struct.unpack(f">{data[3]}I", data[4:head]) if len(data) >= head else ()
  if not shape or len(data) != head + math.prod(shape):
    raise core.UserError(f"{path} is damaged: its length does not fit its header")
  return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def write(path: str | os.PathLike, array: np.ndarray) -> None:
  """Writes uint8 data as an IDX file, gzipped if its name ends in .gz."""
  array = np.ascontiguousarray(array, np.uint8)
  sizes = struct.pack(f">{array.ndim}I", *array.shape)
  data = b"\0\0\x08" + bytes([array.ndim]) + sizes
  with gzip.open(path, "wb") if str(path).endswith(".gz") else open(path, "wb") as file:
    file.write(data + array.tobytes())
