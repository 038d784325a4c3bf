"""Which score notices what training has not seen? Each digit in turn is left out.

    python experiments/anomalies/run.py

Trains a VAE (configs/vae_mnist.py) and an autoencoder (configs/autoencoder_fashion_mnist.py, on
MNIST) without each of the ten digits into runs/anomalies, scores all test digits and writes
results.json, anomalies.png and the table in README.md.
"""

import json
import pathlib

import jax
import numpy as np

from genjax import restored
from genjax.evaluation import likelihoods, probes
from genjax.launch import trained
from genjax.report import markdown, pictures

HERE = pathlib.Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "anomalies"
QUIET = ["metrics=", "sample_every=0", "steps=3000", "save_every=3000"]
# name: (configuration, overrides)
MODELS = {
  "vae": ("vae_mnist", []),
  "autoencoder": ("autoencoder_fashion_mnist", ["data.name=mnist", "data.range=0,1"]),
}
SHOWN = 10


def scores(run: restored.Run, batch: dict) -> dict[str, np.ndarray]:
  """name -> [N], higher for what is stranger."""
  params, buffers, model, x = run.params, run.buffers, run.model, batch["x"]
  usual = run.batch("train")["x"]
  encode = jax.jit(lambda x: model.encode(params, buffers, x))
  code, known = np.asarray(encode(x)), np.asarray(encode(usual))
  again = np.asarray(model.reconstruct(params, buffers, x))
  values = {
    "reconstruction": ((again - x) ** 2).reshape(len(x), -1).mean(1),
    "code": mahalanobis(code, known),
  }
  if "elbo" in getattr(model, "likelihoods", {}):
    bound = likelihoods.over(run, jax.jit(model.estimate), batch, run.key("strange"))
    values["-log p"] = -bound
  return values


def mahalanobis(code: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Distances of codes [N, D] from the mean of others, in units of their spread."""
  spread = np.cov(known.T) + 1e-6 * np.eye(known.shape[1])
  away = code - known.mean(0)
  return np.sqrt(np.sum(away * np.linalg.solve(spread, away.T).T, axis=1))


def measure(name: str, digit: int) -> tuple[dict, np.ndarray]:
  """({"name", "digit", score: AUROC}, the test digits that seem strangest)."""
  config, overrides = MODELS[name]
  overrides = [*overrides, *QUIET, f"data.leave_out={digit}"]
  workdir = trained.trained(config, RUNS / f"{name}-{digit}", overrides)
  run = restored.Run.open(workdir)
  batch = run.batch("test")
  values = scores(run, {"x": batch["x"]})
  strange = np.asarray(batch["label"]) == digit
  found = {score: probes.auroc(v, strange) for score, v in values.items()}
  order = np.argsort(-values.get("-log p", values["reconstruction"]))
  return {"name": name, "digit": digit, **found}, run.stored(batch["x"][order[:SHOWN]])


def table(results: list[dict]) -> str:
  """Markdown: a row a digit, a column a score; the mean below."""
  columns = [(n, s) for n in MODELS for s in ("reconstruction", "code", "-log p")]
  columns = [(n, s) for n, s in columns if any(r["name"] == n and s in r for r in results)]
  cell = {(r["name"], r["digit"], s): r[s] for r in results for n, s in columns if r["name"] == n}
  lines = [["left out", *(f"{n}: {s}" for n, s in columns)]]
  lines += [[str(d), *(f"{cell[n, d, s]:.3f}" for n, s in columns)] for d in range(10)]
  mean = [np.mean([cell[n, d, s] for d in range(10)]) for n, s in columns]
  lines.append(["mean", *(f"**{m:.3f}**" for m in mean)])
  return markdown.table(lines)


def main() -> None:
  results, shown = [], []
  for digit in range(10):
    for name in MODELS:
      found, strangest = measure(name, digit)
      results.append(found)
      print(json.dumps(found), flush=True)
      shown += [strangest] * (name == "vae")
  (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
  pictures.save_png(HERE / "anomalies.png", pictures.grid(np.concatenate(shown), SHOWN, 2))
  markdown.insert(HERE / "README.md", table(results))


if __name__ == "__main__":
  main()
