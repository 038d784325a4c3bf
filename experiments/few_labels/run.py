"""Does an encoder that has seen no label help where labels are few? Fashion-MNIST.

    python experiments/few_labels/run.py

Trains the autoencoder configs/autoencoder_fashion_mnist.py:stacked, without labels, into
runs/few_labels. Then trains classifiers of its code on 100 and 500 labelled images, in three ways:
with the encoder frozen, with the encoder fine-tuned, and with the same network from scratch. Writes
results.json, few_labels.png and the table in README.md.
"""

import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from genjax.evaluation import probes
from genjax.launch import trained
from genjax.report import bars, markdown
from genjax.runs import open as runs

HERE = pathlib.Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "few_labels"
SEEDS = (0, 1, 2)
# Labelled images that a classifier learns from.
LABELS = (100, 500)
# Adam's steps, each on all labelled images, and its learning rate.
STEPS = 1_000
RATE = 1e-3
WAYS = ("frozen", "fine-tuned", "from scratch")


def labelled(split: dict, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Chooses n images of a split, equally many of each class: (x as stored, label [n])."""
  rng = np.random.default_rng(seed)
  label = split["label"]
  own = [rng.permutation(np.flatnonzero(label == c))[: n // 10] for c in range(10)]
  index = np.concatenate(own)
  return split["x"][index], label[index]


def accuracy(run: runs.Run, way: str, n: int, seed: int) -> float:
  """Returns the accuracy on the test split of a classifier trained on n labelled images.

  way: one of WAYS. It is measured after the last step: no other labels are seen, not even to stop.
  """
  x, label = labelled(run.data.splits["train"], n, seed)
  x = x.astype(np.float32) / 255

  key = jax.random.key(seed)
  encoder = run.params if way != "from scratch" else run.model.init(key, {"x": x[:2]}, {})[0]
  code = run.model.encode(encoder, run.buffers, x)
  head = {"kernel": jnp.zeros((code.shape[1], 10)), "bias": jnp.zeros(10)}
  scale = 1 / (code.std() + 1e-6)
  test = run.batch("test")

  if way == "frozen":
    seen = np.asarray(run.model.encode(encoder, run.buffers, test["x"]))
    return float(probes.probe(np.asarray(code), label).score(seen, test["label"]))

  def logits(own, x):
    # Scaled such that codes of all encoders have the same spread at the start.
    z = scale * run.model.encode(own["encoder"], run.buffers, x)
    return z @ own["head"]["kernel"] + own["head"]["bias"]

  loss = lambda own: optax.softmax_cross_entropy_with_integer_labels(logits(own, x), label).mean()
  own = {"head": head, "encoder": encoder}
  rule = optax.adam(RATE)

  @jax.jit
  def train(own):
    def step(state, _):
      own, moments = state
      updates, moments = rule.update(jax.grad(loss)(own), moments)
      return (optax.apply_updates(own, updates), moments), None

    return jax.lax.scan(step, (own, rule.init(own)), None, STEPS)[0][0]

  return float(jnp.mean(jnp.argmax(logits(train(own), test["x"]), 1) == test["label"]))


def main() -> None:
  """Trains all classifiers and writes results.json, the figure and the table."""
  workdir = trained.trained("autoencoder_fashion_mnist:stacked", RUN, ["metrics="])
  run = runs.Run.open(workdir)

  results = []
  for n, way, seed in itertools.product(LABELS, WAYS, SEEDS):
    share = accuracy(run, way, n, seed)
    results.append({"labels": n, "way": way, "seed": seed, "accuracy": share})
    print(json.dumps(results[-1]), flush=True)
  trained.record(HERE / "results.json", results, workdir)

  cell = lambda n, way: [r["accuracy"] for r in results if (r["labels"], r["way"]) == (n, way)]
  lines = [["accuracy", *(f"{n} labels" for n in LABELS)]]
  lines += [[way, *(markdown.percent(cell(n, way)) for n in LABELS)] for way in WAYS]
  print(table := markdown.table(lines))
  markdown.insert(HERE / "README.md", table)

  groups = {way: [cell(n, way) for n in LABELS] for way in WAYS}
  labels = "labels", "accuracy"
  bars.draw(HERE / "few_labels.png", groups, [str(n) for n in LABELS], labels, (0.5, 0.9))


if __name__ == "__main__":
  main()
