"""Which score notices what training has not seen? Each digit in turn is left out.

    python experiments/anomalies/run.py

Trains a VAE (configs/vae_mnist.py) and an autoencoder (configs/autoencoder_fashion_mnist.py, on the
same binarized digits) without each of the ten digits into runs/anomalies, scores all test digits,
by principal components too, and writes results.json, anomalies.png and the table in README.md.
"""

import json
import pathlib

import jax
import numpy as np
from sklearn import decomposition

from genjax.evaluation import likelihoods, probes
from genjax.launch import trained
from genjax.report import markdown, pictures
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "anomalies"
QUIET = ["metrics=", "sample_every=0", "steps=2000", "save_every=2000"]
# name: (configuration, overrides)
MODELS = {
  "vae": ("vae_mnist", []),
  "autoencoder": (
    "autoencoder_fashion_mnist", ["data.name=mnist", "data.binarize=dynamic", "batch=128"]
  ),
}  # fmt: skip
BOTH = "reconstruction", "code"
COLUMNS = [("vae", "-log p"), *((n, s) for n in (*MODELS, "pca") for s in BOTH), ("pca", "ink")]
SHOWN, LINEAR = 10, 30


def scores(run: runs.Run, batch: dict) -> dict[str, np.ndarray]:
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


def linear(run: runs.Run, batch: dict) -> dict[str, np.ndarray]:
  """The same without a network: by principal components, and how much is white."""
  x, usual = (b["x"].reshape(len(b["x"]), -1) for b in (batch, run.batch("train")))
  pca = decomposition.PCA(LINEAR, random_state=0).fit(usual)
  code, known = pca.transform(x), pca.transform(usual)
  error = ((pca.inverse_transform(code) - x) ** 2).mean(1)
  return {"reconstruction": error, "code": mahalanobis(code, known), "ink": x.mean(1)}


def mahalanobis(code: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Distances of codes [N, D] from the mean of others, in units of their spread."""
  spread = np.cov(known.T) + 1e-6 * np.eye(known.shape[1])
  away = code - known.mean(0)
  return np.sqrt(np.sum(away * np.linalg.solve(spread, away.T).T, axis=1))


def measure(digit: int) -> tuple[list[dict], np.ndarray]:
  """([{"name", "digit", score: AUROC}], the test digits that seem strangest to the VAE)."""
  found, strangest = [], None
  for name, (config, overrides) in MODELS.items():
    overrides = [*overrides, *QUIET, f"data.leave_out={digit}"]
    run = runs.Run.open(trained.trained(config, RUNS / f"{name}-{digit}", overrides))
    batch = run.batch("test")
    strange, x = np.asarray(batch["label"]) == digit, {"x": batch["x"]}
    tables = {name: scores(run, x)}
    if name == "vae":
      tables["pca"] = linear(run, x)
      strangest = run.stored(batch["x"][np.argsort(-tables[name]["-log p"])[:SHOWN]])
    for key, values in tables.items():
      aurocs = {score: probes.auroc(v, strange) for score, v in values.items()}
      found.append({"name": key, "digit": digit, **aurocs})
  return found, strangest


def table(results: list[dict]) -> str:
  """Markdown: a row a digit, a column a score; the mean below."""
  cell = {(r["name"], r["digit"], s): r[s] for r in results for n, s in COLUMNS if r["name"] == n}
  lines = [["left out", *(f"{n}: {s}" for n, s in COLUMNS)]]
  lines += [[str(d), *(f"{cell[n, d, s]:.2f}" for n, s in COLUMNS)] for d in range(10)]
  mean = [np.mean([cell[n, d, s] for d in range(10)]) for n, s in COLUMNS]
  lines.append(["mean", *(f"**{m:.2f}**" for m in mean)])
  return markdown.table(lines)


def main() -> None:
  results, shown = [], []
  for digit in range(10):
    found, strangest = measure(digit)
    print(json.dumps(found), flush=True)
    results += found
    shown.append(strangest)
  trained.record(HERE / "results.json", results, RUNS / "vae-0")
  pictures.save_png(HERE / "anomalies.png", pictures.grid(np.concatenate(shown), SHOWN, 2))
  markdown.insert(HERE / "README.md", table(results))


if __name__ == "__main__":
  main()
