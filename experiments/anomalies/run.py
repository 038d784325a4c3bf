"""Which score notices a digit that training has not seen? Each digit in turn is left out.

    python experiments/anomalies/run.py

For each of the ten digits, trains a VAE (configs/vae_mnist.py) and an autoencoder
(configs/autoencoder_fashion_mnist.py, on the same binarized digits) on the other nine, into
runs/anomalies. Scores all test digits by these models, and by principal components. Writes
results.json, anomalies.png and the table in README.md.
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
# Overrides of every run: no metrics, no samples, one checkpoint at the end.
QUIET = ["metrics=", "sample_every=0", "steps=2000", "save_every=2000"]
# name: (configuration, overrides)
MODELS = {
  "vae": ("vae_mnist", []),
  "autoencoder": (
    "autoencoder_fashion_mnist", ["data.name=mnist", "data.binarize=dynamic", "batch=128"]
  ),
}  # fmt: skip
# The scores that every model with a code has.
BOTH = "reconstruction", "code"
# (model, score) of each column of the table.
COLUMNS = [("vae", "-log p"), *((n, s) for n in (*MODELS, "pca") for s in BOTH), ("pca", "ink")]
# Images in a row of the figure.
SHOWN = 10
# Principal components, as many as the autoencoder has code entries.
LINEAR = 30


def scores(run: runs.Run, batch: dict) -> dict[str, np.ndarray]:
  """Returns the model's scores of a batch: name -> [N], higher for a stranger image."""
  params = run.params
  buffers = run.buffers
  model = run.model
  x = batch["x"]
  usual = run.batch("train")["x"]

  encode = jax.jit(lambda x: model.encode(params, buffers, x))
  code = np.asarray(encode(x))
  known = np.asarray(encode(usual))
  again = np.asarray(model.reconstruct(params, buffers, x))
  values = {
    "reconstruction": ((again - x) ** 2).reshape(len(x), -1).mean(1),
    "code": mahalanobis(code, known),
  }

  # Only the VAE has a likelihood; its estimate is the bound by importance samples.
  if "elbo" in getattr(model, "likelihoods", {}):
    bound = likelihoods.over(run, jax.jit(model.estimate), batch, run.key("strange"))
    values["-log p"] = -bound
  return values


def linear(run: runs.Run, batch: dict) -> dict[str, np.ndarray]:
  """Returns the scores that need no network: by principal components, and the share of white."""
  # [N, D] each: the images to be scored, and those of training.
  x, usual = (b["x"].reshape(len(b["x"]), -1) for b in (batch, run.batch("train")))
  pca = decomposition.PCA(LINEAR, random_state=0).fit(usual)
  code = pca.transform(x)
  known = pca.transform(usual)
  error = ((pca.inverse_transform(code) - x) ** 2).mean(1)
  return {"reconstruction": error, "code": mahalanobis(code, known), "ink": x.mean(1)}


def mahalanobis(code: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Returns the Mahalanobis distances [N] of codes [N, D] from the known codes [M, D]."""
  # The small diagonal keeps the covariance invertible where an entry never varies.
  spread = np.cov(known.T) + 1e-6 * np.eye(known.shape[1])
  away = code - known.mean(0)
  return np.sqrt(np.sum(away * np.linalg.solve(spread, away.T).T, axis=1))


def measure(digit: int) -> tuple[list[dict], np.ndarray]:
  """Measures all scores with one digit left out of training.

  Returns ([{"name", "digit", score: area under the ROC curve}, ...], the SHOWN test digits with
  the least likelihood under the VAE, as stored).
  """
  found = []
  strangest = None
  for name, (config, overrides) in MODELS.items():
    overrides = [*overrides, *QUIET, f"data.leave_out={digit}"]
    run = runs.Run.open(trained.trained(config, RUNS / f"{name}-{digit}", overrides))
    batch = run.batch("test")
    strange = np.asarray(batch["label"]) == digit
    x = {"x": batch["x"]}

    # The scores without a network are measured once, beside those of the VAE.
    tables = {name: scores(run, x)}
    if name == "vae":
      tables["pca"] = linear(run, x)
      strangest = run.stored(batch["x"][np.argsort(-tables[name]["-log p"])[:SHOWN]])

    for key, values in tables.items():
      aurocs = {score: probes.auroc(v, strange) for score, v in values.items()}
      found.append({"name": key, "digit": digit, **aurocs})
  return found, strangest


def table(results: list[dict]) -> str:
  """Returns the Markdown table: one row for each digit, one column for each score, the mean."""
  cell = {(r["name"], r["digit"], s): r[s] for r in results for n, s in COLUMNS if r["name"] == n}
  lines = [["left out", *(f"{n}: {s}" for n, s in COLUMNS)]]
  lines += [[str(d), *(f"{cell[n, d, s]:.2f}" for n, s in COLUMNS)] for d in range(10)]

  mean = [np.mean([cell[n, d, s] for d in range(10)]) for n, s in COLUMNS]
  lines.append(["mean", *(f"**{m:.2f}**" for m in mean)])
  return markdown.table(lines)


def main() -> None:
  """Measures all ten digits and writes results.json, the figure and the table."""
  results = []
  shown = []
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
