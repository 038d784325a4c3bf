"""Does an encoder that has seen no label help where labels are few? Fashion-MNIST.

    python experiments/few_labels/run.py

Trains configs/autoencoder_fashion_mnist.py:stacked, without labels, into runs/few_labels; then
classifiers on its code from 100 and 500 labelled pictures: the encoder frozen, fine-tuned, or the
same network from scratch. Writes results.json, few_labels.png and the table in README.md.
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
SEEDS, LABELS = (0, 1, 2), (100, 500)
STEPS, RATE = 1_000, 1e-3
WAYS = ("frozen", "fine-tuned", "from scratch")


def labelled(split: dict, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """n pictures, as many of each class."""
  rng, label = np.random.default_rng(seed), split["label"]
  own = [rng.permutation(np.flatnonzero(label == c))[: n // 10] for c in range(10)]
  index = np.concatenate(own)
  return split["x"][index], label[index]


def accuracy(run: runs.Run, way: str, n: int, seed: int) -> float:
  """On the test split, after the last step: no more labels are seen."""
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
    z = scale * run.model.encode(own["encoder"], run.buffers, x)
    return z @ own["head"]["kernel"] + own["head"]["bias"]

  loss = lambda own: optax.softmax_cross_entropy_with_integer_labels(logits(own, x), label).mean()
  own, rule = {"head": head, "encoder": encoder}, optax.adam(RATE)

  @jax.jit
  def train(own):
    def step(state, _):
      own, moments = state
      updates, moments = rule.update(jax.grad(loss)(own), moments)
      return (optax.apply_updates(own, updates), moments), None

    return jax.lax.scan(step, (own, rule.init(own)), None, STEPS)[0][0]

  return float(jnp.mean(jnp.argmax(logits(train(own), test["x"]), 1) == test["label"]))


def main() -> None:
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
