"""What a person asks samples for: --label=7 --image=a.png --mask=m.png --text="upper left".

A flag is the name of a field that the model is told. It may also be the word of the field's kind,
such as --image, if the model is told only one field of this kind.

Several values are separated by commas or given by several flags; samples take them in turn.

--mask=FILE goes with a picture and says which part of it is to be made: the white one. Transparent
pixels of the picture itself are to be made too.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax import core
from genjax.kinds import table

# The flag of masks, and the field that a model completes.
MASK = "mask"
COMPLETED = "known"
WHOLE = "nothing is missing from it; give --mask=FILE, or make the missing part transparent"
WORDS = {kind.word for kind in table.KINDS.values()}


class Words(NamedTuple):
  """What the command line says about samples.

  said: (flag, text) in the order of the command line, the flag without its dashes.
  flags: the flags of the program itself, which are offered for a misspelt one.
  """

  said: Sequence[tuple[str, str]]
  flags: Sequence[str] = ()


def read(words: Words, names: Sequence[str], spec: core.DataSpec) -> dict[str, Any]:
  """Returns {field: values [K, *shape], or a core.Partial of them} of what a person says.

  names: the fields that the model is told.
  spec: the data, which describe these fields.

  Raises UserError for a flag that is no such field, for a value that cannot be read, and for a
  picture to be completed of which nothing is missing.
  """
  fields = {name: spec.fields[name] for name in names}

  # The texts of each field, in their order.
  values: dict[str, list] = {}
  for flag, text in words.said:
    # --mask changes a picture, unless the model has a field of this name.
    masks = flag == MASK and MASK not in fields
    name = MASK if masks else _field(flag, fields, spec, words.flags)
    values.setdefault(name, []).extend((flag, part) for part in _parts(text))

  masks = [text for _, text in values.pop(MASK, [])] if MASK not in fields else []
  found = {}
  for name, texts in values.items():
    field = fields[name]
    kind = table.KINDS[field.kind]
    found[name] = _stack([kind.read(text, field, flag) for flag, text in texts])

  if masks:
    found = _masked(found, masks, fields)
  if COMPLETED in found and found[COMPLETED].there.all():
    flag = values[COMPLETED][0][0]
    raise core.UserError(f"--{flag}: {WHOLE}")
  return found


def digest(wanted: Mapping[str, Any]) -> str:
  """Returns six hex digits that depend on what is asked for, or "" if nothing is.

  wanted: what `read` returns.
  """
  if not wanted:
    return ""
  sha = hashlib.sha256()
  for name in sorted(wanted):
    sha.update(name.encode())
    for a in jax.tree.leaves(wanted[name]):
      sha.update(np.ascontiguousarray(a).tobytes())
  return sha.hexdigest()[:6]


def _field(
  flag: str, fields: Mapping[str, core.Field], spec: core.DataSpec, others: Sequence[str]
) -> str:
  """Returns the name of the field that a flag means.

  fields: those that the model is told, by name.
  others: more flags that may be meant if this one is misspelt.

  Raises UserError if it means none of them, or more than one.
  """
  if flag in fields:
    return flag

  known = {*fields, *spec.fields, *WORDS, MASK}
  if flag not in known:
    raise core.unknown("flag", f"--{flag}", [f"--{name}" for name in {*known, *others}])

  # The word of a kind, such as "image" for the field "known".
  alike = [name for name, field in fields.items() if table.KINDS[field.kind].word == flag]
  if len(alike) == 1:
    return alike[0]
  if alike:
    raise core.UserError(f"--{flag} may be one of {', '.join(alike)}; use its name")
  told = ", ".join(f"--{name}" for name in fields) or "nothing"
  raise core.UserError(f"--{flag}: this model has no place for it; it is told {told}")


def _parts(text: str) -> list[str]:
  """Returns the values of a text; the name of a file may hold commas and is one value."""
  whole = os.path.isfile(os.path.expanduser(text))
  return [text] if whole else [part.strip() for part in text.split(",")]


def _stack(values: list[Any]) -> Any:
  """Joins values [*shape], or core.Partials of them, along a new first axis."""
  return jax.tree.map(lambda *arrays: np.stack(arrays), *values)


def _masked(
  found: dict[str, Any], masks: Sequence[str], fields: Mapping[str, core.Field]
) -> dict[str, Any]:
  """Returns `found` with the white part of the masks taken out of its one picture.

  masks: files. If there are fewer masks than pictures or the reverse, they are taken in turn.

  Raises UserError unless `found` holds one field of pictures.
  """
  images = [name for name in found if table.KINDS[fields[name].kind].word == "image"]
  if len(images) != 1:
    raise core.UserError(f"--{MASK} goes with one picture; give --image=FILE too")
  (name,) = images

  # A mask is read as a grey picture of the same size, 1 where it is white.
  plain = core.Field(shape=(*fields[name].shape[:2], 1), range=(0.0, 1.0), kind="image")
  reader = table.KINDS["image"]
  white = np.stack([reader.read(text, plain, MASK).value for text in masks])  # [M, H, W, 1]

  value, there = found[name]  # [K, H, W, C], [K, H, W, 1]
  turns = max(len(white), len(value))
  take = lambda a: a[np.arange(turns) % len(a)]
  there = take(there) * (take(white) < 0.5)
  return {**found, name: core.Partial(take(value) * there, there.astype(np.float32))}
