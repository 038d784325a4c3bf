"""Which configurations there are, found by reading their files without running them.

A configuration is a file of configs/: its docstring opens with a title, `config.model` names its
model, and `VARIANTS = dict(name=function, ...)` names its variants. The files lie beside the
package in a checkout and inside it where it was installed from a wheel.

Nothing here imports jax, so the list answers at once.
"""

import ast
import json
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

PACKAGE = pathlib.Path(__file__).parent
# Where an installed package keeps them; in a checkout they lie beside it.
ROOT = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent


class Entry(NamedTuple):
  """One configuration.

  path: its file.
  title: the first line of its docstring, or why it cannot be read.
  family: the folder of genjax/families/ that its model lies in, "" if that is unknown.
  variants: the names for FILE.py:NAME, beside "smoke" that all have.
  """

  path: pathlib.Path
  title: str
  family: str
  variants: tuple[str, ...]


def files() -> list[pathlib.Path]:
  """The configurations of the current directory, or else those that came with genjax."""
  for folder in (pathlib.Path("configs"), ROOT / "configs"):
    if found := [path for path in sorted(folder.glob("*.py")) if _shown(path)]:
      return found
  return []


def _shown(path: pathlib.Path) -> bool:
  """Whether a file is a configuration: not base.py, no __init__.py and no lock of an editor."""
  return path.stem != "base" and not path.name.startswith((".", "_")) and path.is_file()


def find(name: str) -> pathlib.Path | None:
  """The file that a person means by "FILE.py", "configs/FILE.py" or "FILE"; None if there is none.

  A file of the current directory comes before one that came with genjax.
  """
  path = pathlib.Path(os.path.expanduser(name))
  if path.is_file():
    return path

  places = []
  if path.parent in (pathlib.Path(), pathlib.Path("configs")):
    file = f"{path.name.removesuffix('.py')}.py"
    places = [pathlib.Path("configs", file), ROOT / "configs" / file]
  return next((place for place in places if place.is_file()), None)


def names(like: str) -> list[str]:
  """What `find` would understand, spelt as `like` is: with or without folder and suffix."""
  if like.endswith(".py") or "/" in like:
    return [f"configs/{path.name}" for path in files()]
  return [path.stem for path in files()]


def entries() -> list[Entry]:
  """All configurations, each family's together."""
  folders = _folders()
  found = [_entry(path, folders) for path in files()]
  order = list(dict.fromkeys(folders.values()))
  place = lambda entry: order.index(entry.family) if entry.family in order else len(order)
  return sorted(found, key=lambda entry: (place(entry), entry.path.stem))


def _entry(path: pathlib.Path, folders: dict[str, str]) -> Entry:
  try:
    tree = _parsed(path)
    model = _model(tree, path, (path,))
  except (OSError, SyntaxError, ValueError) as e:
    return Entry(path, f"(cannot be read: {' '.join(str(e).split())})", "", ())
  title = (ast.get_docstring(tree) or "").partition("\n")[0]
  return Entry(path, title, folders.get(model, ""), _variants(tree))


def _parsed(path: pathlib.Path) -> ast.Module:
  return ast.parse(path.read_bytes())  # bytes: a byte-order mark is understood


def _model(tree: ast.Module, path: pathlib.Path, seen: tuple[pathlib.Path, ...]) -> str:
  """The name of the model, from the file itself or from the configuration that it starts from.

  seen: the files that led here; two may import each other.
  """
  for node in ast.walk(tree):
    if not isinstance(node, ast.Assign):
      continue
    target = ast.unparse(node.targets[0])
    if target == "config.model.name" and isinstance(node.value, ast.Constant):
      return node.value.value
    if target == "config.model" and isinstance(node.value, ast.Call):
      words = {word.arg: word.value for word in node.value.keywords}
      if isinstance(words.get("name"), ast.Constant):
        return words["name"].value

  for neighbour in _neighbours(tree):
    file = path.with_name(f"{neighbour}.py")
    if neighbour != "base" and file.is_file() and file not in seen:
      return _model(_parsed(file), file, (*seen, file))
  return ""


def _neighbours(tree: ast.Module) -> Iterable[str]:
  """The configurations that a file imports."""
  for node in tree.body:
    if isinstance(node, ast.ImportFrom) and node.module == "configs":
      yield from (alias.name for alias in node.names)


def _variants(tree: ast.Module) -> tuple[str, ...]:
  """The names in `VARIANTS = dict(name=..., ...)`."""
  for node in tree.body:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VARIANTS":
      return tuple(word.arg for word in getattr(node.value, "keywords", ()) if word.arg)
  return ()


def _folders() -> dict[str, str]:
  """{name of a model: the folder of its family}, read from the table of families."""
  tree = _parsed(PACKAGE / "families" / "table.py")
  folder = {}
  for node in tree.body:
    if isinstance(node, ast.ImportFrom):
      folder |= {alias.name: node.module.rpartition(".")[2] for alias in node.names}
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODELS":
      owners = (ast.unparse(value).partition(".")[0] for value in node.value.values)
      return {key.value: folder[owner] for key, owner in zip(node.value.keys, owners)}
  return {}


def seconds() -> dict[str, float]:
  """{configuration: seconds that its training took}, of the published results."""
  file = ROOT / "docs" / "results.json"
  if not file.is_file():
    return {}
  runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
  return {run["name"]: run["seconds"] for run in runs if run.get("seconds")}


def listing() -> str:
  """Every configuration by family: measured time, title and variants."""
  measured, lines, family = seconds(), [], None
  for entry in entries():
    if entry.family != family:
      family = entry.family
      lines += ["", family or "other"]
    took = measured.get(entry.path.stem)
    time = "" if took is None else duration(took)
    lines.append(f"  {entry.path.stem:32} {time:>7}  {entry.title}")
    lines += [f"{'':44}{line}" for line in _wrapped(entry.variants)]
  if not lines:
    lines = ["", f"  (none: neither configs/ here nor {ROOT / 'configs'} holds one)"]
  head = (
    "python -m genjax.main --config=NAME[:VARIANT] trains one of these. Times are of training on\n"
    "two CPU cores, where they were measured. Every one has :smoke, the same in seconds."
  )
  return "\n".join([head, *lines])


def _wrapped(variants: tuple[str, ...], width: int = 54) -> list[str]:
  """ ":a :b :c" in lines of at most `width` characters."""
  lines = [""]
  for name in variants:
    if len(lines[-1]) + len(name) + 2 > width:
      lines.append("")
    lines[-1] += f":{name} "
  return [line.rstrip() for line in lines if line]


def duration(seconds: float) -> str:
  """Returns "40 s" or "12 min"."""
  return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:,.0f} min"
