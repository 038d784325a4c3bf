"""What do the metrics say of real digits that were damaged on purpose? See README.md here.

python experiments/feature_nets/damage.py

The damaged validation digits take the place of a model's samples. Writes damage.json and prints it
as a Markdown table.
"""

import json
import pathlib
import types

import numpy as np
from absl import app
from scipy import ndimage

from genjax.data.sources import base as sources
from genjax.data.sources import mnist
from genjax.evaluation import metrics

NAMES = ("fd", "kid", "prdc", "legible", "balance", "nearest")


def damaged(split: sources.Split) -> dict[str, np.ndarray]:
  """Returns the digits after each kind of damage: name -> [N, 28, 28, 1], float grey levels."""
  x = split["x"].astype(float)
  label = split["label"]
  rng = np.random.default_rng(0)
  n = len(x)
  flat = x.reshape(len(x), -1)

  # Samples of the Gaussian with the same mean and covariance.
  principal = rng.multivariate_normal(flat.mean(0), np.cov(flat, rowvar=False), n)
  # Each pixel permuted over the digits by itself: right marginals, independent pixels.
  columns = np.stack([rng.permutation(column) for column in flat.T], axis=1)

  return {
    "none": x,
    "binarized by chance": (rng.random(x.shape) * 255 < x) * 255.0,
    "noise, std 0.1": x + 0.1 * 255 * rng.standard_normal(x.shape),
    "noise, std 0.3": x + 0.3 * 255 * rng.standard_normal(x.shape),
    "blur, std 1 pixel": ndimage.gaussian_filter(x, (0, 1, 1, 0)),
    "moved 3 pixels": np.roll(x, 3, axis=2),
    "mirrored": x[:, :, ::-1],
    "five classes only": x[rng.choice(np.flatnonzero(label < 5), n)],
    "ten digits repeated": x[np.tile([np.flatnonzero(label == k)[0] for k in range(10)], n // 10)],
    "Gaussian of equal covariance": principal.reshape(x.shape),
    "pixels drawn independently": columns.reshape(x.shape),
    "white noise": 255 * rng.random(x.shape),
  }


def main(_: list[str]) -> None:
  """Measures every kind of damage, writes damage.json and prints the table."""
  data = mnist.Mnist(source="bundled").load()
  rows = {}
  for name, x in damaged(data.splits["valid"]).items():
    x = np.clip(np.rint(x), 0, 255).astype(np.uint8)

    # What the metrics need of a run, with the damaged digits as its samples.
    run = types.SimpleNamespace(
      data=data, spec=data.spec, num=len(x), split="test", samples=lambda n, x=x: {"x": x[:n]}
    )
    rows[name] = {k: v for metric in NAMES for k, v in metrics.METRICS[metric](run).items()}
  rows["(reference)"] = {k: rows["none"][f"{k}/real"] for k in columns_of(rows["none"])}

  path = pathlib.Path(__file__).parent / "damage.json"
  path.write_text(json.dumps(rows, indent=2) + "\n")

  columns = columns_of(rows["none"])
  print("| damage | " + " | ".join(name.split("/mnist-")[0] for name in columns) + " |")
  print("|---" * (len(columns) + 1) + "|")
  for name, row in rows.items():
    print(f"| {name} | " + " | ".join(f"{row[k]:.3g}" for k in columns) + " |")


def columns_of(row: dict[str, float]) -> list[str]:
  """Returns the names of the metrics, without those of references, counts and errors."""
  return [k for k in row if not k.endswith(("/real", "/n", "/se"))]


if __name__ == "__main__":
  app.run(main)
