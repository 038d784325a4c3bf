"""What cannot end well is refused at the start, and what fails on the way loses nothing."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from genjax import core
from genjax.data import pictures as pictures_module
from genjax.modes import evaluate, folder
from genjax.training import writers
from tests.command import FLAGS, MOONS, TINY, program, run


@pytest.fixture
def pictures(tmp_path):
  """A folder of 20 pictures."""
  place = tmp_path / "pictures"
  place.mkdir()
  rng = np.random.default_rng(0)
  for i in range(20):
    Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(place / f"{i}.png")
  return place


def test_a_metric_without_enough_examples_is_refused(pictures, tmp_path):
  workdir = tmp_path / "run"
  _, err = run("--config=own_pictures", f"--config.data.dir={pictures}", f"--workdir={workdir}",
               code=2)  # fmt: skip
  assert "metric 'nearest': the test split has 1 examples; expected at least 8" in err
  assert not workdir.exists()


@pytest.mark.parametrize("metric", ["fd", "nearest", "prdc"])
def test_a_metric_of_samples_needs_samples(metric, tmp_path):
  workdir = tmp_path / "run"
  _, err = run("--config=classifier_digits", f"--config.metrics={metric}", f"--workdir={workdir}",
               code=2)  # fmt: skip
  assert f"metric '{metric}': this model has no samples" in err and not workdir.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluate", "write"])
def test_what_fails_beside_the_training_loses_no_step(name, tmp_path, monkeypatch):
  """A metric or a writer that fails at step 10 of 20: the same command goes on from step 10."""
  workdir = tmp_path / "run"
  flags = [*FLAGS, f"--workdir={workdir}", "--config.save_every=0", "--config.evaluate_every=10"]
  flags[flags.index("--config.metrics=")] = "--config.metrics=w2"
  whole = writers.Metrics.write

  def fails(*_):
    raise OSError("no space left on device")

  with monkeypatch.context() as patched:
    if name == "evaluate":
      patched.setattr(evaluate, "measure", fails)
    else:
      write = lambda self, step, values: fails() if step == 10 else whole(self, step, values)
      patched.setattr(writers.Metrics, "write", write)
    _, err = run(*flags, code=1)
  assert "OSError: no space left on device" in err
  assert "step 10: " in err and "the same command goes on from step 10" in err
  assert "Traceback" in (workdir / "log.txt").read_text(encoding="utf-8")
  assert (workdir / "checkpoints" / "10").is_dir()

  out, _ = run(*flags)
  assert "step       10 of 20" in out and (workdir / "checkpoints" / "20").is_dir()


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
  """Where nothing can be saved any more, the last checkpoint is what the run goes on from."""
  from genjax.training import checkpoints

  whole = checkpoints.Checkpoints._save

  def full(self, state):
    if int(state.step) > 5:
      raise OSError(28, "No space left on device")
    whole(self, state)

  with monkeypatch.context() as patched:
    patched.setattr(checkpoints.Checkpoints, "_save", full)
    out, err = run(*FLAGS, f"--workdir={tmp_path}/run", code=1)
  assert "No space left on device" in err and len(err.strip().splitlines()) == 1
  assert "the same command goes on from step 5" in err
  out, _ = run(*FLAGS, f"--workdir={tmp_path}/run")
  assert "step       5 of 20" in out


@pytest.mark.slow
def test_a_disk_that_fills_while_training_is_one_line(tmp_path):
  """A real one, /dev/full: text that could not be written would be written again at the end."""
  workdir = tmp_path / "run"
  file = workdir / "metrics.jsonl"
  run(*FLAGS, f"--workdir={workdir}")
  file.unlink()
  file.symlink_to("/dev/full")
  _, err = run(*FLAGS, "--config.steps=30", f"--workdir={workdir}", code=1)
  assert "No space left on device" in err and len(err.strip().splitlines()) == 1
  file.unlink()
  out, _ = run(*FLAGS, "--config.steps=30", f"--workdir={workdir}")
  assert "step       25 of 30" in out


@pytest.mark.slow
def test_a_log_that_cannot_be_written_ends_no_training(tmp_path):
  workdir = tmp_path / "run"
  run(*FLAGS, f"--workdir={workdir}")
  (workdir / "log.txt").unlink()
  (workdir / "log.txt").symlink_to("/dev/full")
  out, err = run(*FLAGS, "--config.steps=30", f"--workdir={workdir}")
  assert "log.txt cannot be written any more: No space left on device" in err
  assert "step 30/30" in out and "report.html" in out


@pytest.mark.slow
def test_what_fails_at_the_end_is_made_by_the_same_command(tmp_path, monkeypatch):
  from genjax.report import page

  def fails(workdir):
    raise OSError(28, "No space left on device")

  with monkeypatch.context() as patched:
    patched.setattr(page, "write", fails)
    _, err = run(*FLAGS, f"--workdir={tmp_path}/run", code=1)
  assert "the same command goes on from step 20" in err
  out, _ = run(*FLAGS, f"--workdir={tmp_path}/run")
  assert "report.html" in out


@pytest.mark.slow
def test_a_picture_that_proves_damaged_loses_no_step(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  place = tmp_path / "pictures"
  place.mkdir()
  for i in range(40):
    Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(place / f"{i}.png")
  whole = {path: path.read_bytes() for path in place.iterdir()}
  flags = ["--config=own_pictures:smoke", "--config.data.name=image_folder", "--config.metrics=",
           f"--config.data.dir={place}", "--config.data.size=8", "--config.data.channels=1",
           "--config.data.check=header", "--config.sample_every=0", "--config.save_every=0",
           f"--workdir={tmp_path}/run"]  # fmt: skip
  run(*flags)
  for path, content in whole.items():
    path.write_bytes(content[:-20])  # a good header
  _, err = run(*flags, "--config.steps=30", code=2)
  assert "was trained on other data" in err

  # The same damage after the start: read when a batch wants it.
  for path, content in whole.items():
    path.write_bytes(content)
  decode = pictures_module.decode
  calls = []

  def damaged(file, channels, size=0):
    calls.append(file)
    if len(calls) > 100:
      raise ValueError("damaged")
    return decode(file, channels, size)

  with monkeypatch.context() as patched:
    patched.setattr(pictures_module, "decode", damaged)
    _, err = run(*flags, "--config.steps=60", code=1)
  assert "cannot be decoded (damaged); put the file back as it was" in err
  assert "the same command goes on from step" in err
  out, _ = run(*flags, "--config.steps=60")
  assert "of 60" in out


def test_numbers_that_are_none_are_said_and_not_measured(tmp_path, monkeypatch):
  from genjax.families.diffusion import diffusion

  workdir = tmp_path / "run"
  run(*FLAGS, f"--workdir={workdir}")
  whole = diffusion.Diffusion.sample

  def broken(self, params, buffers, keys, cond):
    return whole(self, params, buffers, keys, cond).at[0].set(np.nan)

  monkeypatch.setattr(diffusion.Diffusion, "sample", broken)
  out, err = run("--mode=sample", f"--workdir={workdir}", "--num=32")  # of two chunks
  assert "2 of 32 samples are not finite numbers" in err
  assert out.strip() == f"{workdir}/generated/seed0_num32"  # for scripts
  about = json.loads((workdir / "generated/seed0_num32/about.json").read_text())
  assert about["not_finite"] == 2
  assert "faulty" not in np.load(workdir / "generated/seed0_num32/samples.npz")

  out, _ = run("--mode=evaluate", f"--workdir={workdir}", "--config.metrics=w2")
  assert "w2: 2 of 32 samples are not finite numbers" in out
  (file,) = workdir.glob("eval-*.json")
  assert json.loads(file.read_text())["metrics"] == {"w2": None}


def test_a_place_is_tried_at_the_start(tmp_path, monkeypatch):
  file = tmp_path / "file"
  file.write_text("mine")
  for flags in ([MOONS, *TINY], ["--mode=report"]):
    _, err = run(*flags, f"--workdir={file}", code=2)
    assert f"--workdir={file} is a file; expected a directory" in err
    assert len(err.strip().splitlines()) == 1
  _, err = run(MOONS, *TINY, f"--workdir={file}/below", code=2)
  assert f"{file} is a file" in err
  (tmp_path / "link").symlink_to(tmp_path / "nowhere")
  assert folder.place(tmp_path / "link", "--out") == tmp_path / "nowhere"
  monkeypatch.setenv("HOME", str(tmp_path))
  assert folder.place("~/runs/a", "--workdir") == tmp_path / "runs" / "a"

  (tmp_path / "loop").symlink_to(tmp_path / "loop")
  for name, message in {
    "~nobodyxyz/run": "there is no such home directory",
    f"{tmp_path}/loop/run": "loop",
    f"{tmp_path}/{'x' * 300}/run": "File name too long",
  }.items():
    with pytest.raises(core.UserError, match=message):
      folder.place(name, "--workdir")
  assert folder.place(tmp_path / "link" / "run", "--workdir") == tmp_path / "nowhere" / "run"


@pytest.mark.slow
def test_a_directory_that_may_not_be_written_to_is_said_at_the_start(tmp_path, monkeypatch):
  workdir = tmp_path / "run"
  run(*FLAGS, f"--workdir={workdir}")
  access = os.access
  locked = lambda path, how: access(path, how) and not str(path).startswith(str(workdir))
  monkeypatch.setattr(os, "access", locked)
  _, err = run("--mode=sample", f"--workdir={workdir}", code=2)
  assert f"{workdir} may not be written to" in err
  out, _ = run("--mode=sample", f"--workdir={workdir}", f"--out={tmp_path}/out", "--num=3")
  assert out.strip() == f"{tmp_path}/out"

  # An evaluation prints before it writes.
  def refuse(path, value):
    raise PermissionError(13, "Permission denied")

  monkeypatch.setattr(writers, "write_json", refuse)
  out, err = run("--mode=evaluate", f"--workdir={workdir}", "--config.metrics=w2", code=2)
  assert "w2/exact" in out and "could not be saved" in err


@pytest.mark.slow
def test_out_may_be_a_link(tmp_path):
  workdir = tmp_path / "run"
  run(*FLAGS, f"--workdir={workdir}")
  (tmp_path / "real").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "real")
  run("--mode=sample", f"--workdir={workdir}", f"--out={tmp_path}/link", "--num=3")
  assert (tmp_path / "real" / "grid.png").is_file() and (tmp_path / "link").is_symlink()
  assert not list(tmp_path.glob(".*"))


TERMINALS = {
  "head": "{command} | head -1",
  "closed": "{command} >&-",
  "ascii": "PYTHONUTF8=0 PYTHONIOENCODING=ascii LC_ALL=C {command}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TERMINALS)
def test_a_terminal_that_goes_away_ends_no_training(name, tmp_path):
  """`| head`, a closed standard output, and a locale that knows no Unicode."""
  workdir = tmp_path / "run"
  command = shlex.join([sys.executable, "-m", "genjax.main", *FLAGS, f"--workdir={workdir}"])
  shell = ["bash", "-o", "pipefail", "-c", TERMINALS[name].format(command=command)]
  done = subprocess.run(shell, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert (workdir / "report.html").is_file() and "Traceback" not in done.stderr
  assert "step 20/20" in (workdir / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_huge_number_of_steps_is_no_reason_to_wait(tmp_path):
  """Ten thousand million steps: describing them takes no longer than twenty."""
  out, _ = program("--mode=describe", MOONS, *TINY, "--config.steps=1e10")
  assert "FLOPs" in out


@pytest.mark.slow
def test_a_run_is_not_lost_when_its_data_are(tmp_path, pictures):
  """The folder moves, is named with a slash, goes away, and comes back with another picture."""
  flags = ["--config=own_pictures:smoke", "--config.data.name=image_folder", "--config.metrics=",
           "--config.data.size=8", "--config.data.channels=1",
           "--config.sample_every=0"]  # fmt: skip
  workdir = f"--workdir={tmp_path}/run"
  run(*flags, f"--config.data.dir={pictures}", workdir)
  own = np.load(tmp_path / "run/generated/seed0_num16/samples.npz")["x"]

  out, _ = run(*flags, f"--config.data.dir={pictures}/", workdir)
  assert "is finished" in out and "ignored" in out  # nothing but the place is another
  moved = tmp_path / "moved"
  shutil.move(pictures, moved)
  out, _ = run(*flags, f"--config.data.dir={moved}", "--config.steps=25", workdir)
  assert "step       20 of 25" in out

  # Without any data: the model and its samples are there, a metric of the data is not.
  shutil.move(moved, tmp_path / "away")
  run("--mode=sample", workdir, "--num=16", "--seed=1")
  x = np.load(tmp_path / "run/generated/seed1_num16/samples.npz")["x"]
  assert x.shape == own.shape and x.dtype == np.uint8
  _, err = run("--mode=evaluate", workdir, "--config.metrics=nearest", code=2)
  assert "this needs the data of the run, and data.dir=" in err
  _, err = run(*flags, f"--config.data.dir={moved}", "--config.steps=30", workdir, code=2)
  assert "is not a folder" in err

  # Another picture under the same name and of the same size: other contents.
  shutil.move(tmp_path / "away", moved)
  first = sorted(moved.iterdir())[0]
  content = bytearray(first.read_bytes())
  Image.fromarray(255 - np.asarray(Image.open(first))).save(first)
  assert first.read_bytes() != bytes(content)
  _, err = run(*flags, f"--config.data.dir={moved}", "--config.steps=30", workdir, code=2)
  assert "was trained on other data" in err
  run("--mode=sample", workdir, "--num=16", "--seed=2")


@pytest.mark.slow
def test_class_names_follow_their_pictures(tmp_path):
  """From the folders to run.json, samples.npz and the grid."""
  rng = np.random.default_rng(0)
  for name in ("2", "10", "black cats"):
    (tmp_path / "pictures" / name).mkdir(parents=True)
    for i in range(8):
      picture = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
      picture.save(tmp_path / "pictures" / name / f"{i}.png")
  run("--config=vae_mnist:conditional+smoke", "--config.data.name=image_folder",
      f"--config.data.dir={tmp_path}/pictures", "--config.data.size=6", "--config.data.channels=1",
      "--config.data.range=0,1", "--config.data.binarize=threshold", "--config.metrics=",
      f"--workdir={tmp_path}/run")  # fmt: skip
  facts = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
  others = dict(facts["spec"]["others"])
  assert others["label"]["names"] == ["2", "10", "black cats"]
  arrays = np.load(tmp_path / "run/generated/seed0_num16/samples.npz")
  assert list(arrays["label_names"]) == ["2", "10", "black cats"]
  np.testing.assert_array_equal(arrays["label"][:4], [0, 1, 2, 0])
  about = json.loads((tmp_path / "run/generated/seed0_num16/about.json").read_text())
  assert about["legend"] == ["label", "sample"]
