"""The IDX format of MNIST and its kin: big-endian magic 0, 0, type, rank; sizes; then the bytes.

Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits. Only unsigned bytes
(type 8) occur here.
"""

import gzip
import math
import os
import struct
import zlib

import numpy as np

from genjax import core

LIMIT = 2**28  # bytes of one file, unpacked: three times the largest known one


def read(path: str | os.PathLike) -> np.ndarray:
  """The uint8 array of an IDX file, gzipped or not; raises core.UserError if it is not one."""
  try:
    with open(path, "rb") as file:
      packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as file:
      data = file.read(LIMIT + 1)
  except (OSError, EOFError, zlib.error) as error:
    raise core.UserError(f"cannot read {path}: {error}") from error
  if len(data) < 4 or data[:3] != b"\0\0\x08":
    raise core.UserError(f"{path} is not an IDX file of bytes")
  head = 4 + 4 * data[3]
  shape = struct.unpack(f">{data[3]}I", data[4:head]) if len(data) >= head else ()
  if not shape or len(data) != head + math.prod(shape):
    raise core.UserError(f"{path} is damaged: its length does not fit its header")
  return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def write(path: str | os.PathLike, array: np.ndarray) -> None:
  """Writes uint8 data as IDX, gzipped if the name ends in .gz."""
  array = np.ascontiguousarray(array, np.uint8)
  data = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
  with gzip.open(path, "wb") if str(path).endswith(".gz") else open(path, "wb") as file:
    file.write(data + array.tobytes())
