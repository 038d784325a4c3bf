"""Tasks: fields computed from an example, which a model is told and from which it makes x.

A task never changes x. It adds a field (core.Field) beside x:

    super_resolution   "image"   x at a lower resolution                       Saharia et al. 2022
    gray               "image"   x without its colours
    edges              "image"   the steepness of x at each pixel
    half               "known"   x with one half missing
    box                "known"   x with a square in a random place missing

Every translation from picture to picture adds "image", and every completion adds "known", so that
one network serves all tasks of a group. Whatever is random about the fields of an example is a
function of uniform numbers `u`, which the pipeline draws from (seed, position), like all randomness
of the data.
"""

import dataclasses
from typing import ClassVar, Protocol

import numpy as np

from genjax import core

# side: (axis of [H, W, C], whether it is the first half of that axis)
SIDES = {"left": (1, True), "right": (1, False), "top": (0, True), "bottom": (0, False)}
# Weights of red, green and blue in the brightness, ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


class Task(Protocol):
  """Computes fields of an example from x.

  draws: how many uniform numbers an example needs.
  """

  draws: int

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Describes the added fields; raises core.UserError for data that the task cannot take."""

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    """Returns the added fields of a batch, in the units that models see.

    batch: with "x" in the units that models see, [B, *spec.shape].
    u: uniform numbers [B, draws]; None if draws is 0.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nothing:
  """Adds no field."""

  draws: ClassVar[int] = 0

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Returns no fields."""
    return {}

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuperResolution:
  """Adds "image" [H / factor, W / factor, C], the means of squares of factor x factor pixels.

  factor: must divide the height and the width.
  """

  factor: core.Size = 2
  draws: ClassVar[int] = 0

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Describes "image"; raises core.UserError if the factor does not divide the sides."""
    height, width, channels = _images("super_resolution", spec)
    if height % self.factor or width % self.factor:
      raise core.UserError(f"factor={self.factor} does not divide pictures of {height}x{width}")

    shape = height // self.factor, width // self.factor, channels
    return {"image": core.Field(shape=shape, range=spec.range, kind="image")}

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    x = batch["x"]
    f = self.factor
    b, h, w, c = x.shape
    squares = x.reshape(b, h // f, f, w // f, f, c)
    return {"image": squares.mean((2, 4), dtype=np.float32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gray:
  """Adds "image" [H, W, 1], the brightness of coloured pictures."""

  draws: ClassVar[int] = 0

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Describes "image"; raises core.UserError unless pictures have 3 channels."""
    height, width, channels = _images("gray", spec)
    if channels != 3:
      raise core.UserError(f"gray: needs coloured pictures, not {channels} channel(s)")
    return {"image": core.Field(shape=(height, width, 1), range=spec.range, kind="image")}

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    return {"image": (batch["x"] @ np.array(LUMA, np.float32))[..., None]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edges:
  """Adds "image" [H, W, 1], the length of the gradient of the mean over the channels.

  The gradient is taken by central differences, with the border pixels repeated. It is given as a
  share, in [0, 1], of the largest gradient that the range of x allows.
  """

  draws: ClassVar[int] = 0

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Describes "image"; raises core.UserError unless pictures have a range."""
    height, width, _ = _images("edges", spec)
    if not spec.range:
      raise core.UserError("edges: needs data whose values lie in a known range")
    return {"image": core.Field(shape=(height, width, 1), range=(0.0, 1.0), kind="image")}

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    low, high = spec.range
    x = (batch["x"].mean(-1) - low) / (high - low)  # [B, H, W] in [0, 1]
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")

    # Each difference is at most 1 in size, so the length is at most sqrt(2).
    down = x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    right = x[:, 1:-1, 2:] - x[:, 1:-1, :-2]
    length = np.sqrt((down**2 + right**2) / 2)
    return {"image": length.astype(np.float32)[..., None]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Half:
  """Adds "known" [H, W, C], x with one half missing.

  side: the half that is known, a name in SIDES; the larger one if the size is odd.

  Raises core.UserError for an unknown side.
  """

  side: str = "left"
  draws: ClassVar[int] = 0

  def __post_init__(self) -> None:
    if self.side not in SIDES:
      raise core.unknown("side", self.side, SIDES)

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Describes "known", which likelihoods call by the side."""
    _images("half", spec)
    return {"known": _part(spec, about=self.side)}

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    axis, first = SIDES[self.side]
    there = np.zeros((*batch["x"].shape[:-1], 1), np.float32)  # [B, H, W, 1]
    # The first of two parts is the larger one; counted from the end, it is the other side.
    place = np.array_split(np.arange(spec.shape[axis]), 2)[0]
    rows = place if first else -1 - place
    there[(slice(None),) * (1 + axis) + (rows,)] = 1
    return {"known": core.Partial(batch["x"] * there, there)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
  """Adds "known" [H, W, C], x with a square missing whose place is uniformly random.

  size: the side of the square, as a share of the shorter side of the picture.
  """

  size: core.Fraction = 0.5
  draws: ClassVar[int] = 2

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """Describes "known", which likelihoods call "surroundings"."""
    _images("box", spec)
    return {"known": dataclasses.replace(_part(spec, about="surroundings"), fixed=False)}

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray | None) -> core.Batch:
    height, width, _ = spec.shape
    side = round(self.size * min(height, width))
    top = np.floor(u[:, :1] * (height - side + 1))  # [B, 1]
    left = np.floor(u[:, 1:] * (width - side + 1))

    inside = lambda first, n: (np.arange(n) >= first) & (np.arange(n) < first + side)  # [B, n]
    hole = inside(top, height)[:, :, None] & inside(left, width)[:, None, :]  # [B, H, W]
    there = (~hole[..., None]).astype(np.float32)
    return {"known": core.Partial(batch["x"] * there, there)}


def _images(task: str, spec: core.DataSpec) -> tuple[int, ...]:
  """Returns the shape (H, W, C) of pictures; raises core.UserError for other data."""
  if len(spec.shape) != 3:
    raise core.UserError(f"task {task!r}: needs pictures [H, W, C], not data of shape {spec.shape}")
  return spec.shape


def _part(spec: core.DataSpec, about: str) -> core.Field:
  """Describes a field that is a part of x itself, called `about` by likelihoods."""
  return core.Field(
    shape=spec.shape, range=spec.range, levels=spec.levels, kind=spec.kind, about=about
  )


TASKS = {
  "none": Nothing,
  "super_resolution": SuperResolution,
  "gray": Gray,
  "edges": Edges,
  "half": Half,
  "box": Box,
}
