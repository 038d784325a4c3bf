"""Words of earlier configurations, so that their runs and commands go on.

conditional: true        a network's                 conditions: ("label",)
label_dropout: 0.1       a diffusion's               hide: 0.1
known: "left"            a VAE's                     task: {"name": "half", "side": "left"}, and
                                                     the decoder's condition "known:values"
"""

from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]
KNOWN = "known:values"  # the half of all examples is the same: where it lies need not be told


def whole(config: Config) -> Config:
  """The same configuration in the words of today."""
  config = {key: _renamed(value) for key, value in config.items()}
  sides = _known(config.get("model"))
  if sides:
    config["task"] = {"name": "half", "side": sides[0]}
  return config


def override(config: Config, key: str, value: str) -> tuple[str, str]:
  """(key, value) of the command line in the words of today.

  What becomes several keys is written into the configuration instead, for `whole` to find.
  """
  parent, _, last = key.rpartition(".")
  dotted = f"{parent}." if parent else ""
  if last == "conditional":
    return f"{dotted}conditions", "label" if value.lower() in ("true", "1") else ""
  if last == "label_dropout":
    return f"{dotted}hide", value
  if last == "known" and _is_vae(_at(config, parent)):
    if not value:
      return "task.name", "none"
    _at(config, parent)["known"] = value
    config["task"] = {"name": "half", "side": value}
    return "task.side", value
  return key, value


def _at(config, path):
  for part in filter(None, path.split(".")):
    config = config.get(part) if isinstance(config, Mapping) else None
  return config


def _is_vae(spec):
  return isinstance(spec, Mapping) and spec.get("name") == "vae"


def _renamed(value):
  """A value with its old keys renamed, at any depth."""
  if not isinstance(value, Mapping):
    return value
  new = {key: _renamed(inner) for key, inner in value.items()}
  if "conditional" in new:
    told = ("label",) if new.pop("conditional") else ()
    new["conditions"] = (*told, *(c for c in new.get("conditions", ()) if c not in told))
  if "label_dropout" in new:
    new["hide"] = new.pop("label_dropout")
  return new


def _known(model):
  """The halves that VAEs of a model are given, and their decoders told of them."""
  if not isinstance(model, Mapping):
    return []
  sides = [side for inner in model.values() for side in _known(inner)]
  if _is_vae(model) and (side := model.pop("known", "")):
    decoder = model["decoder"]
    decoder["conditions"] = (*decoder.get("conditions", ()), KNOWN)
    sides.append(side)
  return sides
