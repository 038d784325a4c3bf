"""Sweeps: the grid, its commands, running and resuming it, and the table of results."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

from genjax.launch import results, sweep

# Stands in for the program: counts its runs in its directory and fails where lr is "bad".
FAKE = """
import json, pathlib, sys
flags = dict(a.removeprefix("--").split("=", 1) for a in sys.argv[1:])
workdir = pathlib.Path(flags["workdir"])
if workdir.exists() and not (workdir / "runs").exists():
  sys.exit("error: not empty")
if flags["config.lr"] == "bad":
  sys.exit("error: lr is bad")
workdir.mkdir(exist_ok=True)
with open(workdir / "runs", "a") as f:
  f.write("x")
lines = [{"step": s, "time": 1.0, "net/loss": float(flags["config.lr"]) / s} for s in (1, 2)]
text = "".join(json.dumps(line) + "\\n" for line in lines) + '{"step": 3, "net'
(workdir / "metrics.jsonl").write_text(text)
metrics = {"fd": 10 - float(flags["config.lr"]), "fd/n": 5}
(workdir / "eval.json").write_text(json.dumps({"metrics": metrics}))
print("trained")
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
  (tmp_path / "fake.py").write_text(FAKE)
  monkeypatch.setattr(sweep, "PROGRAM", (sys.executable, str(tmp_path / "fake.py")))
  return tmp_path / "out"


def test_grid_is_the_product():
  plan = sweep.parse(["--config=c.py", "--sweep.b=1,2", "--sweep.a.x=u,v,w", "--config.z=3"])
  trials = sweep.trials(plan)
  pairs = [(t.values["b"], t.values["a.x"]) for t in trials]
  assert pairs == [(b, x) for b in "12" for x in "uvw"]
  assert trials[0].name == "a.x=u,b=1" and trials[0].workdir == f"{plan.workdir}/a.x=u,b=1"
  assert trials[0].arguments[0] == "--config=c.py"
  assert trials[0].arguments[2:] == ["--config.z=3", "--config.b=1", "--config.a.x=u"]
  swapped = sweep.parse(["--config=c.py", "--sweep.a.x=u,v,w", "--sweep.b=1,2", "--config.z=3"])
  assert {t.workdir for t in sweep.trials(swapped)} == {t.workdir for t in trials}


def test_names_are_plain_and_distinct():
  values = ["a/../b", "a_.._b", "$(x)", "(1, 2)", "[1,2]", "x" * 400, "x" * 401, "1e-4"]
  plan = sweep.Sweep("c.py", {"k": values}, [], "root")
  names = [t.name for t in sweep.trials(plan)]
  assert len(set(names)) == len(names) and max(map(len, names)) < 200
  assert all("/" not in name and shlex.quote(name) == name for name in names)
  assert names[-1] == "k=1e-4"


def test_commas_in_brackets_belong_to_the_value():
  plan = sweep.parse(["--config=c.py", "--sweep.m=(1,2),[3,(4,5)],6"])
  assert plan.axes == {"m": ["(1,2)", "[3,(4,5)]", "6"]}


def test_default_directory_depends_on_what_is_handed_on():
  def workdir(*arguments):
    return sweep.parse(["--config=configs/x.py:smoke", "--sweep.a=1", *arguments]).workdir

  assert workdir() == "runs/sweep_x-smoke" == workdir("--sweep.b=2")
  assert workdir("--config.b=1", "--config.c=2") == workdir("--config.c=2", "--config.b=1")
  assert len({workdir(), workdir("--config.b=1"), workdir("--config.b=2")}) == 3


