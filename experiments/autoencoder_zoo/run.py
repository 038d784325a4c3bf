"""What do the classical autoencoders reach? Their validation losses beside those of the book.

    python experiments/autoencoder_zoo/run.py                  # all, three seeds each
    python experiments/autoencoder_zoo/run.py --only stacked   # one

Trains the variants of configs/autoencoder_fashion_mnist.py, and configs/vae_fashion_mnist.py, on
Fashion-MNIST into runs/autoencoder_zoo. Writes results.json, the table in README.md and
reconstructions.png. What is finished is neither trained nor measured again. "The book" is Géron
2022, chapter 17.
"""

import argparse
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from genjax.evaluation import reconstruction
from genjax.launch import trained
from genjax.report import markdown, pictures
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = ROOT / "runs" / "autoencoder_zoo"
SEEDS = (0, 1, 2)
# Validation images that the loss is measured on.
VALID = 5_000
# Images in a row of the figure.
SHOWN = 8
# name: (configuration, validation loss in the book; None where the book has no such model)
ZOO = {
  "stacked": ("autoencoder_fashion_mnist:stacked", 0.0132),
  "tied": ("autoencoder_fashion_mnist:tied", 0.0133),
  "greedy": ("autoencoder_fashion_mnist:greedy", 0.0133),
  "convolutional": ("autoencoder_fashion_mnist:convolutional", 0.0121),
  "recurrent": ("autoencoder_fashion_mnist:recurrent", 0.0104),
  "denoising": ("autoencoder_fashion_mnist:denoising", 0.0166),
  "sparse_l1": ("autoencoder_fashion_mnist:sparse_l1", 0.0111),
  "sparse_kl": ("autoencoder_fashion_mnist:sparse_kl", 0.0099),
  "binary": ("autoencoder_fashion_mnist:binary", 0.0345),
  "vae": ("vae_fashion_mnist", 0.0311),
  "topk": ("autoencoder_fashion_mnist:topk", None),
  "contractive": ("autoencoder_fashion_mnist:contractive", None),
}

HEAD = ["autoencoder", "validation loss", "penalty in it", "book", "mean square error",
        "PCA of equal size", "parameters", "epochs", "seconds an epoch"]  # fmt: skip


def measure(name: str, seed: int) -> dict:
  """Trains one autoencoder, measures it on the validation split and returns a row of results."""
  overrides = [f"seed={seed}", "metrics="]
  workdir = trained.trained(ZOO[name][0], RUNS / f"{name}-{seed}", overrides)
  run = runs.Run.open(workdir).against("valid")

  facts = json.loads((workdir / "run.json").read_text())
  epochs = run.config["steps"] * run.config["batch"] / len(run.data.splits["train"]["x"])
  values = reconstruction.reconstruction(run)
  penalty, loss = beside(run)

  return {
    "name": name,
    "seed": seed,
    "mse": values["mse"],
    "pca": values.get("mse/pca"),
    "penalty": penalty,
    "loss": loss,
    "parameters": sum(facts["parameters"].values()),
    "epochs": round(epochs, 2),
    "seconds_per_epoch": facts["seconds"] / epochs,
  }


def beside(run: runs.Run) -> tuple[float, float]:
  """Returns (the part of the loss beside the mean square error, the loss), in the book's units."""
  x = run.batch("valid", VALID)["x"]
  config = run.config["model"]
  if config["name"] == "vae":
    return bound(run, x)

  @jax.jit
  def one(x):
    z = run.model.encode(run.params, run.buffers, x)
    again = run.model.decode(run.params, run.buffers, z)
    encode = lambda x: run.model.encode(run.params, run.buffers, x)
    return jnp.mean((again - x) ** 2), run.model.penalty(encode, x, z)

  # A penalty of means over a batch depends on the batch size, so it is that of training.
  size = run.config["batch"]
  parts = np.array([one(x[i : i + size]) for i in range(0, len(x) - size + 1, size)])
  error, penalty = parts.mean(0)
  return float(penalty), float(error + penalty)


def bound(run: runs.Run, x: np.ndarray) -> tuple[float, float]:
  """Returns (KL / D, mean square error with a sampled z + KL / D), for the VAE.

  These are the two parts of the ELBO without the constants of the Gaussian head.
  """
  parts = run.model.parts(run.params, run.buffers, {"x": x}, run.key("zoo"))
  size = x[0].size
  std = run.config["model"]["head"]["std"]

  # log P of a pixel is `constant` - (x - mean)^2 / (2 std^2); level_width makes P of a density.
  constant = -math.log(std) - math.log(2 * math.pi) / 2 + math.log(run.spec.level_width)
  error = -(float(parts["reconstruction"].mean()) / size - constant) * 2 * std**2
  kl = -float(parts["kl"].mean()) / size
  return kl, error + kl


def picture(names: list[str]) -> None:
  """Writes reconstructions.png: a row of data, then one of reconstructions by each model."""
  rows = []
  for name in names:
    workdir = RUNS / f"{name}-0"
    run = runs.Run.open(workdir).against("valid")
    x, again = run.reconstructions(SHOWN)
    rows += [again] if rows else [x, again]
  pictures.save_png(HERE / "reconstructions.png", pictures.grid(np.concatenate(rows), SHOWN))


def row(name: str, own: list[dict]) -> list[str]:
  """Returns one row of the table: means over the seeds, with their standard deviations."""
  mean = {key: np.mean([r[key] for r in own]) for key in ("mse", "loss", "penalty")}
  spread = lambda key: f"{mean[key]:.4f} ± {np.std([r[key] for r in own], ddof=1):.4f}"
  theirs = ZOO[name][1]

  return [
    name,
    spread("loss"),
    f"{mean['penalty']:.5f}" if mean["penalty"] else "",
    f"{theirs:.4f}" if theirs else "",
    spread("mse"),
    f"{own[0]['pca']:.4f}",
    f"{own[0]['parameters']:,}",
    f"{own[0]['epochs']:.0f}",
    f"{np.median([r['seconds_per_epoch'] for r in own]):.1f}",
  ]


def table(results: list[dict]) -> str:
  """Returns the Markdown table, one row for each autoencoder."""
  lines = [HEAD]
  for name in ZOO:
    own = [r for r in results if r["name"] == name]
    lines += [row(name, own)] if own else []
  return markdown.table(lines)


def main() -> None:
  """Measures what is asked for and not in results.json yet; writes results, table and figure."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--only", nargs="*", choices=ZOO, default=list(ZOO))
  parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
  flags = parser.parse_args()
  file = HERE / "results.json"

  have = {(r["name"], r["seed"]): r for r in trained.recorded(file)}
  for seed in flags.seeds:
    for name in flags.only:
      if (name, seed) not in have:
        have[name, seed] = measure(name, seed)
        trained.record(file, list(have.values()), RUNS / f"{name}-{seed}")
        print(json.dumps(have[name, seed]), flush=True)

  results = list(have.values())
  picture([name for name in ZOO if (RUNS / f"{name}-0" / "report.html").is_file()])
  markdown.insert(HERE / "README.md", table(results))


if __name__ == "__main__":
  main()
