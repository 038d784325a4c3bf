"""From a name in a configuration to an object: the only module that knows every class.

A spec is plain data that describes one object, for example dict(name="unet", channels=(32, 64)).
The field in which it stands says in which table its name is looked up (`core.Slot`). Its other keys
are the fields of the class of that name. A spec inside a spec is built in the same way.

Each package lists its classes in its own table.py; TABLES joins them. Some values are known only to
the run, not to the configuration. A class that needs one declares a field of that name, and the
registry passes it in:

    spec: core.DataSpec      what the data look like
    total_steps: int         how many steps the run trains
    dtype: str               the type in which networks compute, "float32" or "bfloat16"

A class may have three static members that the registry asks for:

    given(field, built, given) -> dict    what the object in `field` is told instead of `given`;
                                          `built` holds the fields before it
    view: tuple of str                    its fields that may be changed after training
    trains_with(spec) -> tuple of str     those of `view` that training uses too
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

# {table: {name: class}}
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
# Fields whose values come from the run and never from a configuration.
GIVEN = ("spec", "total_steps", "dtype")
# Fields that flax adds to every module.
LINEN = ("parent", "name")


def lookup(table: str, name: str) -> type:
  """Returns the class called `name` in a table; raises UserError with the nearest spelling."""
  if name not in TABLES[table]:
    raise core.unknown(table, name, TABLES[table])
  return TABLES[table][name]


def fields(cls: type) -> dict[str, dataclasses.Field]:
  """Returns the fields of a class that a configuration may set, by name."""
  hidden = (*GIVEN, *LINEN)
  return {f.name: f for f in dataclasses.fields(cls) if f.init and f.name not in hidden}


def hints(cls: type) -> dict[str, Any]:
  """Returns {field: annotation} of a class, with the bounds and slots that annotations carry."""
  return get_type_hints(cls, include_extras=True)


def table_of(hint: Any) -> str | None:
  """Returns the table of the specs that a field holds, or None if it holds plain values.

  hint: the annotation of the field.
  """
  marks = [arg for arg in get_args(hint) if isinstance(arg, core.Slot)]
  return marks[0].table if marks else None


def build(table: str, spec: Mapping[str, Any], given: Mapping[str, Any], path: str = "") -> Any:
  """Returns the object that a spec describes, with everything nested in it.

  table: where the name of the spec is looked up.
  given: values for the names in GIVEN; a class gets those that it declares.
  path: where the spec stands in the configuration, such as "model.network"; by default `table`.

  Raises UserError, which begins with the path, if a class refuses its values.
  """
  path = path or table
  cls = lookup(table, spec["name"])
  nested = getattr(cls, "given", lambda key, own, given: given)

  # In the order of declaration: cls.given may look at the fields built before.
  place = {key: i for i, key in enumerate(fields(cls))}
  tables = hints(cls)
  own = {}
  for key in sorted(spec.keys() - {"name"}, key=lambda key: place.get(key, -1)):
    own[key] = spec[key]
    inner = table_of(tables.get(key))
    if inner and isinstance(own[key], Mapping):
      own[key] = build(inner, own[key], nested(key, own, given), f"{path}.{key}")

  declared = {f.name for f in dataclasses.fields(cls)}
  own |= {key: value for key, value in given.items() if key in declared}
  try:
    return cls(**own)
  except core.UserError as e:
    raise core.UserError(f"{path}: {e}") from None


def describe(table: str, obj: Any) -> dict[str, Any]:
  """Returns the spec of an object, the inverse of `build`.

  It serves to write the default of a field into a configuration.
  """
  name = next(name for name, cls in TABLES[table].items() if cls is type(obj))
  tables = hints(type(obj))
  return {"name": name} | {key: plain(tables[key], getattr(obj, key)) for key in fields(type(obj))}


def view(table: str, spec: Mapping[str, Any], training: bool, path: str = "") -> list[str]:
  """Returns the dotted keys of a spec that may be changed after training, nested specs included.

  A class names its fields of this kind in `view`.

  training: whether the run will go on training. Then the fields of `trains_with(spec)` are left
    out, because another value would change what is learned.
  path: where the spec stands in the configuration; by default `table`.
  """
  path = path or table
  cls = lookup(table, spec["name"])
  kept = cls.trains_with(spec) if training and hasattr(cls, "trains_with") else ()
  keys = [f"{path}.{name}" for name in getattr(cls, "view", ()) if name not in kept]

  for name, hint in hints(cls).items():
    inner = table_of(hint)
    if inner and isinstance(spec.get(name), Mapping):
      keys += view(inner, spec[name], training, f"{path}.{name}")
  return keys


def plain(hint: Any, value: Any) -> Any:
  """Returns the value of a field as plain data: an object of a table becomes its spec.

  hint: the annotation of the field.
  """
  table = table_of(hint)
  if table and type(value) in TABLES[table].values():
    return describe(table, value)
  return value
