"""The command line as people use it: exit codes, files, kills, several devices and hosts."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from genjax import config, core
from genjax.modes import sample
from genjax.runs import build, load
from genjax.training import checkpoints, sharding
from tests.command import FLAGS, MOONS, ROOT, program, run, start

RING = "--config=configs/wgan_gp_ring.py:smoke"


def parameters(workdir):
  """Returns every array of the newest checkpoint, by its path in the state."""
  setup = build.assemble(config.from_run(workdir)[0])
  state = load.newest(setup, checkpoints.Checkpoints(workdir))
  state = state._replace(key=jax.random.key_data(state.key))
  return {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree.leaves_with_path(state)}


def lines(workdir):
  return [json.loads(text) for text in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
  """A finished run of 20 steps, without interruption."""
  workdir = tmp_path_factory.mktemp("runs") / "unbroken"
  out, _ = run(*FLAGS, f"--workdir={workdir}")
  return workdir, out


def test_list_and_help_need_no_jax():
  out, _ = program()
  for path in (ROOT / "configs").glob("*.py"):
    assert (f"  {path.stem} " in out) == (path.stem != "base")
  assert "DDPM on two moons" in out
  out, _ = program("--help")
  assert "--workdir" in out and "exit code 2" in out
  code = "import sys; from genjax import main; main.main(['x']); assert 'jax' not in sys.modules"
  subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_a_run_leaves_what_it_promises(unbroken):
  workdir, out = unbroken
  for name in ("config.json", "run.json", "metrics.jsonl", "log.txt", "report.html", "tb",
               "checkpoints/20", "samples/step_00000010.png", "samples/step_00000020.png",
               "generated/seed0_num16/grid.png", "generated/seed0_num16/animation.gif",
               "generated/seed0_num16/samples.npz"):  # fmt: skip
    assert (workdir / name).exists(), name
  for word in ("devices", "parameters", "data", "workdir", "cache", "step 20/20", "report"):
    assert word in out
  record = json.loads((workdir / "run.json").read_text())
  assert record["data"]["counts"]["train"] == 500 and len(record["data"]["hash"]["train"]) == 12
  assert record["steps"] == 20 and record["overrides"]["metrics"] == []
  assert [line["step"] for line in lines(workdir)] == [5, 10, 15, 20]


def test_running_again_says_so(unbroken):
  workdir, _ = unbroken
  out, _ = run(*FLAGS, f"--workdir={workdir}")
  assert "is finished: 20 of 20 steps" in out


def test_sample_is_a_function_of_seed_and_index(unbroken, tmp_path):
  """Bitwise for any number and chunk; another seed gives other samples."""
  workdir, _ = unbroken
  x = {}
  for num, seed in ((5, 0), (40, 0), (5, 1)):
    folder = tmp_path / f"{num}_{seed}"
    run(
      "--mode=sample", f"--workdir={workdir}", f"--num={num}", f"--seed={seed}", f"--out={folder}"
    )
    x[num, seed] = np.load(folder / "samples.npz")["x"]
    assert x[num, seed].shape == (num, 2)
  np.testing.assert_array_equal(x[5, 0], x[40, 0][:5])
  default = np.load(workdir / "generated/seed0_num16/samples.npz")["x"]
  np.testing.assert_array_equal(default, x[40, 0][:16])
  assert not np.array_equal(x[5, 0], x[5, 1])
  chunks = ["--config.sample_batch=32", "--num=40", f"--out={tmp_path}/chunks"]
  run("--mode=sample", f"--workdir={workdir}", *chunks)
  other = np.load(tmp_path / "chunks" / "samples.npz")["x"]  # another program: to rounding
  np.testing.assert_allclose(other, x[40, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_many_samples_come_in_files_of_bounded_size(unbroken, tmp_path, monkeypatch):
  workdir, _ = unbroken
  monkeypatch.setattr(sample, "SHARD", 20)
  whole = config.from_run(workdir)[0]
  sample.sample(whole, workdir, 40, 0, tmp_path / "many")
  parts = [np.load(p)["x"] for p in sorted((tmp_path / "many").glob("samples_*.npz"))]
  assert [len(p) for p in parts] == [16, 16, 8]
  default = np.load(workdir / "generated/seed0_num16/samples.npz")["x"]
  np.testing.assert_array_equal(parts[0], default)
  sample.sample(whole, workdir, 18, 0, tmp_path / "few")  # more than a chunk, less than SHARD
  few = [np.load(p)["x"] for p in sorted((tmp_path / "few").glob("samples*.npz"))]
  np.testing.assert_array_equal(np.concatenate(few), np.concatenate(parts)[:18])


def test_a_persons_folder_is_never_replaced(unbroken, tmp_path):
  workdir, _ = unbroken
  (tmp_path / "mine.txt").write_text("precious")
  _, err = run("--mode=sample", f"--workdir={workdir}", f"--out={tmp_path}", code=2)
  assert "is not empty" in err and os.listdir(tmp_path) == ["mine.txt"]


def test_a_run_does_not_go_on_with_other_data(unbroken, tmp_path):
  workdir = tmp_path / "other"
  shutil.copytree(unbroken[0], workdir)
  record = json.loads((workdir / "run.json").read_text())
  record["data"]["hash"]["train"] = "000000000000"
  (workdir / "run.json").write_text(json.dumps(record))
  _, err = run(*FLAGS, "--config.steps=30", f"--workdir={workdir}", code=2)
  assert "was trained on other data" in err
  out, _ = run("--mode=sample", f"--workdir={workdir}", "--num=4")  # which needs none of them
  about = json.loads((pathlib.Path(out.strip()) / "about.json").read_text())
  assert list(about["settings"]) == ["data.hash"]


def test_a_group_is_loaded_averaged_or_raw(unbroken):
  workdir, _ = unbroken
  setup = build.assemble(config.from_run(workdir)[0])
  state = load.newest(setup, checkpoints.Checkpoints(workdir))
  averaged, buffers = load.group(f"{workdir}:denoiser")
  chex.assert_trees_all_equal(averaged, state.ema["ema"]["denoiser"])
  raw, _ = load.group(f"{workdir}:denoiser@raw")
  chex.assert_trees_all_equal(raw, state.params["denoiser"])
  new = setup.initial(sharding.mesh(), {"denoiser": (averaged, buffers)})
  chex.assert_trees_all_equal(new.params["denoiser"], averaged)
  wide = ["model.network.widths=16,32", "model.sampler.steps=5"]
  for overrides, message in (
    (["load.denoisr=X"], "did you mean 'denoiser'"),
    ([*wide, "load.denoiser=X"], r"load\.denoiser: .* expected float32"),
  ):
    overrides = [o.replace("=X", f"={workdir}:denoiser") for o in overrides]
    other = build.assemble(config.from_file(str(ROOT / MOONS[9:]), overrides)[0])
    with pytest.raises(core.UserError, match=message):
      load.groups(other, sharding.mesh())
  for where, message in [
    (f"{workdir}:critic", "unknown group"),
    (f"{workdir}:denoiser@old", "@raw"),
  ]:
    with pytest.raises(core.UserError, match=message):
      load.group(where)


def test_a_run_killed_before_its_report_makes_it_later(unbroken):
  workdir, _ = unbroken
  (workdir / "report.html").unlink()
  out, _ = run(*FLAGS, f"--workdir={workdir}")
  assert "report" in out and (workdir / "report.html").exists()
  assert [line["step"] for line in lines(workdir)] == [5, 10, 15, 20]


@pytest.mark.slow
def test_samples_on_eight_devices_agree(unbroken, tmp_path):
  workdir, _ = unbroken
  program("--mode=sample", f"--workdir={workdir}", "--num=16", f"--out={tmp_path}/eight", devices=8)
  one = np.load(workdir / "generated/seed0_num16/samples.npz")["x"]
  np.testing.assert_allclose(np.load(tmp_path / "eight/samples.npz")["x"], one, atol=1e-3)


@pytest.mark.slow
def test_training_on_eight_devices_and_on_two_hosts_agrees(unbroken, tmp_path):
  workdir, _ = unbroken
  program(*FLAGS, f"--workdir={tmp_path}/eight", devices=8)
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
  hosts = [
    start(
      *FLAGS,
      "--config.metrics=w2",
      f"--workdir={tmp_path}/two",
      f"--distributed=127.0.0.1:{port},2,{i}",
    )
    for i in range(2)
  ]
  results = [host.communicate(timeout=300) for host in hosts]
  assert [host.returncode for host in hosts] == [0, 0], results
  assert "step 20/20" in results[0][0] and "step" not in results[1][0]  # only process 0 speaks
  for name in ("eight", "two"):
    assert [line["step"] for line in lines(tmp_path / name)] == [5, 10, 15, 20]
    for one, other in zip(lines(workdir), lines(tmp_path / name)):
      assert other["denoiser/loss"] == pytest.approx(one["denoiser/loss"], rel=1e-4)


def test_modes_that_look(unbroken):
  workdir, _ = unbroken
  out, _ = run("--mode=describe", f"--workdir={workdir}")
  assert "FLOPs" in out and "trajectory" in out and "float32[16, 2]" in out
  assert re.search(r"about \d+ s on this machine, \d+ MiB at its peak", out)
  run("--mode=evaluate", f"--workdir={workdir}", "--config.metrics=w2", "--config.num=50")
  (file,) = workdir.glob("eval-*.json")
  evaluation = json.loads(file.read_text())
  assert evaluation["metrics"]["w2/exact"] > 0 and evaluation["metrics"]["w2/exact/n"] == 50
  out, _ = run("--mode=report", f"--workdir={workdir}")
  assert ">w2<" in pathlib.Path(out.strip()).read_text()
  folder = workdir / "generated" / "seed3_num4"
  out, _ = run("--mode=sample", f"--workdir={workdir}", "--num=4", "--seed=3")
  assert out.strip() == str(folder) and (folder / "grid.png").exists()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--config=configs/ddpm_moon.py"], "did you mean 'configs/ddpm_moons.py'"),
    ([MOONS, "--config.stepps=3"], "did you mean 'steps'"),
    ([MOONS, "--config.steps=x"], "steps"),
    ([MOONS, "--config.model.prediction=epps"], "unknown prediction 'epps'; did you mean 'eps'"),
    ([MOONS, "--config.model.process.zero_snr", "--config.model.prediction=eps"], "zero terminal"),
    ([MOONS, "--config.metrics=mode"], "unknown metric 'mode'; did you mean 'modes'"),
    ([MOONS, "--config.load.denoiser=runs/nothing:denoiser"], "--config=configs/nothing.py"),
    ([MOONS, "--config.metrics=fd"], "unknown feature net for data 'moons'"),
    ([RING, "--config.metrics=likelihood"], "this model has none"),
    ([MOONS, "--config.ema.ema.groups=critic"], "unknown group in ema 'critic'"),
    ([MOONS, "--config.batch", "8"], "unexpected argument '8'"),
    ([MOONS, "stray"], "unexpected argument 'stray'"),
    ([MOONS, "--mode=trian"], "train"),
    ([MOONS, "--wrkdir=x"], "workdir"),
    (["--mode=sample", "--wrkdir=runs/x"], "unknown flag '--wrkdir', or no --workdir"),
    (["--config=configs/ddpm_mnist.py", "--config.data.source=dir", "--config.data.dir=nowhere"],
     "nowhere"),
    (["--mode=sample", "--workdir=runs/none"], "no run directory"),
    (["--mode=sample", "--workdir=runs/none", "--num=0"], "num"),
    ([MOONS, "--distributed=here"], "expected auto, or ADDRESS:PORT,COUNT,INDEX"),
  ],
)  # fmt: skip
def test_mistakes_are_one_line_and_leave_nothing(arguments, message, tmp_path):
  workdir = tmp_path / "run"
  if not any("dir=" in a for a in arguments):
    arguments = [*arguments, f"--workdir={workdir}"]
  out, err = run(*arguments, code=2)
  assert message in err and len(err.strip().splitlines()) == 1, err
  assert out == "" and not workdir.exists()


def test_batch_that_does_not_divide_by_the_devices(tmp_path):
  arguments = MOONS, "--config.batch=6", f"--workdir={tmp_path}/x"
  _, err = program(*arguments, code=2, devices=4)
  assert "batch=6 does not divide by 4 devices; use a multiple of 4" in err
  assert not (tmp_path / "x").exists()


def test_another_configuration_in_the_workdir_is_refused(unbroken, tmp_path):
  workdir, _ = unbroken
  before = (workdir / "config.json").read_bytes()
  _, err = run(*FLAGS, "--config.batch=32", f"--workdir={workdir}", code=2)
  assert "batch: 16 there, 32 now" in err and (workdir / "config.json").read_bytes() == before
  (tmp_path / "mine.txt").write_text("precious")
  _, err = run(*FLAGS, f"--workdir={tmp_path}", code=2)
  assert "is not empty" in err and os.listdir(tmp_path) == ["mine.txt"]
  _, err = run("--mode=sample", f"--workdir={workdir}", "--config.batch=3", code=2)
  assert "batch belongs to training" in err


def test_more_steps_go_on_from_where_it_was(unbroken, tmp_path):
  """20 steps of a schedule that knows of 20, then 5 more: what may change is said."""
  workdir = tmp_path / "more"
  shutil.copytree(unbroken[0], workdir)
  out, _ = run(*FLAGS, "--config.steps=25", f"--workdir={workdir}")
  said = " ".join(out.split())
  assert "changed steps=25 (was 20)" in said and "step 20 of 25" in said
  assert "the learning rate of denoiser goes from" in said
  assert "now spans 25 updates instead of 20" in said
  assert [line["step"] for line in lines(workdir)] == [5, 10, 15, 20, 25]


def wait_for(workdir, step, process):
  """Waits until the run has logged a step."""
  end = time.monotonic() + 240
  while time.monotonic() < end and process.poll() is None:
    file = workdir / "metrics.jsonl"
    if file.is_file() and f'"step": {step},' in file.read_text():
      return
    time.sleep(0.02)
  pytest.fail(f"never reached step {step}: {process.communicate()}")


LONG = [f for f in FLAGS if f != MOONS] + [
  "--config=configs/ddpm_moons.py", "--config.steps=1500", "--config.batch=32",
  "--config.save_every=100", "--config.log_every=50", "--config.sample_every=0",
  "--config.samples=16", "--config.sample_batch=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("runs") / "long"
  program(*LONG, f"--workdir={workdir}")
  return workdir


@pytest.mark.slow
def test_a_killed_run_resumes_bitwise(long_run, tmp_path):
  """SIGKILL twice at moments of its own, then the same command: every array as if nothing had."""
  workdir = tmp_path / "killed"
  for step in (150, 700):
    process = start(*LONG, f"--workdir={workdir}")
    wait_for(workdir, step, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
  out, _ = program(*LONG, f"--workdir={workdir}")
  resumed = int(re.search(r"step +(\d+) of", out)[1])
  assert resumed > 0 and resumed % 100 == 0  # the last save that was whole, not the start
  one, other = parameters(long_run), parameters(workdir)
  assert one.keys() == other.keys()
  for path in one:
    np.testing.assert_array_equal(one[path], other[path], err_msg=path)
  assert [x["step"] for x in lines(workdir)] == [x["step"] for x in lines(long_run)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_saves_and_says_how_to_go_on(long_run, tmp_path, number):
  workdir = tmp_path / "interrupted"
  process = start(*LONG, f"--workdir={workdir}")
  wait_for(workdir, 50, process)
  process.send_signal(number)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 75, err
  assert f"stopped by {number.name} at step" in out and f"--workdir={workdir}" in out
  saved = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())
  assert f"at step {saved[-1]}" in out  # the very step, not the last milestone
  out, _ = program(*LONG, f"--workdir={workdir}")
  assert f"step {saved[-1]} of 1500" in " ".join(out.split())
  one, other = parameters(long_run), parameters(workdir)
  for path in one:
    np.testing.assert_array_equal(one[path], other[path], err_msg=path)


@pytest.mark.slow
def test_divergence_stops_with_the_last_good_state(tmp_path):
  """A learning rate that overflows: code 3, the step and metric named, finite arrays saved."""
  arguments = [*FLAGS, "--config.optim.denoiser.lr=1e15", f"--workdir={tmp_path}/x"]
  _, err = run(*arguments, code=3)
  assert "diverged at step" in err and "denoiser/loss" in err
  arrays = parameters(tmp_path / "x")
  assert all(np.isfinite(v).all() for v in arrays.values() if v.dtype.kind == "f")
  assert arrays[".halted"] == arrays[".step"]
  _, err = run(*arguments, code=2)
  assert "diverged at step" in err


@pytest.fixture(scope="module")
def told(tmp_path_factory):
  """A finished run whose samples are drawn for two words."""
  workdir = tmp_path_factory.mktemp("runs") / "words"
  run("--config=configs/text_conditional_moons.py:smoke", "--config.metrics=heard",
      f"--workdir={workdir}")  # fmt: skip
  return workdir


def test_samples_are_drawn_for_what_is_said(told):
  sampling = "--mode=sample", f"--workdir={told}", "--num=6"
  out, _ = run(*sampling, "--text=upper left, lower")
  folder = pathlib.Path(out.strip())
  assert re.fullmatch(r"seed0_num6-[0-9a-f]{6}", folder.name)
  arrays = np.load(folder / "samples.npz")
  np.testing.assert_array_equal(arrays["text"][:2], [[0, 2], [1, 4]])  # "none" fills up
  np.testing.assert_array_equal(arrays["text"][::2], arrays["text"][[0, 0, 0]])
  about = json.loads((folder / "about.json").read_text())
  assert about["legend"] == []  # each panel has its words as a title
  plain, _ = run(*sampling)
  assert pathlib.Path(plain.strip()).name == "seed0_num6"
  assert json.loads((told / "eval.json").read_text())["metrics"]["heard/text/n"] == 32


@pytest.mark.parametrize(
  ("said", "message"),
  [
    ("--text=uper", "unknown text 'uper'; did you mean 'upper'"),
    ("--label=1", "--label: this model has no place for it; it is told --text"),
    ("--txt=upper", "unknown flag '--txt'; did you mean '--text'"),
    ("--sed=3", "unknown flag '--sed'; did you mean '--seed'"),
    ("--image=a.png", "--image: this model has no place for it"),
  ],
)
def test_what_cannot_be_said_is_one_line_and_leaves_nothing(told, said, message):
  before = sorted((told / "generated").iterdir())
  out, err = run("--mode=sample", f"--workdir={told}", said, code=2)
  assert message in err and len(err.strip().splitlines()) == 1 and out == ""
  assert sorted((told / "generated").iterdir()) == before


def test_a_picture_is_completed_where_its_mask_is_white(tmp_path):
  run("--config=configs/vae_mnist.py:completion+smoke", "--config.metrics=",
      f"--workdir={tmp_path}/run")  # fmt: skip
  pixels = np.zeros((6, 6), np.uint8)
  pixels[::2] = 255
  Image.fromarray(pixels).save(tmp_path / "stripes.png")
  mask = np.zeros((6, 6), np.uint8)
  mask[:, 3:] = 255
  Image.fromarray(mask).save(tmp_path / "mask.png")
  sampling = "--mode=sample", f"--workdir={tmp_path}/run", "--num=3"
  out, _ = run(*sampling, f"--image={tmp_path}/stripes.png", f"--mask={tmp_path}/mask.png")
  arrays = np.load(pathlib.Path(out.strip()) / "samples.npz")
  np.testing.assert_array_equal(arrays["known_there"][0, ..., 0], mask == 0)
  np.testing.assert_array_equal(arrays["x"][:, :, :3, 0], np.tile(pixels[:, :3] > 0, (3, 1, 1)))
  legend = json.loads((tmp_path / "run/generated/seed0_num16/about.json").read_text())["legend"]
  assert legend == ["known", "sample", "truth"]
  Image.fromarray(pixels[:4]).save(tmp_path / "small.png")
  _, err = run(*sampling, f"--image={tmp_path}/small.png", code=2)
  assert "6x4 pixels, expected 6x6" in err
