"""Words of earlier configurations, so that their runs and commands go on.

conditional: true        a network's                 conditions: ("label",)
label_dropout: 0.1       a diffusion's               hide: 0.1
known: "left"            a VAE's                     task: {"name": "half", "side": "left"}, and
                                                     the decoder's condition "known:values"
"""

from collections.abc import Mapping
from typing import Any

from genjax import core

Config = dict[str, Any]
KNOWN = "known:values"  # the half of all examples is the same: where it lies need not be told


def whole(config: Config) -> Config:
  """The same configuration in the words of today."""
  config = {key: _renamed(value) for key, value in config.items()}
  sides = _known(config.get("model"))
  if sides:
    config["task"] = {"name": "half", "side": sides[0]}
  return config


def key(key: str) -> str:
  """A dotted key of the command line, where an old word is another one today."""
  return ".".join("hide" if part == "label_dropout" else part for part in key.split("."))


def override(config: Config, key: str, value: str) -> list[str] | None:
  """Writes an old word of the command line into the configuration, for `whole` to translate.

  Returns the keys of today that it sets, or None if the word is not an old one.
  """
  parent, _, last = key.rpartition(".")
  dotted, spec = f"{parent}." if parent else "", _at(config, parent)
  if not isinstance(spec, Mapping):
    return None
  if last == "conditional":
    spec["conditional"] = _truth(key, value)
    return [f"{dotted}conditions"]
  if last == "known" and spec.get("name") == "vae":
    spec["known"] = value
    if not value:
      config["task"] = {"name": "none"}
    return ["task.name", *["task.side"] * bool(value), f"{dotted}decoder.conditions"]
  return None


def _truth(key, value):
  if value.lower() in ("true", "t", "1"):
    return True
  if value.lower() in ("false", "f", "0"):
    return False
  raise core.UserError(f"{key}={value!r}, expected true or false")


def _at(config, path):
  for part in filter(None, path.split(".")):
    config = config.get(part) if isinstance(config, Mapping) else None
  return config


def _renamed(value):
  """A value with its old keys renamed, at any depth."""
  if not isinstance(value, Mapping):
    return value
  new = {key: _renamed(inner) for key, inner in value.items()}
  if "conditional" in new:
    told = ("label",) if new.pop("conditional") else ()
    new["conditions"] = (*told, *(c for c in new.get("conditions", ()) if c != "label"))
  if "label_dropout" in new:
    new["hide"] = new.pop("label_dropout")
  return new


def _known(model):
  """The halves that VAEs of a model are given, and their decoders told of them."""
  if not isinstance(model, Mapping):
    return []
  sides = [side for inner in model.values() for side in _known(inner)]
  if model.get("name") == "vae" and "known" in model:
    side, decoder = model.pop("known"), model.get("decoder")
    if isinstance(decoder, dict) and (side or "conditions" in decoder):
      others = (c for c in decoder.get("conditions", ()) if c.partition(":")[0] != "known")
      decoder["conditions"] = (*others, *[KNOWN] * bool(side))
    sides += [side] * bool(side)
  return sides
