"""How fast is genjax, against its peers and itself? All measurements of README.md, by one command.

    python experiments/speed/run.py            on a machine that does nothing else
    python experiments/speed/run.py --only=unet,start

Peers are installed into runs/experiments/speed, never into the environment of genjax. Contestants
take turns in one run, so that the load of the machine affects all of them equally. A number is the
median of REPEATS turns, after one turn that compiles. Each section replaces its part of
results.json.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import report

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = ROOT / "runs" / "experiments" / "speed"
# Name of a Python environment: what pip installs into it.
PEERS = {
  "torch": ("torch==2.13.0", "diffusers==0.42.1"),
  "flaxdiff": ("flaxdiff==0.2.11", "jax==0.10.2"),
  "hackable": ("jax==0.10.2", "flax==0.12.8", "optax==0.2.8", "einops", "jaxtyping", "typeguard",
               "immutabledict"),
}  # fmt: skip
# hackable_diffusion is not on PyPI: a clone of its repository, at this commit.
HACKABLE = "https://github.com/google/hackable_diffusion"
HACKABLE_COMMIT = "06f026e168135767bb2f51b8a04999e0b2e62378"
REPEATS = 5
# Leaves the attention in the middle of the U-Net; README.md says why flaxdiff is compared with it.
NO_ATTENTION = "model.network.attention=(False,False,False)"
# What grows: {value: overrides of unet.py}.
SCALES = {
  "batch": {n: [f"batch={n}"] for n in (8, 16, 32, 64)},
  "width": {n: ["batch=16", f"model.network.channels=({n},{2 * n},{4 * n})"] for n in (16, 32, 64)},
  "resolution": {n: ["batch=16", f"data.shape=({n},{n},1)"] for n in (16, 32, 64)},
}


class Worker:
  """A contestant in a process of its own, which waits while the others take their turn.

  command: what starts it; it must read and write lines as worker.py does.
  path: folders that are added to PYTHONPATH.
  """

  def __init__(self, *command: Any, path: Sequence[Any] = ()):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *path]))}
    self.process = subprocess.Popen(
      [str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      cwd=ROOT, env=env,
    )  # fmt: skip

  def __call__(self, name: str) -> float:
    """Has the contestant do `name` once; returns the seconds."""
    self.process.stdin.write(f"{name}\n")
    self.process.stdin.flush()
    return float(self.process.stdout.readline())

  def close(self) -> float:
    """Ends the process and returns the most memory that it ever had, in MB."""
    status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
    self.process.stdin.close()
    self.process.wait()

    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def genjax(*overrides: str) -> Worker:
  """Returns genjax as a contestant, with overrides of unet.py."""
  return Worker(sys.executable, HERE / "ours.py", *overrides)


def in_turn(workers: dict[str, Worker], name: str) -> dict[str, float]:
  """Has all workers do `name` in interleaved turns; returns the median seconds of each."""
  times = {who: [] for who in workers}
  for turn in range(REPEATS + 1):
    for who, worker in workers.items():
      seconds = worker(name)
      if turn:  # the first one compiles
        times[who].append(seconds)

  return {who: round(statistics.median(t), 4) for who, t in times.items()}


def python_of(peer: str) -> pathlib.Path:
  """Returns the interpreter of a peer's environment, which is made at the first call."""
  home = RUNS / f"peer-{peer}"
  python = home / "bin" / "python"

  # The file "ready" comes last, so that an installation that was cut short is made anew.
  if not (home / "ready").exists():
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS[peer]], check=True)
    (home / "ready").touch()
  return python


def clone_hackable() -> pathlib.Path:
  """Returns the folder of hackable_diffusion, which is cloned at the first call."""
  home = RUNS / "hackable_diffusion"
  if not home.exists():
    subprocess.run(["git", "clone", "--quiet", HACKABLE, home], check=True)
    subprocess.run(["git", "checkout", "--quiet", HACKABLE_COMMIT], cwd=home, check=True)
  return home


def unet() -> dict:
  """Measures the same network in genjax and in PyTorch eager, in both of its memory layouts."""
  python = python_of("torch")
  workers = {
    "genjax": genjax(),
    "torch": Worker(python, HERE / "theirs.py", 64),
    "torch channels_last": Worker(python, HERE / "theirs.py", 64, "channels_last"),
  }
  rows = {name: duel(workers, name) for name in ("step", "forward", "sample")}
  rows["peak_mb"] = {who: round(worker.close()) for who, worker in workers.items()}

  half = genjax("dtype=bfloat16")
  rows["bfloat16"] = {name: in_turn({"": half}, name)[""] for name in ("step", "forward")}
  half.close()
  return {**rows, "installed": PEERS["torch"]}


def duel(workers: dict[str, Worker], name: str) -> dict:
  """Returns the median seconds of all, and the ratio of genjax to the fastest of the others."""
  times = in_turn(workers, name)
  best = min(seconds for who, seconds in times.items() if who != "genjax")
  row = {**times, "ratio": round(times["genjax"] / best, 3)}
  print(name, row, flush=True)
  return row


