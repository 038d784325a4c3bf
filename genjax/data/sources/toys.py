"""Distributions in the plane that can be looked at, most with a known entropy.

The entropy H is the least mean negative log-likelihood that any model can reach, so a model's own
figure minus H is its regret in nats. With C for an independent draw of N(0, I):

    8gaussians    2 sqrt(2) (cos a, sin a) + C / (2 sqrt(2)),  a in {0, pi/4, ...}     H  2.8316
    checkerboard  uniform on 8 of the 16 squares of side 2 in [-4, 4]^2                H  ln 32
    moons         2 (half circles, radius 1, + 0.1 C) - (1, 0.2)                       H  2.3939
    circles       3 (circles of radius 1 and 1/2 + 0.08 C)                             H  3.2681
    pinwheel      five bent arms, 2 R(-a - exp(r) / 4) (r, s), r ~ N(1, 0.3^2), s ~ N(0, 0.1^2)
    spirals       two arms, their squared angle uniform in [0, (3 pi)^2]
    ring8         (cos a, sin a) + 0.01 C                           H  ln 8 + ln(2 pi e 0.01^2)
    grid25        {-4, -2, 0, 2, 4}^2 + 0.05 C                      H  ln 25 + ln(2 pi e 0.05^2)

The first six are those of FFJORD (Grathwohl et al., 2019, https://arxiv.org/abs/1810.01367), the
last two those of PacGAN (Lin et al., 2018, https://arxiv.org/abs/1712.04086), drawn independently
rather than in a fixed number from each class. Labels are the component, arm or circle.

Moons can be told in two words: "upper" or "lower", and "left" or "right", which end of it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from genjax import core
from genjax.data.sources import base as sources

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


class Shape(NamedTuple):
  """draw: (generator, label [N]) -> points [N, 2]; entropy in nats, None where unknown."""

  draw: Draw
  classes: int
  entropy: float | None


def circle(angle: np.ndarray) -> np.ndarray:
  """Angles [N] -> points [N, 2] on the unit circle."""
  return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def eight_gaussians(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  return (4 * circle(label * (np.pi / 4)) + 0.5 * rng.standard_normal((len(label), 2))) / 2**0.5


def checkerboard(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  column, row = label // 2, label % 2  # squares of side 2: 4 columns, every other one of 4 rows
  corner = np.stack([2 * column - 4, 4 * row - 4 + 2 * (column % 2)], axis=-1)
  return corner + 2 * rng.random((len(label), 2))


def moons(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  arc = circle(np.pi * rng.random(len(label)))
  lower = np.array([1.0, 0.5]) - arc
  x = np.where(label[:, None] == 0, arc, lower) + 0.1 * rng.standard_normal(arc.shape)
  return 2 * x - np.array([1.0, 0.2])


def circles(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  x = circle(2 * np.pi * rng.random(len(label))) * np.where(label == 0, 1.0, 0.5)[:, None]
  return 3 * (x + 0.08 * rng.standard_normal(x.shape))


def pinwheel(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  r, s = 1 + 0.3 * rng.standard_normal(len(label)), 0.1 * rng.standard_normal(len(label))
  along = circle(-label * (2 * np.pi / 5) - 0.25 * np.exp(r))
  across = np.stack([-along[:, 1], along[:, 0]], axis=-1)
  return 2 * (r[:, None] * along + s[:, None] * across)


def spirals(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  angle = 3 * np.pi * np.sqrt(rng.random(len(label)))
  arm = np.stack([-np.cos(angle), np.sin(angle)], axis=-1) * angle[:, None]
  arm = (arm + 0.5 * rng.random(arm.shape)) / 3
  return np.where(label == 0, 1, -1)[:, None] * arm + 0.1 * rng.standard_normal(arm.shape)


def ring8(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  return circle(label * (np.pi / 4)) + 0.01 * rng.standard_normal((len(label), 2))


def grid25(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  center = np.stack([2 * (label // 5) - 4, 2 * (label % 5) - 4], axis=-1)
  return center + 0.05 * rng.standard_normal((len(label), 2))


def separate(components: int, std: float) -> float:
  """Entropy of equally likely, far apart, round Gaussians in the plane: ln K + ln(2 pi e std^2)."""
  return math.log(components) + math.log(2 * math.pi * math.e * std**2)


SHAPES = {
  "8gaussians": Shape(eight_gaussians, 8, 2.8316),
  "checkerboard": Shape(checkerboard, 8, math.log(32)),
  "moons": Shape(moons, 2, 2.3939),
  "circles": Shape(circles, 2, 3.2681),
  "pinwheel": Shape(pinwheel, 5, None),
  "spirals": Shape(spirals, 2, None),
  "ring8": Shape(ring8, 8, separate(8, 0.01)),
  "grid25": Shape(grid25, 25, separate(25, 0.05)),
}


def words_of(split: sources.Split) -> np.ndarray:
  """Which moon a point lies on, and on which end of it: int32 [N, 2] of WORDS."""
  middle = np.where(split["label"] == 0, -1.0, 1.0)  # of each moon, from left to right
  return np.stack([split["label"], 2 + (split["x"][:, 0] > middle)], axis=1).astype(np.int32)


WORDS = ("upper", "lower", "left", "right")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(sources.Source):
  """Independent draws of a distribution in the plane, float32 [N, 2].

  kind: a name in SHAPES.
  n: training points; valid and test have a fifth of that each.
  words: whether a field "text" tells of each point where it lies, moons only.
  """

  kind: str = "moons"
  n: core.Size = 10_000
  words: bool = False

  @property
  def shape(self) -> Shape:
    if self.kind not in SHAPES:
      raise core.unknown("data.kind", self.kind, SHAPES)
    return SHAPES[self.kind]

  @property
  def entropy(self) -> float | None:
    """In nats, the floor of every model's mean negative log-likelihood; None where unknown."""
    return self.shape.entropy

  def load(self) -> sources.Dataset:
    shape, splits = self.shape, {}
    if self.words and self.kind != "moons":
      raise core.UserError(f"data.words=True: only 'moons' have words, not {self.kind!r}")
    for i, (name, n) in enumerate(zip(sources.SPLITS, sources.draws(self.n))):
      rng = sources.generator(i)
      label = rng.integers(0, shape.classes, n)
      x = shape.draw(rng, label).astype(np.float32)
      splits[name] = {"x": x, "label": label.astype(np.int32)}
    origin = f"{self.kind}: {self.n:,} training points, drawn; `--config.data.n` draws more"
    data = self.points(self.kind, splits, shape.classes, origin, "none (synthetic)")
    data = data._replace(entropy=self.entropy)
    if not self.words:
      return data
    told = {name: {**split, "text": words_of(split)} for name, split in splits.items()}
    text = core.Field(shape=(2,), dtype="int32", levels=len(WORDS), kind="text", names=WORDS)
    return data._replace(spec=data.spec.beside(text=text), splits=told, hash=sources.hashes(told))
