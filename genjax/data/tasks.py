"""Tasks: fields that are made of an example and stand beside it, for models to be told.

A task never changes x. It adds fields (core.Field), from which a model then makes x:

    super_resolution   "image"   x at a lower resolution                       Saharia et al. 2022
    gray               "image"   x without its colours
    edges              "image"   how steep x is at each pixel
    half               "known"   x, of which one half is missing
    box                "known"   x, of which a square in a random place is missing

Every task from picture to picture makes "image" and every completion "known", so that one network
serves all of them. What is random about an example's fields is a function of uniform numbers `u`,
which the pipeline draws from (seed, position), as for all randomness of the data.
"""

import dataclasses
from typing import ClassVar, Protocol

import numpy as np

from genjax import core

# side: (axis of [H, W, C], whether it is the first half)
SIDES = {"left": (1, True), "right": (1, False), "top": (0, True), "bottom": (0, False)}
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


class Task(Protocol):
  """draws: how many uniform numbers an example needs."""

  draws: int

  def fields(self, spec: core.DataSpec) -> dict[str, core.Field]:
    """What is added to data of this spec. UserError for data that it is not for."""

  def __call__(self, batch: core.Batch, spec: core.DataSpec, u: np.ndarray) -> core.Batch:
    """The fields of a batch in model units; u: uniform [B, draws]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nothing:
  """No field is added."""

  draws: ClassVar[int] = 0

  def fields(self, spec):
    return {}

  def __call__(self, batch, spec, u):
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuperResolution:
  """The mean of each square of factor x factor pixels; factor divides height and width."""

  factor: core.Size = 2
  draws: ClassVar[int] = 0

  def fields(self, spec):
    height, width, channels = _images("super_resolution", spec)
    if height % self.factor or width % self.factor:
      raise core.UserError(f"factor={self.factor} does not divide pictures of {height}x{width}")
    shape = height // self.factor, width // self.factor, channels
    return {"image": core.Field(shape=shape, range=spec.range, kind="image")}

  def __call__(self, batch, spec, u):
    x, f = batch["x"], self.factor
    b, h, w, c = x.shape
    return {"image": x.reshape(b, h // f, f, w // f, f, c).mean((2, 4), dtype=np.float32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gray:
  """The brightness of coloured pictures, [H, W, 1]."""

  draws: ClassVar[int] = 0

  def fields(self, spec):
    height, width, channels = _images("gray", spec)
    if channels != 3:
      raise core.UserError(f"gray: needs coloured pictures, not {channels} channel(s)")
    return {"image": core.Field(shape=(height, width, 1), range=spec.range, kind="image")}

  def __call__(self, batch, spec, u):
    return {"image": (batch["x"] @ np.array(LUMA, np.float32))[..., None]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edges:
  """The length of the brightness' gradient (central differences, the border repeated), [H, W, 1].

  It is a share of the steepest that the range allows.
  """

  draws: ClassVar[int] = 0

  def fields(self, spec):
    height, width, _ = _images("edges", spec)
    if not spec.range:
      raise core.UserError("edges: needs data in a range")
    return {"image": core.Field(shape=(height, width, 1), range=(0.0, 1.0), kind="image")}

  def __call__(self, batch, spec, u):
    low, high = spec.range
    x = (batch["x"].mean(-1) - low) / (high - low)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down, right = x[:, 2:, 1:-1] - x[:, :-2, 1:-1], x[:, 1:-1, 2:] - x[:, 1:-1, :-2]
    return {"image": np.sqrt((down**2 + right**2) / 2).astype(np.float32)[..., None]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Half:
  """side: of the half that is known, a name in SIDES; of odd sizes it is the larger one."""

  side: str = "left"
  draws: ClassVar[int] = 0

  def __post_init__(self):
    if self.side not in SIDES:
      raise core.unknown("side", self.side, SIDES)

  def fields(self, spec):
    _images("half", spec)
    return {"known": _part(spec, about=self.side)}

  def __call__(self, batch, spec, u):
    axis, first = SIDES[self.side]
    there = np.zeros((*batch["x"].shape[:-1], 1), np.float32)
    place = np.array_split(np.arange(spec.shape[axis]), 2)[0]
    rows = place if first else -1 - place
    there[(slice(None),) * (1 + axis) + (rows,)] = 1
    return {"known": core.Partial(batch["x"] * there, there)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
  """size: of the square that is missing, as a share of the shorter side."""

  size: core.Fraction = 0.5
  draws: ClassVar[int] = 2

  def fields(self, spec):
    _images("box", spec)
    return {"known": dataclasses.replace(_part(spec, about="surroundings"), fixed=False)}

  def __call__(self, batch, spec, u):
    height, width, _ = spec.shape
    side = round(self.size * min(height, width))
    top = np.floor(u[:, :1] * (height - side + 1))
    left = np.floor(u[:, 1:] * (width - side + 1))
    inside = lambda first, n: (np.arange(n) >= first) & (np.arange(n) < first + side)
    hole = inside(top, height)[:, :, None] & inside(left, width)[:, None, :]
    there = (~hole[..., None]).astype(np.float32)
    return {"known": core.Partial(batch["x"] * there, there)}


def _images(task: str, spec: core.DataSpec) -> tuple[int, ...]:
  if len(spec.shape) != 3:
    raise core.UserError(f"task {task!r}: needs pictures [H, W, C], not data of {spec.shape}")
  return spec.shape


def _part(spec: core.DataSpec, about: str) -> core.Field:
  """A part of x itself."""
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
