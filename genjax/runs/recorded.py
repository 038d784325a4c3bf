"""What a run has written down of its data, so that it can be opened where they are not.

run.json holds the description of the data (`core.DataSpec`), their origin and the hash of each
split. That is enough to build the model and to draw samples; only what looks at an example needs
the data themselves.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from genjax import core
from genjax.data.sources import base as sources


class Absent(Mapping):
  """The splits of data that are not there: whoever asks for one is told why."""

  def __init__(self, why: str):
    self.why = why

  def __getitem__(self, split: str) -> Any:
    raise core.UserError(f"this needs the data of the run, and {self.why}")

  def __iter__(self) -> Iterator[str]:
    return iter(())

  def __len__(self) -> int:
    return 0


def facts(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns what run.json says of the data, {} if there is no such file."""
  file = workdir / "run.json"
  return json.loads(file.read_text(encoding="utf-8"))["data"] if file.is_file() else {}


def others(workdir: pathlib.Path, data: sources.Dataset) -> bool:
  """Returns whether the data are of other contents than those that a run was trained on."""
  known = facts(workdir)
  if not known:
    return False
  if data.name == "image_folder" and "spec" not in known:
    # Earlier runs knew a folder by the names and sizes of its files, which cannot be compared with
    # contents, and numbered its classes in another order.
    counts = {split: len(columns["x"]) for split, columns in data.splits.items()}
    names = data.spec.fields["label"].names if data.spec.classes else ()
    return known["counts"] != counts or tuple(sorted(names)) != tuple(names)
  return known["hash"] != data.hash


def plain(spec: core.DataSpec) -> dict[str, Any]:
  """Returns the description as plain data, to be written to run.json."""
  return dataclasses.asdict(spec)


def spec_of(values: Mapping[str, Any]) -> core.DataSpec:
  """Returns the description that `plain` has written."""
  others = tuple((name, core.Field(**_fields(field))) for name, field in values["others"])
  return core.DataSpec(**{**_fields(values), "others": others})


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields with tuples in the place of JSON's lists."""
  return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def dataset(workdir: pathlib.Path, why: str) -> sources.Dataset | None:
  """Returns the data of a run without their examples; None if the run has not recorded them.

  why: the reason why the data themselves are not there.
  """
  known = facts(workdir)
  if "spec" not in known:
    return None
  return sources.Dataset(
    name=known["name"],
    spec=spec_of(known["spec"]),
    splits=Absent(why),
    origin=known["origin"],
    licence=known["licence"],
    hash=known["hash"],
  )
