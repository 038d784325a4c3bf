"""What lies between and beside the codes of a VAE? Walks through a latent space of Fashion-MNIST.

    python experiments/latent_space/run.py

Trains configs/vae_fashion_mnist.py into runs/vae_fashion_mnist, unless it is there. Writes four
figures beside this file:

    between.png     from one image to another: codes on the straight line
    traversals.png  each latent from -3 to 3, the others unchanged
    arithmetic.png  an image's code + mean code of another class - mean code of its own class
    map.png         codes of test images in the plane, by t-SNE, with some of the images
"""

import pathlib

import jax
import matplotlib
import numpy as np
from sklearn import manifold

from genjax.launch import trained
from genjax.report import pictures
from genjax.runs import open as runs

matplotlib.use("Agg")
from matplotlib import offsetbox, pyplot

HERE = pathlib.Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "vae_fashion_mnist"
NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
         "boot")  # fmt: skip
# (a class, the class that its images are to become), by their places in NAMES.
CHANGES = ((0, 2), (2, 0), (0, 3), (7, 9), (9, 7), (5, 9), (3, 1), (4, 8))
# Images along a line, lines between two images, and test images in all.
STEPS = 11
ROWS = 8
MAPPED = 3_000
# Least distance of two thumbnails in the map, as a share of its width.
APART = 0.06


class Space:
  """Test images with their codes, and the way back from codes to images.

  x: [MAPPED, H, W, 1], the images.
  label: [MAPPED].
  z: [MAPPED, D], the codes.
  """

  def __init__(self, run: runs.Run):
    self.run = run
    batch = run.batch("test", MAPPED)
    model = run.model
    params = run.params
    buffers = run.buffers

    self.decode = jax.jit(lambda z: model.decode(params, buffers, z))
    self.x = batch["x"]
    self.label = np.asarray(batch["label"])
    self.z = np.asarray(jax.jit(lambda x: model.encode(params, buffers, x))(self.x))

  def pictures(self, z: np.ndarray) -> np.ndarray:
    """Decodes z [N, D] into images [N, H, W, 1], uint8."""
    return self.run.stored(np.clip(self.decode(np.float32(z)), 0, 1))

  def first(self, label: int, n: int = 1) -> np.ndarray:
    """Returns the places [n] of the first n images of a class."""
    return np.flatnonzero(self.label == label)[:n]


def between(space: Space) -> np.ndarray:
  """Returns the images [ROWS STEPS, H, W, 1] of between.png.

  A row leads from an image of class c to one of class c + 3; both ends of it are reconstructions.
  """
  share = np.linspace(0, 1, STEPS)[:, None]
  ends = [(space.first(c)[0], space.first((c + 3) % 10, 2)[-1]) for c in range(ROWS)]
  return space.pictures(np.concatenate([(1 - share) * space.z[a] + share * space.z[b]
                                        for a, b in ends]))  # fmt: skip


def traversals(space: Space) -> np.ndarray:
  """Returns the images [D STEPS, H, W, 1] of traversals.png.

  One row for each latent; latents that vary most over the images come first.
  """
  order = np.argsort(-space.z.var(0))
  base = space.z[space.first(0)[0]]
  values = np.linspace(-3, 3, STEPS)
  rows = np.tile(base, (len(order), STEPS, 1))
  for row, latent in enumerate(order):
    rows[row, :, latent] = values
  return space.pictures(rows.reshape(-1, len(base)))


def arithmetic(space: Space, n: int = 5) -> np.ndarray:
  """Returns the images of arithmetic.png.

  One row for each change: n reconstructions, then the same n images after the change.
  """
  mean = [space.z[space.label == c].mean(0) for c in range(10)]
  rows = []
  for old, new in CHANGES:
    z = space.z[space.first(old, n)]
    rows += [z, z + mean[new] - mean[old]]
  return space.pictures(np.concatenate(rows))


def scatter(space: Space) -> None:
  """Writes map.png: a point for each image, and thumbnails where there is room for them."""
  plane = manifold.TSNE(random_state=0, init="pca").fit_transform(space.z)
  plane = (plane - plane.min(0)) / np.ptp(plane, axis=0)  # into the unit square

  figure, axis = pyplot.subplots(figsize=(10, 9))
  colors = pyplot.get_cmap("tab10")
  for c, name in enumerate(NAMES):
    own = plane[space.label == c]
    axis.scatter(*own.T, s=5, color=colors(c), label=name)

  # Each thumbnail takes the room around it, so that thumbnails do not overlap.
  free = np.ones(len(plane), bool)
  for i in range(len(plane)):
    if free[i]:
      image = offsetbox.OffsetImage(space.x[i, ..., 0], cmap="binary", zoom=0.8)
      frame = dict(edgecolor=colors(space.label[i]), linewidth=1)
      axis.add_artist(offsetbox.AnnotationBbox(image, plane[i], pad=0.05, bboxprops=frame))
      free &= np.sum((plane - plane[i]) ** 2, axis=1) > APART**2

  axis.set_axis_off()
  axis.legend(fontsize=9, markerscale=3)
  figure.tight_layout()
  figure.savefig(HERE / "map.png", dpi=70)


def main() -> None:
  """Trains the VAE if need be and writes the four figures."""
  workdir = trained.trained("vae_fashion_mnist", RUN)
  space = Space(runs.Run.open(workdir))
  pictures.save_png(HERE / "between.png", pictures.grid(between(space), STEPS))
  pictures.save_png(HERE / "traversals.png", pictures.grid(traversals(space), STEPS))
  pictures.save_png(HERE / "arithmetic.png", pictures.grid(arithmetic(space), 10))
  scatter(space)


if __name__ == "__main__":
  main()
