"""From a file and a command line to one complete, checked configuration: plain nested dictionaries.

    names first     --config.a.b.name=x replaces the spec a.b: the old class's keys are dropped
    then defaults   every field of every class is written in, so that config.json is whole
    then the rest   --config.a.b.c=v, each parsed by the type of the value it replaces

A nested model may be "runs/NAME": the one in that run's config.json. Words of earlier versions are
understood (renamed.py). What does not fit (an unknown key, a wrong type, a number out of bounds) is
a UserError that names the key, what was expected and the nearest right spelling.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import runpy
import sys
import traceback
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

import absl.flags
import ml_collections
from ml_collections import config_flags

from genjax import core, registry, renamed
from genjax.data import tasks
from genjax.training import averages

Config = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """The top level of every configuration; configs/base.py holds the values most of them share.

  model, data: specs. task: spec of what adds fields to the data, see data/tasks.py.
  optim: {group: optimizer spec}, one for each trained group.
  ema: {average: fields of Average}; eval_ema: the one that samples and metrics use, "" for none,
  "@WIDTH", of a finished run, for the one of that width that its "power" averages span.
  load: {group: "runs/NAME:group" or "runs/NAME:group@raw"} from finished runs, before init.
  seed, steps, batch: of the run; accumulate: slices that a batch is cut into for its gradient.
  dtype: of the networks' arithmetic, "float32" or "bfloat16".
  *_every: cadences in steps, 0 for never; keep: newest checkpoints that stay, milestone_every: and
  those at its multiples. sample_batch: samples drawn at once, on every occasion; samples: in the
  pictures. metrics: named in evaluation/metrics.py; num: samples that they look at.
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
  """(complete config, {dotted key: value} overridden) of FILE.py[:ARG] and "a.b=value" strings."""
  name = path.split(":", 1)[0]
  if not pathlib.Path(name).is_file():
    near = sorted(str(p) for p in pathlib.Path("configs").glob("*.py"))
    raise core.unknown("config file", name, near or ["configs/*.py in the current directory"])
  beside = str(pathlib.Path(name).absolute().parent.parent)  # configs import each other
  if beside not in sys.path:
    sys.path.append(beside)
  try:
    module, arg = runpy.run_path(name), path.partition(":")[2]
    if "get_config" not in module:
      raise core.UserError(f"{name} has no function get_config")
    loaded = ml_collections.ConfigDict(module["get_config"](arg)).to_dict()
  except core.UserError:
    raise
  except Exception as e:  # whatever a person's file does wrong
    lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == name]
    where = f"{name}, line {lines[-1]}" if lines else name
    raise core.UserError(f"{where}: {type(e).__name__}: {_one_line(e)}") from None
  return override(loaded, overrides)


def from_run(workdir: pathlib.Path, overrides: Sequence[str] = ()) -> tuple[Config, Config]:
  """The same, of a run directory's config.json."""
  file = workdir / "config.json"
  if not file.is_file():
    raise core.UserError(f"{workdir} is no run directory: it has no config.json")
  try:
    return override(json.loads(file.read_text()), overrides)
  except json.JSONDecodeError as e:
    raise core.UserError(f"{file} is damaged: {e}") from None


def workdir(path: str, overrides: Sequence[str]) -> pathlib.Path:
  """The default: runs/<config>[-<arg>][-<6 hex digits of the overrides>]."""
  name, _, arg = path.partition(":")
  parts = [pathlib.Path(name).stem, *filter(None, [arg])]
  if overrides:
    parts.append(hashlib.sha256("\0".join(sorted(overrides)).encode()).hexdigest()[:6])
  return pathlib.Path("runs", "-".join(parts))


def override(config: Config, overrides: Sequence[str]) -> tuple[Config, Config]:
  """Names, then defaults, then the rest: see the module docstring."""
  pairs = [text.split("=", 1) if "=" in text else [text, "true"] for text in overrides]
  pairs = [[renamed.key(key), value] for key, value in pairs]
  for key, value in pairs:
    if key.startswith("load.") and key.count(".") == 1:
      config.setdefault("load", {})[key.removeprefix("load.")] = value
    if key.startswith("ema."):
      config.setdefault("ema", {}).setdefault(key.split(".")[1], {})
    if key.endswith(".name"):
      _rename(config, key, value)
  old = {key: renamed.override(config, key, value) for key, value in pairs}
  pairs = [pair for pair in pairs if old[pair[0]] is None]
  config = complete(renamed.whole(config))
  flat = core.flatten(config)
  for key, _ in pairs:
    if key not in flat:
      raise core.unknown("key", key, flat)
  flags, names = absl.flags.FlagValues(), [f"--config.{key}={value}" for key, value in pairs]
  config_flags.DEFINE_config_dict(
    "config", ml_collections.ConfigDict(config), lock_config=False, flag_values=flags,
    sys_argv=["", *names],
  )  # fmt: skip
  try:
    flags(["", *names])
    values = flags["config"].override_values
  except (absl.flags.Error, ValueError, TypeError) as e:
    raise core.UserError(_one_line(e)) from None
  for key, value in values.items():
    _at(config, key.rpartition(".")[0])[key.rpartition(".")[2]] = value
  config = complete(config)
  flat = core.flatten(config)
  changed = [*values, *(new for keys in old.values() for new in keys or ())]
  return config, {key: flat[key] for key in changed if key in flat}


