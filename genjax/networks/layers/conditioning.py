"""Conditions of a network: one module, four ways in which a field enters.

A network has a field `conditions`, which names the fields that it is told. After a name may follow
the way in which the field enters, if that is not the usual one: ("label", "image", "text:tokens").

    vector     Each condition becomes one vector; it is added to the embedding of time, to the first
               layer or to the start of a sequence. Usual for labels, real numbers and real vectors.
    channels   The field is resized to the height and width of x, or flattened beside a flat x, and
               joined to it as more channels. A last channel is 1 where the field is known and 0
               where it is missing. Usual for real pictures and real fields of the shape of x.
    values     The same without the last channel, for fields of which the same part is missing in
               all examples.
    tokens     The network attends to the field by cross-attention. Usual for texts, sets and all
               others. A word that is "none" is hidden. One learned token is always visible, so that
               a text may be empty.

A condition that a batch does not hold is null: an integer field takes its learned embedding of
"none"; a real field is 0 and marked as missing.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax import core
from genjax.networks.layers import embeddings

WAYS = ("vector", "channels", "values", "tokens")
# The first values of learned tokens and places.
SMALL = nn.initializers.normal(0.02)


def names(conditions: Sequence[str]) -> tuple[str, ...]:
  """Returns the names of the fields in `conditions`, without their ways."""
  return tuple(condition.partition(":")[0] for condition in conditions)


def usual(field: core.Field, spec: core.DataSpec) -> str:
  """Returns the way in which a field enters if none is named; `spec` describes x."""
  # A text has a shape, a label has none.
  if field.integer:
    return "tokens" if field.shape else "vector"

  # What has places can lie over those of x.
  if len(field.shape) == 3 or field.shape == spec.shape:
    return "channels"
  return "vector" if len(field.shape) <= 1 else "tokens"


def ways(conditions: Sequence[str], spec: core.DataSpec | None) -> dict[str, str]:
  """Returns {name of a field: the way in which it enters}, in the order of `conditions`.

  Raises UserError for a field that the data do not have, or that is named twice.
  """
  found = {}
  for condition in conditions:
    name, _, way = condition.partition(":")
    fields = spec.fields if spec else {}

    if name not in fields:
      have = f"they have {', '.join(fields)}" if fields else "they have none"
      needed = "data with labels" if name == "label" else f"data with a field {name!r}"
      raise core.UserError(f"conditions={tuple(conditions)} needs {needed}; {have}")
    if name in found:
      raise core.UserError(f"conditions={tuple(conditions)} names {name!r} twice")

    found[name] = way or usual(fields[name], spec)
  return found


def check(
  network: str, conditions: Sequence[str], spec: core.DataSpec | None, allowed: Sequence[str]
) -> None:
  """Raises UserError for a condition that a network cannot be told in the way that it names.

  Nothing is checked before the data are known, that is without a spec.

  network: the name of the network, for the error.
  allowed: the ways that the network knows.
  """
  if not spec:
    return

  for name, way in ways(conditions, spec).items():
    # A way that no network has is most likely misspelt, so the nearest is offered.
    if way not in WAYS:
      raise core.unknown(f"way of condition {name!r}", way, WAYS)
    if way not in allowed:
      raise core.UserError(
        f"{network}: cannot be told {name!r} as {way}; expected one of {', '.join(allowed)}"
      )

    # What lies beside x must be real numbers, and a picture where x is one.
    field = spec.fields[name]
    beside = way in ("channels", "values")
    if beside and field.integer:
      raise core.UserError(
        f"{network}: {name!r} are integers, which cannot enter as {way}; use vector or tokens"
      )
    if beside and len(spec.shape) == 3 and len(field.shape) != 3:
      raise core.UserError(
        f"{network}: {name!r} of shape {field.shape} cannot lie beside pictures; "
        "expected a shape [H, W, C]"
      )
    if way == "values" and not field.fixed:
      raise core.UserError(
        f"{network}: what is missing of {name!r} differs between examples; use {name}:channels"
      )


class Told(NamedTuple):
  """What the conditions tell a network.

  vector: [B, features], the sum of those that enter as vectors; None if there are none.
  channels: arrays [B, ..., C], to be joined to x.
  tokens: [B, M, width]; None if there are none.
  seen: bool [B, M], which tokens are visible; None if there are no tokens.
  """

  vector: jax.Array | None
  channels: tuple[jax.Array, ...]
  tokens: jax.Array | None
  seen: jax.Array | None


class Conditioning(nn.Module):
  """(cond, batch size) -> Told. A condition that is not in cond is null.

  conditions: the fields that the network is told, with their ways.
  spec: the data, which describe these fields.
  features: width of the vector.
  width: width of the tokens.
  dtype: type of the computation.
  label: name of the parameters that embed the field "label"; published networks differ in it.
  """

  conditions: tuple[str, ...]
  spec: core.DataSpec | None
  features: int
  width: int = 0
  dtype: Any = jnp.float32
  label: str = "label"

  @nn.compact
  def __call__(self, cond: dict[str, Any] | None, batch: int) -> Told:
    vectors = []
    channels = []
    tokens = []

    for name, way in ways(self.conditions, self.spec).items():
      field = self.spec.fields[name]
      a = (cond or {}).get(name)
      a = core.null(field, batch) if a is None else a

      if way == "vector":
        vectors.append(self._vector(name, field, a))
      elif way == "tokens":
        tokens.append(Tokens(field, self.width, self.dtype, name=f"{name}_tokens")(a))
      else:
        value, there = core.partial(a)
        channels += [value, there] if way == "channels" else [value]

    total = sum(vectors[1:], vectors[0]) if vectors else None
    return Told(total, tuple(channels), *self._always(tokens, batch))

  def _vector(self, name: str, field: core.Field, a: Any) -> jax.Array:
    """Returns a field as one vector, [B, features]."""
    # A real field: its numbers, and whether they are known.
    if not field.integer:
      flat = [part.reshape(len(part), -1) for part in core.partial(a)]
      dense = nn.Dense(self.features, dtype=self.dtype, name=name)
      return dense(jnp.concatenate(flat, axis=-1))

    own = self.label if name == "label" else name
    embedding = embeddings.Embedding(field.levels, self.features, self.dtype, name=own)(a)

    # The vector of several integers is the sum of theirs.
    return embedding.reshape(len(a), -1, self.features).sum(1) if field.shape else embedding

  def _always(
    self, tokens: Sequence[tuple[jax.Array, jax.Array]], batch: int
  ) -> tuple[jax.Array | None, jax.Array | None]:
    """Returns (tokens [B, M, width], seen [B, M]): the learned token, then those of all fields.

    Both are None if no field enters as tokens.
    """
    if not tokens:
      return None, None

    start = self.param("always", SMALL, (1, self.width))
    first = jnp.broadcast_to(start, (batch, 1, self.width))
    parts = [(first, jnp.ones((batch, 1), bool)), *tokens]
    return tuple(jnp.concatenate(part, axis=1) for part in zip(*parts))


def hear(
  network: nn.Module,
  cond: dict[str, Any] | None,
  batch: int,
  features: int,
  width: int = 0,
  label: str = "label",
) -> Told:
  """Returns what a network is told; to be called in the network's `__call__`.

  The parameters of the conditions become parameters of the network itself.

  network: has the fields conditions, spec and dtype.
  features, width, label: the fields of Conditioning.
  """
  ear = Conditioning(network.conditions, network.spec, features, width, network.dtype, label)
  nn.share_scope(network, ear)
  return ear(cond, batch)


class Tokens(nn.Module):
  """A field [B, *shape] as a sequence: (tokens [B, M, width], which of them exist: bool [B, M]).

  Each integer is embedded as one token. Of a real field [*places, D], each place is one token, made
  of its D numbers and whether they are known; a single real number is one token. Every place has a
  learned vector, which is added.

  field: the description of the field.
  width: width of the tokens.
  dtype: type of the dense layer of real fields.
  """

  field: core.Field
  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, a: Any) -> tuple[jax.Array, jax.Array]:
    places = math.prod(self.field.shape if self.field.integer else self.field.shape[:-1])
    if self.field.integer:
      a = a.reshape(len(a), -1)
      h = nn.Embed(self.field.levels + 1, self.width)(a)
      seen = a < self.field.levels  # `levels` itself means "none"
    else:
      value, there = core.partial(a)
      value = value.reshape(len(value), places, -1)
      there = there.reshape(len(value), places, 1)
      both = jnp.concatenate([value, there], axis=-1)  # [B, places, D + 1]
      h = nn.Dense(self.width, dtype=self.dtype)(both)
      seen = there[..., 0] > 0  # a place of which nothing is known is hidden

    return h + self.param("position", SMALL, (places, self.width)), seen


def join(x: jax.Array, channels: Sequence[jax.Array]) -> jax.Array:
  """Returns x [B, ..., C] with more channels.

  channels: arrays [B, ..., C_i]. Beside a picture x they are resized to its height and width by
    nearest neighbours; beside any other x they are reshaped to its places.
  """
  for part in channels:
    if x.ndim == 4 and part.shape[1:3] != x.shape[1:3]:
      shape = (len(part), *x.shape[1:3], part.shape[-1])
      part = jax.image.resize(part, shape, "nearest")

    part = part.reshape(*x.shape[:-1], -1)
    x = jnp.concatenate([x, part.astype(x.dtype)], axis=-1)
  return x