WRONG = {
  "": "no configuration; expected --config=FILE",
  "--config=c": "nothing to sweep",
  "--config=c --sweep.a=": "--sweep.a= has an empty value",
  "--config=c --sweep.a": "has an empty value",
  "--config=c --sweep.a=1,,2": "has an empty value",
  "--config=c --sweep.a=1,1": "the same value twice",
  "--config=c --sweep.a=1 --sweep.a=2": "given twice",
  "--config=c --sweep.a=1 --config.a=2": "both swept and given",
  "--config=c --sweep.a=1 --print=slurm": "expected tpu_vm",
  "--config=c --sweep.a=1 --wrokdir=x": "did you mean --workdir?",
  "--config=c --sweep.a=1 --dry=1": "expected --dry",
  "--config c --sweep.a=1": "expected --config=VALUE",
  "--config=c --sweep.a=1 stray": "cannot read 'stray'",
  "--config=c --sweep.a=1 --workdir=gs://b/x": "local --workdir",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_commands_are_refused_in_one_line(line, capsys):
  with pytest.raises(SystemExit) as stop:
    sweep.main(line.split())
  said = capsys.readouterr()
  assert stop.value.code == 2 and said.out == ""
  assert WRONG[line] in said.err and said.err.count("\n") == 1


def test_dry_lists_and_leaves_no_trace(tmp_path, capsys):
  root = tmp_path / "out"
  line = ["--config=c.py", "--sweep.a=1,it's", f"--workdir={root}", "--dry"]
  assert sweep.main(line) == 0
  listed = capsys.readouterr().out.splitlines()
  trials = sweep.trials(sweep.parse(line))
  assert listed[::2] == [t.name for t in trials]
  for text, trial in zip(listed[1::2], trials):
    assert shlex.split(text) == ["python", "-m", "genjax.main", *trial.arguments]
  assert not root.exists()


def test_tpu_vm_commands_survive_both_shells(tmp_path, capsys):
  """This shell hands gcloud one argument, and the worker's shell the program's own arguments."""
  line = ["--config=c.py", '--sweep.a=1,it\'s $HOME "x"', "--workdir=gs://b/x", "--print=tpu_vm"]
  assert sweep.main(line) == 0
  printed = capsys.readouterr().out.splitlines()
  gcloud = tmp_path / "gcloud"
  gcloud.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
  gcloud.chmod(0o755)
  path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TPU_NAME": "pod", "ZONE": "z"}
  trials = sweep.trials(sweep.parse(line))
  assert len(printed) == len(trials) == 2
  for text, trial in zip(printed, trials):
    seen = json.loads(subprocess.check_output(["sh", "-c", text], env=path))
    assert seen[:7] == ["compute", "tpus", "tpu-vm", "ssh", "pod", "--zone=z", "--worker=all"]
    there = shlex.split(seen[7].removeprefix("--command="))
    program = ["python3", "-m", "genjax.main", "--distributed=auto"]
    assert there == ["cd", "~/genjax", "&&", *program, *trial.arguments]
    assert trial.workdir.startswith("gs://b/x/") and len(seen) == 8


def test_runs_reports_and_resumes(fake, capsys):
  line = ["--config=c.py", "--sweep.lr=4,bad,2", f"--workdir={fake}", "--sort_by=fd"]
  assert sweep.main(line) == 1
  said = capsys.readouterr().out
  assert "[2/3] lr=bad\n  failed (1): error: lr is bad" in said and "[3/3] lr=2\n  done" in said
  assert (fake / "lr=4.log").read_text() == "trained\n"
  rows = json.loads((fake / "sweep.json").read_text())["trials"]
  assert [(r["name"], r["outcome"]) for r in rows] == [
    ("lr=4", "done"),  # the smallest distance
    ("lr=2", "done"),
    ("lr=bad", "failed (1)"),
  ]
  assert rows[0]["step"] == 2 and rows[0]["logged"] == {"net/loss": 2.0}
  assert rows[2]["logged"] == rows[2]["evaluation"] == {}
  assert (fake / "results.md").read_text().splitlines() == [
    "| lr | outcome | step | net/loss | fd |",
    "| --- | --- | --- | --- | --- |",
    "| 4 | done | 2 | 2 | 6 |",
    "| 2 | done | 2 | 1 | 8 |",
    "| bad | failed (1) |  |  |  |",
  ]
  assert sweep.main(["--config=c.py", "--sweep.lr=4,2", f"--workdir={fake}"]) == 0
  assert (fake / "lr=4/runs").read_text() == "xx"  # the program itself passes over what is done


def test_order():
  rows = [{"logged": {"a": v}, "evaluation": {}} for v in (2.0, float("nan"), None, 3, 1.0)]
  values = [r["logged"]["a"] for r in results.order(rows, "a")]
  assert values[:3] == [1.0, 2.0, 3] and {type(v) for v in values[3:]} == {float, type(None)}
  assert [r["logged"]["a"] for r in results.order(rows, "-a")][:3] == [3, 2.0, 1.0]
  assert results.order(rows, "") == rows
  assert results.unsorted(rows, "-a") == results.unsorted(rows, "") == ""
  named = [{"logged": {"net/loss": 1.0}, "evaluation": {}}]
  assert "did you mean 'net/loss'?" in results.unsorted(named, "net/los")


def test_termination_reaches_the_trial(tmp_path):
  """The trial is told, may still save, and is not left behind."""
  child = tmp_path / "child.py"
  child.write_text(
    "import pathlib, signal, sys, time\n"
    f"here = pathlib.Path({str(tmp_path)!r})\n"
    "signal.signal(signal.SIGTERM, lambda *_: ((here / 'saved').touch(), sys.exit(0)))\n"
    "(here / 'ready').touch()\ntime.sleep(60)\n"
  )
  start = (
    "import signal, sys; from genjax.launch import sweep\n"
    f"sweep.PROGRAM = (sys.executable, {str(child)!r})\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    f"sys.exit(sweep.main(['--config=c', '--sweep.a=1', {f'--workdir={tmp_path}/out'!r}]))\n"
  )
  process = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.DEVNULL)
  deadline = time.monotonic() + 20
  while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  assert process.wait(20) == 143 and (tmp_path / "saved").exists()


def test_needs_no_jax():
  code = "import sys, genjax.launch.sweep; sys.exit('jax' in sys.modules)"
  root = pathlib.Path(sweep.__file__).parents[2]
  assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
