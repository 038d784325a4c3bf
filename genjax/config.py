"""From a file and a command line to one complete, checked configuration: plain nested dictionaries.

    names first     --config.a.b.name=x replaces the spec a.b: the old class's keys are dropped
    then defaults   every field of every class is written in, so that config.json is whole
    then the rest   --config.a.b.c=v, each parsed by the type of its field

A nested model may be "runs/NAME": the one in that run's config.json. Words of earlier versions are
understood (renamed.py). What does not fit (an unknown key, a wrong type, a number out of bounds) is
a UserError that names the key, what was expected and the nearest right spelling.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import runpy
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

import ml_collections

from genjax import catalogue, core, registry, renamed, values
from genjax.data import tasks
from genjax.training import averages

Config = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """The top level of every configuration; configs/base.py holds the values most of them share.

  model: spec of the model.
  data: spec of the data source.
  task: spec of what adds fields to the data (data/tasks.py).
  optim: {group: spec of its optimizer}, for each trained group.
  ema: {average: fields of training.averages.Average}.
  eval_ema: the average that samples and metrics use; "" for the raw parameters. For a finished
    run, "@WIDTH" asks for an average of that width, mixed from its "power" averages.
  load: {group: "runs/NAME:group" or "runs/NAME:group@raw"}, taken from finished runs at the start.
  seed: of the initial parameters, the order of the data and all noise.
  steps: how many steps to train.
  batch: examples of a step, over all devices and hosts.
  accumulate: into how many slices a batch is cut for its gradient.
  dtype: of the networks' arithmetic, "float32" or "bfloat16".
  log_every: steps between two log lines.
  sample_every: steps between two pictures; 0 for never.
  evaluate_every: steps between two evaluations against the valid split; 0 for never.
  save_every: steps between two checkpoints; 0 for the last one alone.
  keep: how many of the newest checkpoints stay.
  milestone_every: checkpoints at multiples of this step stay too; 0 for none.
  sample_batch: how many samples are drawn at once, on every occasion.
  samples: how many samples a picture shows.
  metrics: names of evaluation/metrics.py, measured when training ends.
  num: how many samples or examples metrics look at.

  Raises UserError for values that contradict each other.
  """

  model: core.Model
  data: core.Data
  optim: dict[str, core.Optimizer]
  ema: dict[str, averages.Average]
  eval_ema: str
  load: dict[str, str]
  seed: core.Seed
  steps: core.Size
  batch: core.Size
  accumulate: core.Size
  dtype: str
  log_every: core.Size
  sample_every: core.Count
  evaluate_every: core.Count
  save_every: core.Count
  keep: core.Size
  milestone_every: core.Count
  sample_batch: core.Size
  samples: core.Size
  metrics: tuple[str, ...]
  num: core.Size
  task: core.Task = tasks.Nothing()

  def __post_init__(self):
    if self.dtype not in ("float32", "bfloat16"):
      raise core.unknown("dtype", self.dtype, ("float32", "bfloat16"))
    if self.eval_ema.startswith("@"):
      averages.width(self.eval_ema)
    elif self.eval_ema and self.eval_ema not in self.ema:
      raise core.unknown("eval_ema", self.eval_ema, self.ema or ("''",))
    if self.batch % self.accumulate:
      raise core.UserError(f"batch={self.batch} is not a multiple of accumulate={self.accumulate}")


def from_file(path: str, overrides: Sequence[str] = ()) -> tuple[Config, Config]:
  """Reads a configuration: FILE.py[:ARG], or the NAME[:ARG] of one that came with genjax.

  Returns (complete config, {dotted key: value} of what the "a.b=value" strings overrode).
  """
  name, _, arg = path.partition(":")
  file = catalogue.find(name)
  if file is None:
    choices = catalogue.names(name) or ["configs/*.py in the current directory"]
    raise core.unknown("config file", name, choices)

  _let_import(file)
  try:
    module = runpy.run_path(str(file))
    if "get_config" not in module:
      raise core.UserError(f"{file} has no function get_config")
    loaded = ml_collections.ConfigDict(module["get_config"](arg)).to_dict()
  except core.UserError:
    raise
  except Exception as e:  # whatever a person's file does wrong
    lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(file)]
    where = f"{file}, line {lines[-1]}" if lines else str(file)
    raise core.UserError(f"{where}: {type(e).__name__}: {_one_line(e)}") from None
  return override(loaded, overrides)


def _let_import(file: pathlib.Path) -> None:
  """Lets a configuration import its neighbours, and those that came with genjax.

  One that came with genjax finds its own neighbours first, whatever lies in the current directory.
  """
  beside = file.absolute().parent.parent
  if beside == catalogue.ROOT and sys.path[0] != str(beside):
    sys.path.insert(0, str(beside))
  for folder in (beside, catalogue.ROOT):
    if str(folder) not in sys.path:
      sys.path.append(str(folder))


def from_run(workdir: pathlib.Path, overrides: Sequence[str] = ()) -> tuple[Config, Config]:
  """Reads the configuration of a run directory; returns the same pair as `from_file`."""
  file = workdir / "config.json"
  if not file.is_file():
    raise core.UserError(f"{workdir} is no run directory: it has no config.json")
  try:
    return override(json.loads(file.read_text(encoding="utf-8")), overrides)
  except json.JSONDecodeError as e:
    raise core.UserError(f"{file} is damaged: {e}") from None


def workdir(path: str, overrides: Sequence[str]) -> pathlib.Path:
  """Returns the default run directory: runs/<config>[-<arg>][-<digest of the overrides>]."""
  name, _, arg = path.partition(":")
  parts = [pathlib.Path(name).stem, *filter(None, [arg])]
  if overrides:
    # A slash at the end of a folder is not another folder.
    said = sorted(text.rstrip("/") for text in overrides)
    parts.append(hashlib.sha256("\0".join(said).encode()).hexdigest()[:6])
  return pathlib.Path("runs", "-".join(parts))


def override(config: Config, overrides: Sequence[str]) -> tuple[Config, Config]:
  """Applies "a.b=value" strings in the order that the module docstring gives.

  Returns (complete config, {dotted key: value} of what was overridden).
  """
  pairs = [text.split("=", 1) if "=" in text else [text, "true"] for text in overrides]
  pairs = [(renamed.key(key), value) for key, value in pairs]

  # Names, the outer ones first: they decide which other keys there are.
  for key, value in sorted(pairs, key=lambda pair: pair[0].count(".")):
    _open(config, key, value)

  # Words of earlier versions stand for keys of today.
  old = {key: renamed.override(config, key, value) for key, value in pairs}
  pairs = [(key, value) for key, value in pairs if old[key] is None]
  config = renamed.whole(config)

  # Then the defaults, and at last each value by the type of its field.
  keys = [key for key, _ in pairs]
  config = _complete_fields(Experiment, config, "", awaited=frozenset(keys))
  flat = core.flatten(config)
  for key, text in pairs:
    if key not in flat:
      raise core.unknown("key", key, flat)
    parent, _, last = key.rpartition(".")
    _at(config, parent)[last] = values.parse(text, _hint(config, key), key)

  config = complete(config)
  flat = core.flatten(config)
  changed = [*keys, *(new for now in old.values() for new in now or ())]
  return config, {key: flat[key] for key in changed if key in flat}


def _open(config: Config, key: str, value: str) -> None:
  """Makes the place of a key that names a class, a loaded group or an average."""
  if key.startswith("load.") and key.count(".") == 1:
    config.setdefault("load", {})[key.removeprefix("load.")] = value
  if key.startswith("ema."):
    config.setdefault("ema", {}).setdefault(key.split(".")[1], {})
  if key.endswith(".name"):
    _rename(config, key, value)


def _hint(config: Config, key: str) -> Any:
  """The annotation of the field that a dotted key of a complete configuration means."""
  hint, value = Experiment, config
  for part in key.split("."):
    if get_origin(hint) is dict:
      hint = get_args(hint)[1]
    else:
      table = registry.table_of(hint)
      cls = registry.lookup(table, value["name"]) if table else hint
      hint = str if part == "name" and table else registry.hints(cls)[part]
    value = value[part]
  return hint


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())


def _rename(config: Config, key: str, name: str) -> None:
  """Puts another class in the place of a spec: nothing of the old one stays."""
  parent = key.rpartition(".")[0]
  holder = _at(config, parent.rpartition(".")[0])
  last = parent.rpartition(".")[2]
  if not isinstance(holder.get(last), Mapping) or holder[last].get("name") != name:
    holder[last] = {"name": name}


def _at(config: Config, path: str) -> Config:
  """Returns the dict at a dotted path. Raises UserError if there is none."""
  for part in filter(None, path.split(".")):
    if not isinstance(config.get(part), dict):
      raise core.unknown("key", path, core.flatten(config))
    config = config[part]
  return config


def complete(config: Mapping[str, Any]) -> Config:
  """Returns the configuration with all defaults, every value being of its declared type.

  Raises UserError for what does not fit.
  """
  whole = _complete_fields(Experiment, config, "")
  # Experiment itself checks what fields say of each other.
  Experiment(**whole)
  return whole


def of_run(where: str) -> Config:
  """Returns the configuration of the run "runs/NAME".

  Raises UserError with the command that makes the run, if it is not there.
  """
  workdir = pathlib.Path(os.path.expanduser(where))
  if not (workdir / "config.json").is_file():
    name, _, arg = workdir.name.partition("-")
    raise core.UserError(
      f"there is no run {where!r}; make it with: python -m genjax.main "
      f"--config=configs/{name}.py{arg and ':'}{arg}"
    )
  return from_run(workdir)[0]


def _complete_spec(
  table: str, spec: Any, path: str, awaited: frozenset[str] = frozenset()
) -> Config:
  if isinstance(spec, str) and table == "model":
    spec = of_run(spec)["model"]
  if not isinstance(spec, Mapping):
    raise core.UserError(f"{path}={spec!r}, expected a dict with a 'name'")
  if "name" not in spec:
    raise core.UserError(
      f"{path} has no 'name'; expected one of {', '.join(registry.TABLES[table])}"
    )
  try:
    cls = registry.lookup(table, spec["name"])
  except core.UserError as e:
    raise core.UserError(f"{path}.name: {e}") from None
  rest = {key: value for key, value in spec.items() if key != "name"}
  return {"name": spec["name"], **_complete_fields(cls, rest, path, awaited)}


def _complete_fields(
  cls: type, given: Any, path: str, awaited: frozenset[str] = frozenset()
) -> Config:
  """Returns the fields of a class, with their defaults where they are not given.

  awaited: dotted keys whose values the command line still brings; they may be missing here.
  """
  if not isinstance(given, Mapping):
    raise core.UserError(f"{path}={given!r}, expected a dict")
  within = lambda key: f"{path}.{key}".lstrip(".")
  own = dataclasses.fields(cls) if cls is Experiment else registry.fields(cls).values()
  declared = {field.name: field for field in own}
  for key in given:
    if key not in declared:
      raise core.unknown("key", within(key), [within(name) for name in declared])

  hints = registry.hints(cls)
  whole = {}
  for key, field in declared.items():
    if key in given:
      value = given[key]
    elif field.default is not dataclasses.MISSING:
      value = registry.plain(hints[key], field.default)
    elif within(key) in awaited:
      whole[key] = None
      continue
    else:
      raise core.UserError(
        f"{within(key)} is missing from the configuration; give it with --config.{within(key)}=..."
      )
    whole[key] = _complete_value(hints[key], value, within(key), awaited)
  return whole


def _complete_value(hint: Any, value: Any, path: str, awaited: frozenset[str] = frozenset()) -> Any:
  if value is None and path in awaited:
    return None
  if get_origin(hint) is dict:
    if not isinstance(value, Mapping):
      raise core.UserError(f"{path}={value!r}, expected a dict")
    inner = get_args(hint)[1]
    return {k: _complete_value(inner, v, f"{path}.{k}", awaited) for k, v in value.items()}
  if table := registry.table_of(hint):
    return _complete_spec(table, value, path, awaited)
  if dataclasses.is_dataclass(hint):
    return _complete_fields(hint, value, path, awaited)
  return values.conform(value, hint, path)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
  """Returns {dotted key: (old, new)} of the values that differ, as JSON sees them."""
  before, after = (core.flatten(json.loads(json.dumps(config))) for config in (old, new))
  keys = sorted({*before, *after})
  pairs = {key: (before.get(key), after.get(key)) for key in keys}
  return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
