"""What run.json says of the data is enough to open a run without them."""

import json
import pathlib

import pytest

from genjax import config, core
from genjax.runs import build, recorded

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  "name", ["ddpm_moons.py:smoke", "super_resolution_digits.py:smoke", "text_conditional_moons.py"]
)
def test_a_description_survives_json(name):
  spec = build.assemble(config.from_file(f"{ROOT}/configs/{name}")[0]).data.spec
  assert recorded.spec_of(json.loads(json.dumps(recorded.plain(spec)))) == spec


def write(workdir, **facts):
  (workdir / "run.json").write_text(json.dumps({"data": facts}))


def test_absent_data_say_why(tmp_path):
  spec = core.DataSpec(shape=(2,))
  write(tmp_path, name="x", spec=recorded.plain(spec), origin="there", licence="", hash={})
  data = recorded.dataset(tmp_path, "the disk is gone")
  assert data.spec == spec
  with pytest.raises(core.UserError, match="needs the data of the run, and the disk is gone"):
    data.splits["train"]
  write(tmp_path, name="x", origin="there", licence="", hash={})
  assert recorded.dataset(tmp_path, "") is None


def test_earlier_folders_are_compared_by_what_is_known_of_them(tmp_path):
  """They had no digests of contents, and their classes were in the order of plain sorting."""
  label = lambda names: core.Field(shape=(), dtype="int32", levels=2, kind="label", names=names)
  spec = core.DataSpec(shape=(4, 4, 1), classes=2)
  base = recorded.sources.Dataset("image_folder", spec, {}, "", "", {"train": "new"})
  rows = {split: {"x": range(n)} for split, n in (("train", 8), ("valid", 1), ("test", 1))}
  counts = {"train": 8, "valid": 1, "test": 1}
  sorted_alike = base._replace(spec=spec.beside(label=label(("cats", "dogs"))), splits=rows)
  otherwise = base._replace(spec=spec.beside(label=label(("2", "10"))), splits=rows)

  write(tmp_path, name="image_folder", hash={"train": "old"}, counts=counts)
  assert not recorded.others(tmp_path, sorted_alike)
  assert recorded.others(tmp_path, otherwise)
  write(tmp_path, name="image_folder", hash={"train": "old"}, counts={**counts, "train": 9})
  assert recorded.others(tmp_path, sorted_alike)
  write(tmp_path, hash={"train": "old"}, counts=counts, spec={})
  assert recorded.others(tmp_path, sorted_alike)
