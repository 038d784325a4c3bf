"""Imports go one way: the table below is the architecture, and these tests guard it."""

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
# package or module of genjax -> what it may import of genjax (itself and core always)
ARROWS = {
  "main": {"catalogue", "modes", "training"},
  "modes": {"catalogue", "config", "registry", "runs", "evaluation", "kinds", "report", "training"},
  "runs": {"config", "registry", "data", "evaluation", "training"},
  "config": {"catalogue", "registry", "renamed", "values", "data", "training"},
  "values": set(),
  "catalogue": set(),
  "renamed": set(),
  "registry": {
    "families",
    "networks",
    "processes",
    "samplers",
    "distributions",
    "data",
    "training",
  },
  "families": {"bijectors", "processes", "samplers", "networks", "distributions"},
  "samplers": {"processes"},
  "processes": set(),
  "networks": set(),
  "bijectors": set(),
  "distributions": set(),
  "training": set(),
  "data": set(),
  "evaluation": {"networks", "data"},
  "kinds": {"data", "report"},
  "report": set(),
  "launch": {"config"},
  "core": set(),
}
# What only the named packages may import at the top of a file.
RESTRICTED = {"ml_collections": {"config"}, "orbax": {"training"}, "matplotlib": set()}
SLOW = ("grain", "matplotlib", "mlxtend", "sklearn", "tensorboardX", "tensorflow_datasets")


def place(path):
  """Returns the package of genjax that a file belongs to, or the name of the file itself."""
  parts = path.relative_to(ROOT / "genjax").with_suffix("").parts
  return parts[0]


def imported(tree):
  """Yields the dotted names that a file imports, anywhere in it."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, "imports are absolute"
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = [p for p in (ROOT / "genjax").rglob("*.py") if p.name != "__init__.py"]


def test_arrows():
  assert len(FILES) > 30
  for path in FILES:
    own = place(path)
    for name in imported(ast.parse(path.read_text())):
      parts = name.split(".")
      if parts[0] == "genjax":
        assert parts[1] in ARROWS[own] | {own, "core"}, f"{path.relative_to(ROOT)} imports {name}"
      assert parts[0] not in ("configs", "experiments", "tests", "tensorflow", "torch")


def test_restricted_libraries():
  for path in FILES:
    top = ast.Module([n for n in ast.parse(path.read_text()).body], [])
    outermost = [n for n in top.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    for name in imported(ast.Module(outermost, [])):
      allowed = RESTRICTED.get(name.split(".")[0])
      assert allowed is None or place(path) in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_slow_libraries_are_imported_where_they_are_used():
  code = "import sys, genjax.modes.dispatch; print(*sys.modules)"
  out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert "genjax.registry" in out.stdout.split(), out.stderr
  assert not set(SLOW) & set(out.stdout.split())


def test_core_knows_only_jax_flax_and_optax():
  names = {n.split(".")[0] for n in imported(ast.parse((ROOT / "genjax/core.py").read_text()))}
  third_party = names & {"numpy", "chex", "orbax", "ml_collections", "absl", "scipy"}
  assert not third_party


def test_no_file_is_a_drawer():
  assert not {p.stem for p in FILES} & {"utils", "helpers", "common", "misc"}


def test_text_files_are_utf8_whatever_the_locale():
  for path in FILES:
    for node in ast.walk(ast.parse(path.read_bytes())):
      if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        continue
      words = {word.arg for word in node.keywords}
      texts = node.func.attr in ("read_text", "write_text")
      modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
      texts |= node.func.attr == "open" and modes in (["a"], ["w"], ["r"], ["x"])
      assert not texts or "encoding" in words, f"{path}:{node.lineno}"
