"""Do sixteen bits find images of the same class? Semantic hashing of Fashion-MNIST.

    python experiments/hashing/run.py

Trains configs/autoencoder_fashion_mnist.py:binary into runs/hashing. Compares its bits with linear
codes: for each test image (a query), which training images (the library) are nearest? Writes
results.json, neighbours.png and the table in README.md.
"""

import pathlib

import jax
import numpy as np
from sklearn import decomposition

from genjax.evaluation import probes
from genjax.launch import trained
from genjax.report import markdown, pictures
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "hashing"
QUERIES = 1_000
LIBRARY = 20_000
# Rows of the figure, and images in a row: a query and its SHOWN - 1 nearest.
SHOWN = 9
# The k of precision at k.
KS = (1, 10, 100)


def distances(run: runs.Run) -> dict[str, np.ndarray]:
  """Returns distances of queries from the library by each code: name -> [QUERIES, LIBRARY]."""
  library = run.batch("train", LIBRARY)["x"]
  queries = run.batch("test", QUERIES)["x"]
  encode = jax.jit(lambda x: run.model.encode(run.params, run.buffers, x))
  flat = lambda x: x.reshape(len(x), -1)
  bits = encode(queries).shape[1]

  # Linear codes of as many entries: principal components, and random directions.
  pca = decomposition.PCA(bits, random_state=0).fit(flat(library))
  linear = [pca.transform(flat(x)) for x in (queries, library)]
  rng = np.random.default_rng(0)
  plane = rng.standard_normal((flat(library).shape[1], bits))
  mean = flat(library).mean(0)

  return {
    f"autoencoder, {bits} bits": probes.hamming(
      *(np.asarray(encode(x)) for x in (queries, library))
    ),
    f"signs of {bits} principal components": probes.hamming(*(c > 0 for c in linear)),
    f"signs of {bits} random directions": probes.hamming(
      *((flat(x) - mean) @ plane > 0 for x in (queries, library))
    ),
    f"{bits} principal components": square(*linear),
    "pixels": square(flat(queries), flat(library)),
  }


def square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns squared Euclidean distances [N, M] of a [N, D] from b [M, D]."""
  return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T


def main() -> None:
  """Measures all codes and writes results.json, the figure and the table."""
  workdir = trained.trained("autoencoder_fashion_mnist:binary", RUN, ["metrics="])
  run = runs.Run.open(workdir)
  label = [run.data.splits[s]["label"][:n] for s, n in (("test", QUERIES), ("train", LIBRARY))]
  same = label[0][:, None] == label[1]  # [QUERIES, LIBRARY]
  found = distances(run)
  results = {
    name: {f"precision@{k}": probes.precision(d, same, k) for k in KS} for name, d in found.items()
  }
  results["chance"] = {f"precision@{k}": float(same.mean()) for k in KS}
  trained.record(HERE / "results.json", results, workdir)

  # The first code of `found` is that of the autoencoder.
  nearest = np.argsort(next(iter(found.values()))[:SHOWN], axis=1, kind="stable")[:, : SHOWN - 1]
  x = run.data.splits["test"]["x"]
  library = run.data.splits["train"]["x"]
  rows = [np.concatenate([x[i : i + 1], library[nearest[i]]]) for i in range(SHOWN)]
  pictures.save_png(HERE / "neighbours.png", pictures.grid(np.concatenate(rows), SHOWN))

  lines = [["code", *(f"precision at {k}" for k in KS)]]
  lines += [[name, *(f"{v:.1%}" for v in r.values())] for name, r in results.items()]
  table = markdown.table(lines)
  print(table)
  markdown.insert(HERE / "README.md", table)


if __name__ == "__main__":
  main()