def _one_line(error: Exception) -> str:
  return " ".join(str(error).replace("flag --", "").split())


def _rename(config: Config, key: str, name: str) -> None:
  """Another class in the place of a spec: nothing of the old one stays."""
  parent = key.rpartition(".")[0]
  holder = _at(config, parent.rpartition(".")[0])
  last = parent.rpartition(".")[2]
  if not isinstance(holder.get(last), Mapping) or holder[last].get("name") != name:
    holder[last] = {"name": name}


def _at(config: Config, path: str) -> Config:
  for part in filter(None, path.split(".")):
    if not isinstance(config.get(part), dict):
      raise core.unknown("key", path, core.flatten(config))
    config = config[part]
  return config


def complete(config: Mapping[str, Any]) -> Config:
  """The configuration with every default written in and every value of its declared type."""
  whole = _complete_fields(Experiment, config, "")
  Experiment(**whole)  # its own checks
  return whole


def of_run(where: str) -> Config:
  """The configuration of the run "runs/NAME". UserError with the command that makes it."""
  workdir = pathlib.Path(where)
  if not (workdir / "config.json").is_file():
    name, _, arg = workdir.name.partition("-")
    raise core.UserError(
      f"there is no run {where!r}; make it with: python -m genjax.main "
      f"--config=configs/{name}.py{arg and ':'}{arg}"
    )
  return from_run(workdir)[0]


def _complete_spec(table: str, spec: Any, path: str) -> Config:
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
  return {"name": spec["name"], **_complete_fields(cls, rest, path)}


def _complete_fields(cls: type, values: Any, path: str) -> Config:
  if not isinstance(values, Mapping):
    raise core.UserError(f"{path}={values!r}, expected a dict")
  declared = (
    {f.name: f for f in dataclasses.fields(cls)} if cls is Experiment else registry.fields(cls)
  )
  for key in values:
    if key not in declared:
      raise core.unknown("key", f"{path}.{key}".lstrip("."), [
        f"{path}.{k}".lstrip(".") for k in declared
      ])  # fmt: skip
  hints, whole = registry.hints(cls), {}
  for key, field in declared.items():
    where = f"{path}.{key}".lstrip(".")
    if key not in values and field.default is dataclasses.MISSING:
      raise core.UserError(f"{where} is missing from the configuration")
    value = values[key] if key in values else registry.plain(hints[key], field.default)
    whole[key] = _complete_value(hints[key], value, where)
  return whole


def _complete_value(hint: Any, value: Any, path: str) -> Any:
  args = get_args(hint)
  if get_origin(hint) is dict:
    if not isinstance(value, Mapping):
      raise core.UserError(f"{path}={value!r}, expected a dict")
    return {k: _complete_value(args[1], v, f"{path}.{k}") for k, v in value.items()}
  if table := registry.table_of(hint):
    return _complete_spec(table, value, path)
  if dataclasses.is_dataclass(hint):
    return _complete_fields(hint, value, path)
  return conform(value, hint, path)


def conform(value: Any, hint: Any, path: str) -> Any:
  """`value` as its declared type. UserError for another type, or a number out of its bounds."""
  if get_origin(hint) is Annotated:
    base, bounds = get_args(hint)[:2]
    return _bounded(conform(value, base, path), bounds, path)
  if hint is Any:
    return value
  if get_origin(hint) is tuple:
    return _conform_tuple(value, get_args(hint), path)
  if isinstance(hint, types.UnionType) or get_origin(hint) is typing.Union:
    raise TypeError(f"{path}: a configuration field has one type, not {hint}")
  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if type(value) is not hint or (hint is float and not math.isfinite(value)):
    raise core.UserError(f"{path}={value!r}, expected {hint.__name__}")
  return value


def _conform_tuple(value, items, path):
  if isinstance(value, str):
    value = (value,) if value else ()
  if isinstance(value, (tuple, list)) and all(isinstance(v, str) for v in value):
    value = tuple(part for v in value for part in v.split(",") if part)  # "a,b" and "" of a flag
  if not isinstance(value, (tuple, list)):
    value = (value,)
  if items and items[-1] is Ellipsis:
    items = (items[0],) * len(value)
  if len(items) != len(value):
    raise core.UserError(f"{path}={tuple(value)!r}, expected {len(items)} values")
  return tuple(conform(v, hint, path) for v, hint in zip(value, items))


def _bounded(value, bounds, path):
  low = value > bounds.low if bounds.open else value >= bounds.low
  if low and value <= bounds.high:
    return value
  sign = ">" if bounds.open else ">="
  most = f" and <= {bounds.high:g}" if bounds.high < float("inf") else ""
  raise core.UserError(f"{path}={value!r}, expected a number {sign} {bounds.low:g}{most}")


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
  """{dotted key: (old, new)} of the leaves that differ, as JSON sees them."""
  a, b = (core.flatten(json.loads(json.dumps(c))) for c in (old, new))
  return {key: (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}
