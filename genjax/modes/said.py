"""What a person asks samples for: --label=7 --image=a.png --mask=m.png --text="upper left".

A value goes by the name of its field, or by the word of its kind where only one field has it.
Values separated by commas, or said in several flags, are taken in turn. --mask=FILE goes with a
picture: where it is white the picture is to be made, as where the picture itself is transparent.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax import core
from genjax.kinds import table

MASK, COMPLETED = "mask", "known"
WHOLE = "nothing is missing from it; give --mask=FILE, or make transparent what is to be made"
WORDS = {kind.word for kind in table.KINDS.values()}


class Words(NamedTuple):
  """said: (flag, text) in their order. flags: those of the program, to tell a misspelt one by."""

  said: Sequence[tuple[str, str]]
  flags: Sequence[str] = ()


def read(words: Words, names: Sequence[str], spec: core.DataSpec) -> dict[str, Any]:
  """{field: values [K, *shape], or a core.Partial of such}.

  names: the fields that the model is told. UserError for what it has no place for, and for what
  cannot be read.
  """
  fields = {name: spec.fields[name] for name in names}
  values: dict[str, list] = {}
  for flag, text in words.said:
    masks = flag == MASK and MASK not in fields
    name = MASK if masks else _field(flag, fields, spec, words.flags)
    values.setdefault(name, []).extend((flag, part) for part in _parts(text))
  masks = [text for _, text in values.pop(MASK, [])] if MASK not in fields else []
  found = {}
  for name, texts in values.items():
    kind, field = table.KINDS[fields[name].kind], fields[name]
    found[name] = _stack([kind.read(text, field, flag) for flag, text in texts])
  if masks:
    found = _masked(found, masks, fields)
  if COMPLETED in found and found[COMPLETED].there.all():
    raise core.UserError(f"--{values[COMPLETED][0][0]}: {WHOLE}")
  return found


def digest(wanted: Mapping[str, Any]) -> str:
  """Six hex digits of what is asked for, "" for nothing."""
  if not wanted:
    return ""
  sha = hashlib.sha256()
  for name in sorted(wanted):
    sha.update(name.encode())
    for a in jax.tree.leaves(wanted[name]):
      sha.update(np.ascontiguousarray(a).tobytes())
  return sha.hexdigest()[:6]


def _field(flag, fields, spec, others):
  """The name of the field that a flag means."""
  if flag in fields:
    return flag
  known = {*fields, *spec.fields, *WORDS, MASK}
  if flag not in known:
    raise core.unknown("flag", f"--{flag}", [f"--{name}" for name in {*known, *others}])
  alike = [name for name, field in fields.items() if table.KINDS[field.kind].word == flag]
  if len(alike) == 1:
    return alike[0]
  if alike:
    raise core.UserError(f"--{flag} may be one of {', '.join(alike)}; use its name")
  told = ", ".join(f"--{name}" for name in fields) or "nothing"
  raise core.UserError(f"--{flag}: this model has no place for it; it is told {told}")


def _parts(text: str) -> list[str]:
  return [text] if os.path.isfile(text) else [part.strip() for part in text.split(",")]


def _stack(values: list) -> Any:
  return jax.tree.map(lambda *arrays: np.stack(arrays), *values)


def _masked(found, masks, fields):
  """The one picture that is given, without what the masks want to be made anew."""
  images = [name for name in found if table.KINDS[fields[name].kind].word == "image"]
  if len(images) != 1:
    raise core.UserError(f"--{MASK} goes with one picture; give --image=FILE too")
  (name,) = images
  plain = core.Field(shape=(*fields[name].shape[:2], 1), range=(0.0, 1.0), kind="image")
  reader = table.KINDS["image"]
  white = np.stack([reader.read(text, plain, MASK).value for text in masks])
  value, there = found[name]
  turns = max(len(white), len(value))
  take = lambda a: a[np.arange(turns) % len(a)]
  there = take(there) * (take(white) < 0.5)
  return {**found, name: core.Partial(take(value) * there, there.astype(np.float32))}
