"""From vectors to discrete codes and back.

    vq          the nearest of K vectors, which follow the means of what chose them:
                    n_k <- d n_k + (1 - d) |{z: k}|,   s_k <- d s_k + (1 - d) sum {z: k},
                    e_k = s_k / n_k                                                          (1)
                (van den Oord et al. 2017, arXiv:1711.00937, appendix A.1; d = 0: Lloyd's step)
    residual    `depth` of them, each for what those before it left over
                                                      Zeghidour et al. 2021, arXiv:2107.03312
    fsq         no codebook: each channel is rounded to one of its levels
                                                      Mentzer et al. 2023, arXiv:2309.15505, eq. 1

A code that fewer than `restart` of a batch's vectors choose on average is put on one of them
(Dhariwal et al. 2020, arXiv:2005.00341, section 3.1). A quantizer is pure: its codebook is an
argument, {} for fsq.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from genjax import core

Codebook = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQ:
  """codes: K; width: of a vector; decay: d; restart: see above, 0 for never."""

  codes: core.Size = 512
  width: core.Size = 64
  decay: core.Fraction = 0.99
  restart: core.NonNegative = 0.03
  depth = 1
  learnt = True  # there is a codebook, to which the encoder must commit

  @property
  def size(self) -> int:
    """How many values each index has."""
    return self.codes

  def start(self, key: jax.Array, z: jax.Array) -> Codebook:
    """Codes on vectors of a batch z [..., width]; {} without a codebook."""
    z = z.reshape(-1, self.width)
    books = []
    for k in jax.random.split(key, self.depth):
      pick, noise = jax.random.split(k)
      spread = jnp.std(z) + 1e-3
      book = z[jax.random.randint(pick, (self.codes,), 0, len(z))]
      books.append(book + 0.1 * spread * jax.random.normal(noise, book.shape))
      z = z - books[-1][_nearest(books[-1], z)]
    vectors = jnp.stack(books)
    ones = jnp.ones(vectors.shape[:2])
    count = self._fresh * ones
    return {"vectors": vectors, "count": count, "total": self._fresh * vectors, "chosen": 0 * ones}

  def index(self, book: Codebook, z: jax.Array) -> jax.Array:
    """z [..., width] -> int32 [..., depth]."""
    rest, found = z.reshape(-1, self.width), []
    for vectors in book["vectors"]:
      found.append(_nearest(vectors, rest))
      rest = rest - vectors[found[-1]]
    return jnp.stack(found, axis=-1).reshape(*z.shape[:-1], self.depth)

  def vector(self, book: Codebook, index: jax.Array) -> jax.Array:
    """int32 [..., depth] -> [..., width]."""
    parts = [vectors[index[..., i]] for i, vectors in enumerate(book["vectors"])]
    return sum(parts)

  def update(self, book: Codebook, z: jax.Array, index: jax.Array) -> Codebook:
    """Equation (1) for vectors z [..., width] and what they chose."""
    rest, index = z.reshape(-1, self.width), index.reshape(-1, self.depth)
    count, total, used = [], [], []
    for i, vectors in enumerate(book["vectors"]):
      chosen = jax.nn.one_hot(index[:, i], self.codes)
      count.append(self._mix(book["count"][i], chosen.sum(0)))
      used.append(self._mix(book["chosen"][i], chosen.sum(0)))
      total.append(self._mix(book["total"][i], chosen.T @ rest))
      rest = rest - vectors[index[:, i]]
    count, total = jnp.stack(count), jnp.stack(total)
    alive = count[..., None] > 1e-6
    vectors = jnp.where(alive, total / jnp.where(alive, count[..., None], 1.0), book["vectors"])
    return {"vectors": vectors, "count": count, "total": total, "chosen": jnp.stack(used)}

  def revive(self, book: Codebook, z: jax.Array, key: jax.Array) -> tuple[Codebook, jax.Array]:
    """(the codebook with dead codes put on vectors of z, how many)."""
    rest, books, dead = z.reshape(-1, self.width), [], book["count"] < self.restart
    for i, vectors in enumerate(book["vectors"]):
      pick = jax.random.randint(jax.random.fold_in(key, i), (self.codes,), 0, len(rest))
      books.append(jnp.where(dead[i][:, None], rest[pick], vectors))
      rest = rest - vectors[_nearest(vectors, rest)]
    vectors = jnp.stack(books)
    count = jnp.where(dead, self._fresh, book["count"])
    total = jnp.where(dead[..., None], self._fresh * vectors, book["total"])
    return {**book, "vectors": vectors, "count": count, "total": total}, jnp.sum(dead) * 1.0

  @property
  def _fresh(self) -> float:
    """The count of a code at first, with which it stays where it is for a step at least."""
    return max(1.0, self.restart / self.decay) if self.decay else 1.0

  def _mix(self, old, new):
    return self.decay * old + (1 - self.decay) * new


@dataclasses.dataclass(frozen=True, kw_only=True)
class Residual(VQ):
  """depth: number of codebooks; the rest as in VQ, for each."""

  depth: core.Size = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class FSQ:
  """levels: of each channel; their number is the width of a vector, their product that of codes."""

  levels: tuple[core.Size, ...] = (8, 5, 5, 5)
  depth = 1
  learnt = False
  restart = 0.0

  def __post_init__(self):
    if not self.levels or not 3 <= min(self.levels) <= max(self.levels) <= 1000:
      raise core.UserError(f"quantizer.levels={self.levels}: each channel needs 3 to 1000")

  @property
  def width(self) -> int:
    return len(self.levels)

  @property
  def size(self) -> int:
    return math.prod(self.levels)

  def start(self, key, z):
    return {}

  def bound(self, z: jax.Array) -> jax.Array:
    """z [..., width] -> where it is rounded to integers: levels / 2 on each side of 0."""
    levels = np.array(self.levels)
    half = (levels - 1) * (1 + 1e-3) / 2
    offset = np.where(levels % 2, 0.0, 0.5)
    shift = np.arctanh(offset / half)
    return jnp.tanh(z + shift) * half - offset

  def index(self, book, z):
    levels = np.array(self.levels)
    digit = jnp.round(self.bound(z)).astype(jnp.int32) + levels // 2
    base = np.cumprod([1, *self.levels[:-1]])
    return jnp.sum(digit * base, axis=-1, keepdims=True).astype(jnp.int32)

  def vector(self, book, index):
    """Each channel in [-1, 1]."""
    levels = np.array(self.levels)
    base = np.cumprod([1, *self.levels[:-1]])
    digit = (index // base) % levels
    return (digit - levels // 2) / (levels // 2)

  def through(self, z: jax.Array) -> jax.Array:
    """The vector of z, with the gradient of `bound`."""
    y = self.bound(z)
    rounded = y + jax.lax.stop_gradient(jnp.round(y) - y)
    return rounded / (np.array(self.levels) // 2)


QUANTIZERS = {"vq": VQ, "residual": Residual, "fsq": FSQ}


def _nearest(vectors, z):
  """The index of the nearest of vectors [K, D] to each of z [N, D]."""
  square = jnp.sum(vectors**2, axis=1) - 2 * z @ vectors.T
  return jnp.argmin(square, axis=1).astype(jnp.int32)
