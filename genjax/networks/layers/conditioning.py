"""How a network is told of conditions: one module, three ways to enter.

A network has `conditions`, the names of the fields it is told, each with the way it enters where
that is not the field's usual one: ("label", "image", "text:tokens").

    vector     a vector of its own for each condition, added to that of time, to the first layer or
               to the start of a sequence: labels, real vectors
    channels   beside x, resized to it, with one more channel that is 1 where it is known and 0
               where it is missing: whatever lies over x
    values     as channels without that last one, where what is missing is the same for all examples
    tokens     cross-attended: words, sets and the rest. Words that are "none" are not seen; one
               learnt token always is, so that a text may be empty

A condition that a batch does not bring is null: an integer field has a learnt embedding of "none",
a real one is 0 and not there.
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
SMALL = nn.initializers.normal(0.02)


def names(conditions: Sequence[str]) -> tuple[str, ...]:
  """The fields that are told, without their ways."""
  return tuple(condition.partition(":")[0] for condition in conditions)


def usual(field: core.Field, spec: core.DataSpec) -> str:
  """The way that a field of data `spec` enters if no other is named."""
  if field.integer:
    return "tokens" if field.shape else "vector"
  if len(field.shape) == 3 or field.shape == spec.shape:
    return "channels"
  return "vector" if len(field.shape) == 1 else "tokens"


def ways(conditions: Sequence[str], spec: core.DataSpec | None) -> dict[str, str]:
  """{field: the way it enters}. UserError for a field that the data do not have."""
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
  """UserError for a condition that the network cannot be told, or not in this way.

  Says nothing before the data are known.
  """
  if not spec:
    return
  for name, way in ways(conditions, spec).items():
    if way not in WAYS:
      raise core.unknown(f"way of condition {name!r}", way, WAYS)
    if way not in allowed:
      raise core.UserError(
        f"{network}: cannot be told {name!r} as {way}; expected one of {', '.join(allowed)}"
      )
    field, beside = spec.fields[name], way in ("channels", "values")
    if beside and field.integer:
      raise core.UserError(f"{network}: {name!r} are integers; they enter as vector or tokens")
    if beside and len(spec.shape) == 3 and len(field.shape) != 3:
      raise core.UserError(f"{network}: {name!r} of shape {field.shape} cannot lie beside pictures")
    if way == "values" and not field.fixed:
      raise core.UserError(f"{network}: what is missing of {name!r} differs; it enters as channels")


class Told(NamedTuple):
  """What a network hears.

  vector: [B, features], None if nothing enters so. channels: each [B, ..., C], to lie beside x.
  tokens: [B, M, width], seen: bool [B, M], None if there are none.
  """

  vector: jax.Array | None
  channels: tuple[jax.Array, ...]
  tokens: jax.Array | None
  seen: jax.Array | None


class Conditioning(nn.Module):
  """(cond, batch size) -> Told.

  conditions, spec: of the network. features: of the vector. width: of the tokens.
  label: under which name the label's embedding is kept; published networks have different ones.
  """

  conditions: tuple[str, ...]
  spec: core.DataSpec | None
  features: int
  width: int = 0
  dtype: Any = jnp.float32
  label: str = "label"

  @nn.compact
  def __call__(self, cond: dict[str, Any] | None, batch: int) -> Told:
    vectors, channels, tokens = [], [], []
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

  def _vector(self, name, field, a):
    if not field.integer:
      flat = [part.reshape(len(part), -1) for part in core.partial(a)]
      return nn.Dense(self.features, dtype=self.dtype, name=name)(jnp.concatenate(flat, axis=-1))
    embedding = embeddings.Embedding(
      field.levels, self.features, self.dtype, name=self.label if name == "label" else name
    )(a)
    return embedding.reshape(len(a), -1, self.features).sum(1) if field.shape else embedding

  def _always(self, tokens, batch):
    """All tokens behind the one that is always seen."""
    if not tokens:
      return None, None
    start = self.param("always", SMALL, (1, self.width))
    parts = [(jnp.broadcast_to(start, (batch, 1, self.width)), jnp.ones((batch, 1), bool)), *tokens]
    return tuple(jnp.concatenate(part, axis=1) for part in zip(*parts))


def hear(
  network: nn.Module,
  cond: dict[str, Any] | None,
  batch: int,
  features: int,
  width: int = 0,
  label: str = "label",
) -> Told:
  """What a network with fields conditions, spec and dtype is told, called while it is applied.

  The parameters become the network's own. features, width, label: as in Conditioning.
  """
  ear = Conditioning(network.conditions, network.spec, features, width, network.dtype, label)
  nn.share_scope(network, ear)
  return ear(cond, batch)


class Tokens(nn.Module):
  """A field as a sequence: [B, *shape] -> ([B, M, width], which are there: bool [B, M]).

  Words are embedded; of real fields the last axis is one token. Each place has a learnt vector.
  """

  field: core.Field
  width: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, a: Any) -> tuple[jax.Array, jax.Array]:
    if self.field.integer:
      a = a.reshape(len(a), -1)
      h, seen = nn.Embed(self.field.levels + 1, self.width)(a), a < self.field.levels
    else:
      value, there = core.partial(a)
      value = value.reshape(len(value), -1, value.shape[-1])
      there = there.reshape(*value.shape[:2], 1)
      h = nn.Dense(self.width, dtype=self.dtype)(jnp.concatenate([value, there], axis=-1))
      seen = there[..., 0] > 0
    places = math.prod(self.field.shape if self.field.integer else self.field.shape[:-1])
    return h + self.param("position", SMALL, (places, self.width)), seen


def join(x: jax.Array, channels: Sequence[jax.Array]) -> jax.Array:
  """x [B, ..., C] with more channels, which are resized to its height and width, or flattened."""
  for part in channels:
    if x.ndim == 4 and part.shape[1:3] != x.shape[1:3]:
      shape = (len(part), *x.shape[1:3], part.shape[-1])
      part = jax.image.resize(part, shape, "nearest")
    x = jnp.concatenate([x, part.reshape(*x.shape[:-1], -1).astype(x.dtype)], axis=-1)
  return x
