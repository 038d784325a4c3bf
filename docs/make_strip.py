"""Draws samples.png, the strip of samples at the top of the README.

python docs/make_strip.py

Reads the finished runs named below from runs/, and draws the first samples of seed 0 of each: none
is chosen.
"""

import pathlib

import numpy as np

import genjax
from genjax.kinds import letters
from genjax.report import pictures
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
# What stands beside a row -> its run.
ROWS = {
  "diffusion": "ddpm_mnist",
  "variational autoencoder": "vae_mnist",
  "autoregressive transformer": "transformer_bars",
  "energy-based model": "rbm_bars",
}
COLUMNS = 14
# Pixels of a sample, and of the words beside a row.
SIDE = 56
WORDS = 200
GAP = 4
# Grey, so that white samples have an edge.
BACKGROUND = 170


def row(title: str, run: runs.Run) -> np.ndarray:
  """Returns one row as uint8 [SIDE, width, 3]."""
  x = run.sample(COLUMNS, seed=0)
  scale = 255 // (run.spec.levels - 1)
  times = SIDE // x.shape[1]
  cells = (x * np.uint8(scale)).repeat(times, 1).repeat(times, 2)

  out = np.full((SIDE, WORDS + COLUMNS * (SIDE + GAP), 3), BACKGROUND, np.uint8)
  out[:, :WORDS] = letters.cells([title], SIDE, WORDS)[0]
  for i, cell in enumerate(cells):
    left = WORDS + i * (SIDE + GAP)
    out[: cell.shape[0], left : left + cell.shape[1]] = cell
  return out


def main() -> None:
  """Writes docs/samples.png."""
  rows = [row(title, genjax.open_run(f"runs/{name}")) for title, name in ROWS.items()]
  gap = np.full((GAP, rows[0].shape[1], 3), BACKGROUND, np.uint8)
  gap[:, :WORDS] = 255
  picture = np.concatenate([part for each in rows for part in (each, gap)])
  pictures.save_png(HERE / "samples.png", picture)


if __name__ == "__main__":
  main()
