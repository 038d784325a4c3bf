"""Quantizers: from vectors to discrete codes and back.

    vq          the nearest of K code vectors e_k. They follow the running means of the vectors z
                that chose them:
                    n_k <- d n_k + (1 - d) |{z: k}|,   s_k <- d s_k + (1 - d) sum {z: k},
                    e_k = s_k / n_k                                                          (1)
                where {z: k} is the set of vectors in the batch that chose k (van den Oord et al.
                2017, arXiv:1711.00937, appendix A.1; d = 0 is a step of Lloyd's k-means)
    residual    `depth` codebooks, one after the other; each quantizes what is left of z after
                those before it                       Zeghidour et al. 2021, arXiv:2107.03312
    fsq         no codebook: each channel of z is rounded to one of a few levels
                                                      Mentzer et al. 2023, arXiv:2309.15505, eq. 1

A code is dead if n_k, the running mean of how many vectors of a batch choose it, is below
`restart`. A dead code is moved onto a random vector of the batch (Dhariwal et al. 2020,
arXiv:2005.00341, section 3.1).

A quantizer is a pure function: its codebook is an argument, which is {} for fsq.
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
  """Vector quantization with a codebook that follows the data, equation (1).

  The codebook is a dict, with one row for each of `depth` books (a single one here):

    vectors   [depth, codes, width], e_k
    count     [depth, codes], n_k
    total     [depth, codes, width], s_k
    chosen    [depth, codes], for logs: as n_k, but starts at 0 and is not changed by restarts

  codes: K, the number of codes in each book.
  width: number of channels of a vector.
  decay: d of (1).
  restart: n_k below which a code is dead, see above; 0 never restarts one.
  """

  codes: core.Size = 512
  width: core.Size = 64
  decay: core.Fraction = 0.99
  restart: core.NonNegative = 0.03
  depth = 1
  # There is a codebook to learn, so the encoder is held close to it by a commitment loss.
  learnt = True

  @property
  def size(self) -> int:
    """The number of values that an index can have."""
    return self.codes

  def start(self, key: jax.Array, z: jax.Array) -> Codebook:
    """Returns a codebook whose codes lie near random vectors of a batch z [..., width]."""
    z = z.reshape(-1, self.width)
    books = []
    for k in jax.random.split(key, self.depth):
      pick, noise = jax.random.split(k)

      # A little noise, so that codes on the same vector differ.
      spread = jnp.std(z) + 1e-3
      book = z[jax.random.randint(pick, (self.codes,), 0, len(z))]
      books.append(book + 0.1 * spread * jax.random.normal(noise, book.shape))

      # The next book is for what this one leaves over.
      z = z - books[-1][_nearest(books[-1], z)]

    vectors = jnp.stack(books)
    ones = jnp.ones(vectors.shape[:2])
    return {
      "vectors": vectors,
      "count": self._fresh * ones,
      "total": self._fresh * vectors,
      "chosen": 0 * ones,
    }

  def index(self, book: Codebook, z: jax.Array) -> jax.Array:
    """Returns the codes of z [..., width], int32 [..., depth]."""
    rest = z.reshape(-1, self.width)
    found = []
    for vectors in book["vectors"]:
      found.append(_nearest(vectors, rest))
      rest = rest - vectors[found[-1]]

    return jnp.stack(found, axis=-1).reshape(*z.shape[:-1], self.depth)

  def vector(self, book: Codebook, index: jax.Array) -> jax.Array:
    """Returns the vectors [..., width] of codes int32 [..., depth], summed over the books."""
    parts = [vectors[index[..., i]] for i, vectors in enumerate(book["vectors"])]
    return sum(parts)

  def update(self, book: Codebook, z: jax.Array, index: jax.Array) -> Codebook:
    """Returns the codebook after equation (1).

    z: [..., width], the vectors of a batch.
    index: int32 [..., depth], the codes that they chose.
    """
    rest = z.reshape(-1, self.width)
    index = index.reshape(-1, self.depth)

    count = []
    total = []
    used = []
    for i, vectors in enumerate(book["vectors"]):
      chosen = jax.nn.one_hot(index[:, i], self.codes)  # [N, K]
      count.append(self._mix(book["count"][i], chosen.sum(0)))
      used.append(self._mix(book["chosen"][i], chosen.sum(0)))
      total.append(self._mix(book["total"][i], chosen.T @ rest))
      rest = rest - vectors[index[:, i]]
    count = jnp.stack(count)
    total = jnp.stack(total)

    # A code that is no longer chosen stays where it is, rather than divide 0 by 0.
    alive = count[..., None] > 1e-6
    vectors = jnp.where(alive, total / jnp.where(alive, count[..., None], 1.0), book["vectors"])
    return {"vectors": vectors, "count": count, "total": total, "chosen": jnp.stack(used)}

  def revive(self, book: Codebook, z: jax.Array, key: jax.Array) -> tuple[Codebook, jax.Array]:
    """Returns (the codebook with dead codes moved onto vectors of z [..., width], their number)."""
    rest = z.reshape(-1, self.width)
    books = []
    dead = book["count"] < self.restart  # [depth, K]
    for i, vectors in enumerate(book["vectors"]):
      # A random vector for each code, used where the code is dead.
      pick = jax.random.randint(jax.random.fold_in(key, i), (self.codes,), 0, len(rest))
      books.append(jnp.where(dead[i][:, None], rest[pick], vectors))
      rest = rest - vectors[_nearest(vectors, rest)]

    # (1) goes on from the new places.
    vectors = jnp.stack(books)
    count = jnp.where(dead, self._fresh, book["count"])
    total = jnp.where(dead[..., None], self._fresh * vectors, book["total"])
    return {**book, "vectors": vectors, "count": count, "total": total}, jnp.sum(dead) * 1.0

  @property
  def _fresh(self) -> float:
    """The n_k of a new code; unless d = 0, it is not dead after one step without being chosen."""
    return max(1.0, self.restart / self.decay) if self.decay else 1.0

  def _mix(self, old: jax.Array, new: jax.Array) -> jax.Array:
    """Returns the running mean of (1)."""
    return self.decay * old + (1 - self.decay) * new


@dataclasses.dataclass(frozen=True, kw_only=True)
class Residual(VQ):
  """Residual vector quantization: each book quantizes what the books before it leave over.

  depth: number of codebooks.

  The other fields are as in VQ, the same for all books.
  """

  depth: core.Size = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class FSQ:
  """Finite scalar quantization: no codebook, each channel is rounded to integers.

  levels: number of levels of each channel. There are as many channels as entries, and as many codes
    as combinations of levels (the product).

  Raises UserError unless each channel has 3 to 1000 levels.
  """

  levels: tuple[core.Size, ...] = (8, 5, 5, 5)
  depth = 1
  # Nothing is learnt here, and no code can die.
  learnt = False
  restart = 0.0

  def __post_init__(self):
    if not self.levels or not 3 <= min(self.levels) <= max(self.levels) <= 1000:
      raise core.UserError(
        f"quantizer.levels={self.levels}: expected at least one channel, each of 3 to 1000 levels"
      )

  @property
  def width(self) -> int:
    """The number of channels of a vector."""
    return len(self.levels)

  @property
  def size(self) -> int:
    """The number of values that an index can have."""
    return math.prod(self.levels)

  def start(self, key: jax.Array, z: jax.Array) -> Codebook:
    """Returns {}: there is no codebook."""
    return {}

  def bound(self, z: jax.Array) -> jax.Array:
    """Returns z [..., width] squashed, so that rounding gives the `levels` integers of a channel.

    For L levels these are -(L // 2), ..., (L - 1) // 2.
    """
    levels = np.array(self.levels)
    # The margin of 1e-3 is too small to add a level, as there are at most 1000.
    half = (levels - 1) * (1 + 1e-3) / 2

    # An even number of levels has one more below 0 than above. The shift keeps z = 0 at 0.
    offset = np.where(levels % 2, 0.0, 0.5)
    shift = np.arctanh(offset / half)
    return jnp.tanh(z + shift) * half - offset

  def index(self, book: Codebook, z: jax.Array) -> jax.Array:
    """Returns the code of z [..., width], int32 [..., 1]; the first channel counts fastest."""
    levels = np.array(self.levels)

    # A number with one digit for each channel, of mixed base.
    digit = jnp.round(self.bound(z)).astype(jnp.int32) + levels // 2
    base = np.cumprod([1, *self.levels[:-1]])
    return jnp.sum(digit * base, axis=-1, keepdims=True).astype(jnp.int32)

  def vector(self, book: Codebook, index: jax.Array) -> jax.Array:
    """Returns the vectors [..., width], in [-1, 1], of codes int32 [..., 1]."""
    levels = np.array(self.levels)
    base = np.cumprod([1, *self.levels[:-1]])
    digit = (index // base) % levels
    return (digit - levels // 2) / (levels // 2)

  def through(self, z: jax.Array) -> jax.Array:
    """Returns the vector of the code of z [..., width], with the gradient of `bound`.

    Rounding is passed straight through: its gradient is taken to be 1.
    """
    y = self.bound(z)
    rounded = y + jax.lax.stop_gradient(jnp.round(y) - y)
    return rounded / (np.array(self.levels) // 2)


QUANTIZERS = {"vq": VQ, "residual": Residual, "fsq": FSQ}


def _nearest(vectors: jax.Array, z: jax.Array) -> jax.Array:
  """Returns the index of the nearest of vectors [K, D] to each of z [N, D]: int32 [N]."""
  # |z - e|^2 without |z|^2, which does not depend on e.
  square = jnp.sum(vectors**2, axis=1) - 2 * z @ vectors.T
  return jnp.argmin(square, axis=1).astype(jnp.int32)
