"""Distributions in the plane, easy to look at, most of them with a known entropy.

The entropy H in nats is the least mean negative log-likelihood that any model can reach; what a
model has above H is its regret. Below, C is an independent draw of N(0, I), R a rotation matrix:

    8gaussians    2 sqrt(2) (cos a, sin a) + C / (2 sqrt(2)),  a in {0, pi/4, ...}     H  2.8316
    checkerboard  uniform on 8 of the 16 squares of side 2 in [-4, 4]^2                H  ln 32
    moons         2 (half circles, radius 1, + 0.1 C) - (1, 0.2)                       H  2.3939
    circles       3 (circles of radius 1 and 1/2 + 0.08 C)                             H  3.2681
    pinwheel      five bent arms, 2 R(-a - exp(r) / 4) (r, s), r ~ N(1, 0.3^2), s ~ N(0, 0.1^2)
    spirals       two arms, whose squared angle is uniform in [0, (3 pi)^2]
    ring8         (cos a, sin a) + 0.01 C                           H  ln 8 + ln(2 pi e 0.01^2)
    grid25        {-4, -2, 0, 2, 4}^2 + 0.05 C                      H  ln 25 + ln(2 pi e 0.05^2)

The first six come from FFJORD (Grathwohl et al., 2019, https://arxiv.org/abs/1810.01367), the last
two from PacGAN (Lin et al., 2018, https://arxiv.org/abs/1712.04086); points are drawn independently
here, not in a fixed number from each class. The label of a point is its component, arm or circle.

A point of the moons can also be described by two words: "upper" or "lower" for the moon, and "left"
or "right" for the half of that moon.
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
  """A distribution in the plane.

  draw: (generator, label [N]) -> points [N, 2].
  classes: number of labels, all equally likely.
  entropy: in nats, None if unknown.
  """

  draw: Draw
  classes: int
  entropy: float | None


def circle(angle: np.ndarray) -> np.ndarray:
  """Returns the points [N, 2] of the unit circle at angles [N]."""
  return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def eight_gaussians(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] around 8 centers on a circle of radius 2 sqrt(2)."""
  center = 4 * circle(label * (np.pi / 4))
  return (center + 0.5 * rng.standard_normal((len(label), 2))) / 2**0.5


def checkerboard(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] in 8 squares of side 2: every other one of 4 columns and 4 rows."""
  column = label // 2
  row = label % 2
  # Odd columns start one square higher.
  corner = np.stack([2 * column - 4, 4 * row - 4 + 2 * (column % 2)], axis=-1)
  return corner + 2 * rng.random((len(label), 2))


def moons(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] on an upper (label 0) and a lower (label 1) half circle, with noise."""
  arc = circle(np.pi * rng.random(len(label)))
  lower = np.array([1.0, 0.5]) - arc
  x = np.where(label[:, None] == 0, arc, lower) + 0.1 * rng.standard_normal(arc.shape)
  return 2 * x - np.array([1.0, 0.2])


def circles(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] on an outer (label 0) and an inner (label 1) circle, with noise."""
  radius = np.where(label == 0, 1.0, 0.5)
  x = circle(2 * np.pi * rng.random(len(label))) * radius[:, None]
  return 3 * (x + 0.08 * rng.standard_normal(x.shape))


def pinwheel(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] on 5 arms, bent more the further out they are."""
  # Place along the arm and across it.
  r = 1 + 0.3 * rng.standard_normal(len(label))
  s = 0.1 * rng.standard_normal(len(label))
  along = circle(-label * (2 * np.pi / 5) - 0.25 * np.exp(r))
  across = np.stack([-along[:, 1], along[:, 0]], axis=-1)
  return 2 * (r[:, None] * along + s[:, None] * across)


def spirals(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] on two spiral arms, opposite to each other, with noise."""
  # The root makes points about equally dense along the arm, whose radius grows with the angle.
  angle = 3 * np.pi * np.sqrt(rng.random(len(label)))
  arm = np.stack([-np.cos(angle), np.sin(angle)], axis=-1) * angle[:, None]
  arm = (arm + 0.5 * rng.random(arm.shape)) / 3
  side = np.where(label == 0, 1, -1)
  return side[:, None] * arm + 0.1 * rng.standard_normal(arm.shape)


def ring8(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] very close to 8 centers on the unit circle."""
  return circle(label * (np.pi / 4)) + 0.01 * rng.standard_normal((len(label), 2))


def grid25(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
  """Draws points [N, 2] close to the 25 nodes of a grid with steps of 2."""
  center = np.stack([2 * (label // 5) - 4, 2 * (label % 5) - 4], axis=-1)
  return center + 0.05 * rng.standard_normal((len(label), 2))


def separate(components: int, std: float) -> float:
  """Returns the entropy of K equally likely Gaussians in the plane, ln K + ln(2 pi e std^2).

  This holds where the components are round and do not overlap.
  """
  return math.log(components) + math.log(2 * math.pi * math.e * std**2)


# Entropies of four digits are integrals of the densities over the plane.
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
  """Returns the two words of each point of the moons, int32 [N, 2]: positions in WORDS."""
  # Each moon is 4 wide; the first coordinate of its middle is -1 (upper) or 1 (lower).
  middle = np.where(split["label"] == 0, -1.0, 1.0)
  right = split["x"][:, 0] > middle
  return np.stack([split["label"], 2 + right], axis=1).astype(np.int32)


# The first word of a point is one of the first two, the second word one of the others.
WORDS = ("upper", "lower", "left", "right")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(sources.Source):
  """Independent draws of a distribution in the plane, float32 [N, 2].

  kind: a name in SHAPES.
  n: number of training points; valid and test have a fifth as many each.
  words: adds a field "text" of two words that say where a point lies; for "moons" only.
  """

  kind: str = "moons"
  n: core.Size = 10_000
  words: bool = False

  @property
  def shape(self) -> Shape:
    """The distribution; raises core.UserError for an unknown kind."""
    if self.kind not in SHAPES:
      raise core.unknown("data.kind", self.kind, SHAPES)
    return SHAPES[self.kind]

  @property
  def entropy(self) -> float | None:
    """The entropy of the distribution in nats, None if unknown."""
    return self.shape.entropy

  def load(self) -> sources.Dataset:
    """Draws the points; raises core.UserError for an unknown kind, or one that has no words."""
    shape = self.shape
    if self.words and self.kind != "moons":
      raise core.UserError(f"data.words=True: only 'moons' have words, not {self.kind!r}")

    splits = {}
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

    # The hashes are of all columns, so the words change them.
    told = {name: {**split, "text": words_of(split)} for name, split in splits.items()}
    text = core.Field(shape=(2,), dtype="int32", levels=len(WORDS), kind="text", names=WORDS)
    return data._replace(spec=data.spec.beside(text=text), splits=told, hash=sources.hashes(told))