def peers() -> dict:
  """Measures the JAX peers, each against the nearest network of genjax.

  Each pair is alone on the machine, because there is no memory for more.
  """
  pairs = {"hackable": ([], [clone_hackable()]), "flaxdiff": ([NO_ATTENTION], [])}
  rows = {}
  for peer, (overrides, path) in pairs.items():
    theirs = Worker(python_of(peer), HERE / "jax_peers.py", peer, 64, path=path)
    parameters = int(theirs.process.stdout.readline())

    workers = {"genjax": genjax(*overrides), peer: theirs}
    row = {name: duel(workers, name) for name in ("step", "forward")}
    peak = {who: round(worker.close()) for who, worker in workers.items()}
    rows[peer] = {**row, "peak_mb": peak, "parameters": parameters, "installed": PEERS[peer]}
  return rows


def loop() -> dict:
  """Measures what the loop costs beside the step, by overhead.py."""
  fast = ["configs/ddpm_moons.py", 1000, "batch=128", "model.network.widths=(128,128)"]
  slow = ["configs/ddpm_moons.py", 50, "batch=384", "model.network.widths=(1024,1024,1024)"]
  kinds = {
    "loop, short steps": ["loop", *fast],
    "loop, long steps": ["loop", *slow],
    "stalls, ddpm_moons": ["stalls", "configs/ddpm_moons.py"],
    "stalls, ddpm_mnist": ["stalls", "configs/ddpm_mnist.py", "steps=1800"],
  }
  rows = {}
  for kind, args in kinds.items():
    rows[kind] = json.loads(lines(HERE / "overhead.py", *args)[-1])
    print(kind, rows[kind], flush=True)
  return rows


def quality() -> dict:
  """Measures ddpm_mnist against solver and steps, by quality.py; trains that run if need be."""
  workdir = ROOT / "runs" / "experiments" / "ddpm_mnist" / "seed=0"
  lines("-m", "genjax.main", "--config=configs/ddpm_mnist.py", f"--workdir={workdir}")
  rows = [json.loads(line) for line in lines(HERE / "quality.py", workdir)]
  return {"rows": rows}


def lines(*command: Any) -> list[str]:
  """Runs a Python program of this repository and returns the lines that it prints."""
  done = subprocess.run(
    [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  return done.stdout.splitlines()


def scale() -> dict:
  """Measures seconds and peak memory against what grows.

  The work is a training step for SCALES, and a batch of samples for the number of solver steps.
  """
  rows = {}
  for axis, values in SCALES.items():
    rows[axis] = {}
    for value, overrides in values.items():
      worker = genjax(*overrides)
      seconds = in_turn({"genjax": worker}, "step")["genjax"]
      rows[axis][value] = {"seconds": seconds, "peak_mb": round(worker.close())}
      print(axis, value, rows[axis][value], flush=True)

  rows["steps"] = {}
  for n in (5, 10, 20, 40):
    worker = genjax("batch=16", f"model.sampler.steps={n}")
    seconds = in_turn({"genjax": worker}, "sample")["genjax"]
    rows["steps"][n] = {"seconds": seconds, "peak_mb": round(worker.close())}
    print("steps", n, rows["steps"][n], flush=True)
  return rows


def start() -> dict:
  """Measures seconds to the first step, with a cold and a warm cache, and of the import alone."""
  times = {"cold": [], "warm": [], "import": []}
  for turn in range(3):
    cache = RUNS / f"cache{turn}"
    shutil.rmtree(cache, ignore_errors=True)
    for kind in ("cold", "warm"):
      times[kind].append(first_step(cache))
    command = [sys.executable, "-c", "import genjax.main"]
    times["import"].append(timed(command))
  return {kind: round(statistics.median(t), 2) for kind, t in times.items()}


def first_step(cache: pathlib.Path) -> float:
  """Returns the seconds from the command to the end of its first training step.

  The command trains configs/ddpm_mnist.py:smoke.
  """
  workdir = RUNS / "smoke"
  shutil.rmtree(workdir, ignore_errors=True)
  return timed(
    [sys.executable, "-m", "genjax.main", "--config=configs/ddpm_mnist.py:smoke",
     "--config.steps=1", "--config.log_every=1", f"--cache={cache}", f"--workdir={workdir}"],
    until="step 1/1",
  )  # fmt: skip


def timed(command: list[Any], until: str | None = None) -> float:
  """Returns the seconds until the command ends, or has printed a line that begins with `until`.

  Raises SystemExit if the command fails.
  """
  begin = time.perf_counter()
  process = subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
  )

  seconds = None
  for line in process.stdout:
    if until and line.startswith(until):
      seconds = time.perf_counter() - begin
  if process.wait():
    raise SystemExit(f"{command} failed")

  return seconds or time.perf_counter() - begin


# Section of results.json: what measures it.
SECTIONS = {f.__name__: f for f in (unet, peers, loop, quality, scale, start)}


def machine() -> dict:
  """Describes the processor and the versions of the libraries."""
  text = pathlib.Path("/proc/cpuinfo").read_text()
  name = re.search(r"model name\s*: (.*)", text)
  return {
    "cpu": name[1] if name else platform.machine(),
    "cores": os.cpu_count(),
    "versions": {n: importlib.metadata.version(n) for n in ("jax", "jaxlib", "flax", "optax")},
  }


def main() -> None:
  """Measures the sections that are asked for and writes results.json, README.md and the figure."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated sections")
  RUNS.mkdir(parents=True, exist_ok=True)
  path = HERE / "results.json"

  # Each section is written when it is measured, so that a later failure loses nothing.
  for name in parser.parse_args().only.split(","):
    section = {"machine": machine(), **SECTIONS[name]()}
    results = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**results, name: section}, indent=2) + "\n")
  report.main()


if __name__ == "__main__":
  main()
