"""Names that earlier versions used in configurations, translated into those of today.

So old runs can still be opened, and old commands still work:

    earlier                              today
    conditional: true, of a network      conditions: ("label",)
    label_dropout: 0.1, of a diffusion   hide: 0.1
    known: "left", of a VAE              task: {"name": "half", "side": "left"} at the top, and
                                         "known:values" in the conditions of the VAE's decoder
"""

from collections.abc import Mapping
from typing import Any

from genjax import core

Config = dict[str, Any]
# The same half is known of every example, so the decoder needs its values but no mask of them.
KNOWN = "known:values"


def whole(config: Config) -> Config:
  """Returns a configuration with every old name translated; the one that is given stays as it is.

  A configuration without old names comes back equal.
  """
  config = {key: _renamed(value) for key, value in config.items()}
  sides = _known(config.get("model"))
  if sides:
    config["task"] = {"name": "half", "side": sides[0]}
  return config


def key(key: str) -> str:
  """Returns a dotted key of the command line with "label_dropout" replaced by "hide"."""
  return ".".join("hide" if part == "label_dropout" else part for part in key.split("."))


def override(config: Config, key: str, value: str) -> list[str] | None:
  """Writes an old name of the command line into the configuration, for `whole` to translate.

  key: dotted, such as "model.network.conditional".
  value: as it is written on the command line.

  Returns the dotted keys of today that it sets, or None if the name is not an old one.
  """
  parent, _, last = key.rpartition(".")
  dotted = f"{parent}." if parent else ""
  spec = _at(config, parent)
  if not isinstance(spec, Mapping):
    return None

  if last == "conditional":
    spec["conditional"] = _truth(key, value)
    return [f"{dotted}conditions"]

  # An empty value means that nothing is known: the task goes too.
  if last == "known" and spec.get("name") == "vae":
    spec["known"] = value
    if not value:
      config["task"] = {"name": "none"}
    return ["task.name", *["task.side"] * bool(value), f"{dotted}decoder.conditions"]
  return None


def _truth(key: str, value: str) -> bool:
  """Returns a truth value of the command line; raises UserError for anything else."""
  if value.lower() in ("true", "t", "1"):
    return True
  if value.lower() in ("false", "f", "0"):
    return False
  raise core.UserError(f"{key}={value!r}, expected true or false")


def _at(config: Any, path: str) -> Any:
  """Returns what stands at a dotted path of a configuration, or None if there is nothing."""
  for part in filter(None, path.split(".")):
    config = config.get(part) if isinstance(config, Mapping) else None
  return config


def _renamed(value: Any) -> Any:
  """Returns a value with "conditional" and "label_dropout" translated at any depth."""
  if not isinstance(value, Mapping):
    return value
  new = {key: _renamed(inner) for key, inner in value.items()}

  if "conditional" in new:
    told = ("label",) if new.pop("conditional") else ()
    others = (c for c in new.get("conditions", ()) if c != "label")
    new["conditions"] = (*told, *others)
  if "label_dropout" in new:
    new["hide"] = new.pop("label_dropout")
  return new


def _known(model: Any) -> list[str]:
  """Takes "known" out of every VAE in a model, in place, and tells their decoders KNOWN instead.

  Returns the sides, such as ["left"]; [] if no VAE knows a half.
  """
  if not isinstance(model, Mapping):
    return []
  # A VAE may be nested, such as the first stage of a latent model.
  sides = [side for inner in model.values() for side in _known(inner)]

  if model.get("name") == "vae" and "known" in model:
    side = model.pop("known")
    decoder = model.get("decoder")
    if isinstance(decoder, dict) and (side or "conditions" in decoder):
      others = (c for c in decoder.get("conditions", ()) if c.partition(":")[0] != "known")
      decoder["conditions"] = (*others, *[KNOWN] * bool(side))
    sides += [side] * bool(side)
  return sides
