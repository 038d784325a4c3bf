"""The list of configurations, read without running them."""

import runpy
import subprocess
import sys

import pytest

from genjax import catalogue, config, core, registry


def test_every_configuration_has_its_family_and_variants(monkeypatch):
  monkeypatch.syspath_prepend(str(catalogue.ROOT))
  entries = catalogue.entries()
  assert len(entries) > 30
  for entry in entries:
    module = runpy.run_path(str(entry.path))
    assert entry.variants == tuple(module.get("VARIANTS", ())), entry.path
    model = config.from_file(str(entry.path))[0]["model"]["name"]
    family = registry.MODELS[model].__module__.split(".")[2]
    assert entry.family == family, entry.path
    assert entry.title and f"  {entry.path.stem} " in catalogue.listing()


def test_what_cannot_be_read_does_not_hide_the_rest(tmp_path, monkeypatch):
  """A byte-order mark, half a file, another encoding, an editor's lock, a folder."""
  monkeypatch.chdir(tmp_path)
  folder = tmp_path / "configs"
  folder.mkdir()
  good = '"""A title."""\nconfig.model = dict(name="vae")\nVARIANTS = dict(a=1, b=2)\n'
  (folder / "good.py").write_text(good)
  (folder / "marked.py").write_bytes(b"\xef\xbb\xbf" + good.encode())
  (folder / "half.py").write_text('"""A tit')
  (folder / "latin.py").write_bytes(b'"""Caf\xe9."""\n')
  (folder / "null.py").write_bytes(b"x = 1\0")
  (folder / ".#good.py").symlink_to("nowhere")
  (folder / "lost.py").symlink_to("nowhere")
  (folder / "folder.py").mkdir()
  (folder / "__init__.py").write_text("")
  (folder / "heir.py").write_text('"""An heir."""\nfrom configs import half\n')
  for name, other in (("one", "two"), ("two", "one")):
    (folder / f"{name}.py").write_text(f'"""Number {name}."""\nfrom configs import {other}\n')

  found = {entry.path.stem: entry for entry in catalogue.entries()}
  readable = {"good", "marked", "one", "two"}
  assert set(found) == readable | {"half", "latin", "null", "heir"}
  assert found["one"].title == "Number one." and found["one"].family == ""
  for name in ("good", "marked"):
    assert found[name].title == "A title." and found[name].variants == ("a", "b")
    assert found[name].family == "vae"
  for name in ("half", "latin", "null", "heir"):
    assert found[name].title.startswith("(cannot be read: ")
  assert ":a :b" in catalogue.listing()


def test_a_name_is_found_from_any_directory(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  ours = catalogue.ROOT / "configs" / "ddpm_moons.py"
  for name in ("ddpm_moons", "ddpm_moons.py", "configs/ddpm_moons.py", str(ours)):
    assert catalogue.find(name).samefile(ours)
  assert catalogue.find("other/ddpm_moons.py") is None
  whole, _ = config.from_file("ddpm_moons:smoke")
  assert whole["steps"] == 20
  with pytest.raises(core.UserError, match="did you mean 'ddpm_moons'"):
    config.from_file("ddpm_moon")

  mine = tmp_path / "configs"
  mine.mkdir()
  (mine / "ddpm_moons.py").write_text("own = 1")
  assert catalogue.find("ddpm_moons").samefile(mine / "ddpm_moons.py")


def test_a_configuration_imports_its_neighbours_and_ours(tmp_path):
  folder = tmp_path / "ideas"
  folder.mkdir()
  (folder / "first.py").write_text("STEPS = 3\n")
  (folder / "second.py").write_text(
    "from configs import ddpm_moons\nfrom ideas import first\n\n\n"
    "def get_config(arg):\n  config = ddpm_moons.get_config(arg)\n"
    "  config.steps = first.STEPS\n  return config\n"
  )
  assert config.from_file(str(folder / "second.py"))[0]["steps"] == 3


@pytest.mark.slow
def test_ours_find_their_own_neighbours_first(tmp_path):
  """Whatever a person's configs/base.py holds."""
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "base.py").write_text("mine = 1\n")
  program = [sys.executable, "-m", "genjax.main", "--mode=describe", "--config=gmm_moons"]
  done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
  assert done.returncode == 0 and "FLOPs" in done.stdout, done.stderr
