"""Does a denoising autoencoder do better than a filter? Fashion-MNIST under Gaussian noise.

    python experiments/denoising/run.py

Trains configs/autoencoder_fashion_mnist.py:restoring at three levels of noise into runs/denoising.
Writes results.json, denoising.png and the table in README.md. The filters have two window sizes;
the Wiener filter is told the variance of the noise.
"""

import pathlib

import numpy as np
from scipy import ndimage, signal

from genjax.evaluation import probes
from genjax.launch import trained
from genjax.report import markdown, pictures
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "denoising"
# Standard deviations of the noise, for pixels in [0, 1]: in training, and in the test.
TRAINED = (0.1, 0.3, 0.5)
LEVELS = (0.1, 0.2, 0.3, 0.5)
# Test images, and how many of them the figure shows.
HELD_OUT = 1_000
SHOWN = 10
# Sides of the filters' windows, in pixels.
WINDOWS = (3, 5)


def model(std: float) -> runs.Run:
  """Returns the autoencoder for noise of standard deviation `std`; trains it if need be."""
  overrides = [f"model.corruption.std={std}", "metrics=", "sample_every=0"]
  where = trained.trained("autoencoder_fashion_mnist:restoring", RUNS / f"{std}", overrides)
  return runs.Run.open(where)


def filters(noisy: np.ndarray, std: float) -> dict[str, np.ndarray]:
  """Returns what each filter makes of noisy images: name -> [N, H, W, 1] in [0, 1]."""
  images = noisy[..., 0]
  found = {}
  for size in WINDOWS:
    found[f"median {size} x {size}"] = ndimage.median_filter(images, (1, size, size))
    wiener = np.stack([signal.wiener(image, size, std**2) for image in images])
    found[f"Wiener {size} x {size}"] = wiener

  return {name: np.clip(x, 0, 1)[..., None] for name, x in found.items()}


def main() -> None:
  """Measures all filters and autoencoders and writes results.json, the figure and the table."""
  runs = {std: model(std) for std in TRAINED}
  run = runs[TRAINED[0]]
  clean = run.batch("test", HELD_OUT)["x"]  # [N, H, W, 1]
  rng = np.random.default_rng(0)
  results = {}
  rows = []

  for std in LEVELS:
    noisy = (clean + std * rng.standard_normal(clean.shape)).astype(np.float32)
    answers = {"nothing": np.clip(noisy, 0, 1), **filters(noisy, std)}
    for level, r in runs.items():
      again = np.asarray(r.setup.again(r.params, r.buffers, noisy, {}))
      answers[f"autoencoder of {level:g}"] = np.clip(again, 0, 1)

    decibels = {name: probes.psnr(clean, x) for name, x in answers.items()}
    results[f"{std:g}"] = {name: float(values.mean()) for name, values in decibels.items()}

    # The figure shows one level of noise, with the filter that does best there.
    if std == 0.3:
      best = max((n for n in answers if "auto" not in n), key=lambda n: decibels[n].mean())
      rows = [clean, answers["nothing"], answers[best], answers["autoencoder of 0.3"]]

  trained.record(HERE / "results.json", results, RUNS / f"{TRAINED[0]}")
  shown = run.stored(np.concatenate([x[:SHOWN] for x in rows]))
  pictures.save_png(HERE / "denoising.png", pictures.grid(shown, SHOWN))

  names = next(iter(results.values()))
  lines = [["PSNR in decibels, by the noise's std", *results]]
  lines += [[name, *(f"{r[name]:.1f}" for r in results.values())] for name in names]
  print(table := markdown.table(lines))
  markdown.insert(HERE / "README.md", table)


if __name__ == "__main__":
  main()
