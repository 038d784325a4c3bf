"""Every table name -> class, and `build`: the only module that knows every class.

A spec is plain data: dict(name="unet", channels=(32, 64)). The field it stands in says in which
table its name is looked up (`core.Slot`), its other keys are the fields of that class, and nested
specs are built in the same way. The tables lie with their packages, in a table.py each. Classes
declare what only the run knows and the registry passes it in:

    spec: core.DataSpec      what the data look like
    total_steps: int         how many steps the run trains
    dtype: str               the compute dtype of networks, "float32" or "bfloat16"

A class may tell what is nested in it something else, by `given(field, fields before it, given)`,
and says in `view` which of its fields may be changed after training.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from genjax import core
from genjax.data import table as data
from genjax.distributions import table as distributions
from genjax.families import table as families
from genjax.networks import table as networks
from genjax.processes import table as processes
from genjax.samplers import table as samplers
from genjax.training import optimizers

TABLES = {
  **data.TABLES,
  **families.TABLES,
  **networks.TABLES,
  **processes.TABLES,
  **samplers.TABLES,
  **distributions.TABLES,
  "optim": optimizers.OPTIMIZERS,
  "schedule": optimizers.SCHEDULES,
}
MODELS = families.MODELS
GIVEN = ("spec", "total_steps", "dtype")
LINEN = ("parent", "name")  # fields of every flax module that are not its own


def lookup(table: str, name: str) -> type:
  """The class called `name` in a table. UserError with the nearest spelling."""
  if name not in TABLES[table]:
    raise core.unknown(table, name, TABLES[table])
  return TABLES[table][name]


def fields(cls: type) -> dict[str, dataclasses.Field]:
  """The configurable fields of a class."""
  hidden = (*GIVEN, *LINEN)
  return {f.name: f for f in dataclasses.fields(cls) if f.init and f.name not in hidden}


def hints(cls: type) -> dict[str, Any]:
  """The annotations of a class, with their bounds and slots."""
  return get_type_hints(cls, include_extras=True)


def table_of(hint: Any) -> str | None:
  """The table that a field of this annotation holds a spec of; None if it holds a plain value."""
  marks = [arg for arg in get_args(hint) if isinstance(arg, core.Slot)]
  return marks[0].table if marks else None


def build(table: str, spec: Mapping[str, Any], given: Mapping[str, Any], path: str = "") -> Any:
  """The object that a spec describes, with everything nested in it.

  given: values for the names in GIVEN; a class gets those it declares.
  Raises UserError, prefixed with the spec's path, where a class refuses its values.
  """
  path = path or table
  cls = lookup(table, spec["name"])
  nested = getattr(cls, "given", lambda key, own, given: given)
  place, tables, own = {key: i for i, key in enumerate(fields(cls))}, hints(cls), {}
  for key in sorted(spec.keys() - {"name"}, key=lambda key: place.get(key, -1)):
    own[key], inner = spec[key], table_of(tables.get(key))
    if inner and isinstance(own[key], Mapping):
      own[key] = build(inner, own[key], nested(key, own, given), f"{path}.{key}")
  declared = {f.name for f in dataclasses.fields(cls)}
  own |= {key: value for key, value in given.items() if key in declared}
  try:
    return cls(**own)
  except core.UserError as e:
    raise core.UserError(f"{path}: {e}") from None


def describe(table: str, obj: Any) -> dict[str, Any]:
  """The spec of an object: the inverse of `build`, used to write a class's defaults out."""
  name = next(name for name, cls in TABLES[table].items() if cls is type(obj))
  tables = hints(type(obj))
  return {"name": name} | {key: plain(tables[key], getattr(obj, key)) for key in fields(type(obj))}


def view(table: str, spec: Mapping[str, Any], training: bool, path: str = "") -> list[str]:
  """The dotted keys of a spec that may be changed after training, nested specs included.

  A class says which of its fields they are in `view`, and in `trains_with(spec)` which of these a
  run that goes on `training` must keep.
  """
  path, cls = path or table, lookup(table, spec["name"])
  kept = cls.trains_with(spec) if training and hasattr(cls, "trains_with") else ()
  keys = [f"{path}.{name}" for name in getattr(cls, "view", ()) if name not in kept]
  for name, hint in hints(cls).items():
    inner = table_of(hint)
    if inner and isinstance(spec.get(name), Mapping):
      keys += view(inner, spec[name], training, f"{path}.{name}")
  return keys


def plain(hint: Any, value: Any) -> Any:
  """A field's value as plain data: an object of a table becomes its spec."""
  table = table_of(hint)
  if table and type(value) in TABLES[table].values():
    return describe(table, value)
  return value
