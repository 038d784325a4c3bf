"""Do generated digits help a classifier? Real digits, generated ones, and both.

    python experiments/augmentation/run.py

Trains the generator configs/class_conditional_mnist.py into runs/class_conditional_mnist, unless it
is there. Then trains small classifiers on the generator's training digits, on digits that it
generates ("drawn" below), and on both. Writes results.json, augmentation.png and the table in
README.md.
"""

import itertools
import json
import pathlib

import jax
import numpy as np
import optax

from genjax.launch import trained
from genjax.networks import classifier
from genjax.report import bars, markdown
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "class_conditional_mnist"
SEEDS = (0, 1, 2)
# How many real and how many generated digits a classifier learns from.
REAL = (0, 4_000)
DRAWN = (0, 4_000)
# Training of a classifier; RATE is the first learning rate, which decays to 0.
STEPS = 600
BATCH = 100
RATE = 1e-3


def learn(x: np.ndarray, label: np.ndarray, test: dict, seed: int) -> float:
  """Trains a classifier of images x [N, H, W, C] in [0, 1] and returns its test accuracy."""
  net = classifier.SmallCNN(classes=10)
  rule = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))
  params = net.init(jax.random.key(seed), x[:1])
  moments = rule.init(params)
  rng = np.random.default_rng(seed)

  def loss(params, x, label):
    logits = net.apply(params, x)[1]  # [0] are the features
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

  @jax.jit
  def step(params, moments, x, label):
    updates, moments = rule.update(jax.grad(loss)(params, x, label), moments)
    return optax.apply_updates(params, updates), moments

  for _ in range(STEPS):
    index = rng.integers(0, len(x), BATCH)
    params, moments = step(params, moments, x[index], label[index])

  logits = jax.jit(net.apply)(params, test["x"])[1]
  return float(np.mean(np.argmax(logits, axis=1) == test["label"]))


def main() -> None:
  """Trains all classifiers and writes results.json, the figure and the table."""
  workdir = trained.trained("class_conditional_mnist", RUN)
  run = runs.Run.open(workdir)
  share = lambda split: {"x": split["x"].astype(np.float32) / 255, "label": split["label"]}
  real = share(run.data.splits["train"])
  test = share(run.data.splits["test"])
  drawn = share(run.samples(max(DRAWN)))

  results = []
  for n, m, seed in itertools.product(REAL, DRAWN, SEEDS):
    if n + m:  # nothing can be learnt from no digits at all
      x, label = (np.concatenate([real[k][:n], drawn[k][:m]]) for k in ("x", "label"))
      accuracy = learn(x, label, test, seed)
      results.append({"real": n, "drawn": m, "seed": seed, "accuracy": accuracy})
      print(json.dumps(results[-1]), flush=True)
  trained.record(HERE / "results.json", results, workdir)

  cell = lambda n, m: [r["accuracy"] for r in results if (r["real"], r["drawn"]) == (n, m)]
  lines = [["test accuracy", *(f"{m:,} drawn" for m in DRAWN)]]
  lines += [[f"{n:,} real", *(markdown.percent(cell(n, m)) for m in DRAWN)] for n in REAL]
  print(table := markdown.table(lines))
  markdown.insert(HERE / "README.md", table)

  groups = {f"{m:,} drawn": [cell(n, m) for n in REAL] for m in DRAWN}
  labels = ("real digits", "accuracy")
  places = [f"{n:,}" for n in REAL]
  bars.draw(HERE / "augmentation.png", groups, places, labels, (0.9, 1.0))


if __name__ == "__main__":
  main()
