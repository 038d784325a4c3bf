"""What does beta buy? Rate, distortion and latents in use of VAEs on binarized MNIST.

    python experiments/rate_distortion/run.py

Trains configs/vae_mnist.py with several values of beta, and with two remedies against posterior
collapse (warm-up and free bits), into runs/rate_distortion. Writes results.json,
rate_distortion.png and the table in README.md. What is in results.json already is not measured
again.
"""

import pathlib

import jax
import matplotlib
import numpy as np

from genjax.evaluation import likelihoods
from genjax.launch import trained
from genjax.report import markdown
from genjax.runs import open as runs

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / "rate_distortion"
BETAS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Test digits.
HELD_OUT = 500
# A latent is active if its posterior mean has a larger variance over the digits than this.
ACTIVE = 0.01
# A latent is silent if its KL divergence is below this many nats.
SILENT = 0.01
# name: overrides of configs/vae_mnist.py
MODELS = {
  **{f"beta {beta:g}": [f"model.aim.beta={beta}"] for beta in BETAS},
  "warm-up": ["model.aim.warmup=2500"],
  "free bits 0.1": ["model.aim.free_bits=0.1"],
  "beta 4, warm-up": ["model.aim.beta=4", "model.aim.warmup=2500"],
}
HEAD = ["model", "rate", "distortion", "-ELBO", "-log p (200 samples)", "active", "silent"]


def measure(name: str) -> dict:
  """Trains one model if need be and measures it: means over held-out digits, in nats.

  rate: the KL divergence of all latents.
  distortion: minus the reconstruction term.
  nll, se: -log p by importance samples, and its standard error over digits.
  active, silent: numbers of latents.
  kl: the KL divergence of each latent, the largest first.
  """
  workdir = trained.trained("vae_mnist", RUNS / name, [*MODELS[name], "metrics=", "sample_every=0"])
  run = runs.Run.open(workdir)
  batch = run.batch("test", HELD_OUT)
  model = run.model

  # The reconstruction term depends on the sampled code: ten passes with ten keys.
  once = jax.jit(lambda *args: model.once(*args)._replace(buffers=None)._asdict())
  parts = [likelihoods.over(run, once, batch, run.key(str(i))) for i in range(10)]
  estimate = likelihoods.over(run, jax.jit(model.estimate), batch, run.key("estimate"))

  # [D]; in closed form, so it is the same in every pass.
  each = np.mean(parts[0]["kl"], axis=0)
  mean = np.asarray(model.encode(run.params, run.buffers, batch["x"]))

  return {
    "name": name,
    "rate": float(each.sum()),
    "distortion": -float(np.mean([p["reconstruction"] for p in parts])),
    "nll": -float(estimate.mean()),
    "se": float(estimate.std(ddof=1) / HELD_OUT**0.5),
    "active": int(np.sum(mean.var(0) > ACTIVE)),
    "silent": int(np.sum(each < SILENT)),
    "kl": sorted((round(float(k), 4) for k in each), reverse=True),
  }


def draw(results: list[dict]) -> None:
  """Writes rate_distortion.png.

  Left: distortion against rate. Middle: the KL divergence of each latent. Right: active latents.
  """
  figure, axes = pyplot.subplots(1, 3, figsize=(13, 4))
  plain = [r for r in results if r["name"] in {f"beta {b:g}" for b in BETAS}]
  others = [r for r in results if r not in plain]

  # Left: the curve over beta, the other models as squares.
  rate, distortion = ([r[key] for r in plain] for key in ("rate", "distortion"))
  axes[0].plot(rate, distortion, "o-", markersize=4)
  for r in plain:
    axes[0].annotate(
      r["name"][5:], (r["rate"], r["distortion"]), (4, 4), textcoords="offset points"
    )
  for r in others:
    axes[0].plot(r["rate"], r["distortion"], "s", markersize=5, label=r["name"])

  # The line rate + distortion = const through the best ELBO.
  best = min(plain, key=lambda r: r["rate"] + r["distortion"])
  total = best["rate"] + best["distortion"]
  ends = np.array([min(rate), min(max(rate), total)])
  axes[0].plot(ends, total - ends, color="gray", linewidth=0.8, label=f"-ELBO {total:.1f}")
  axes[0].set(xlabel="rate: KL, nats", ylabel="distortion, nats", title="numbers: beta")
  axes[0].legend(fontsize=8)

  # Middle.
  for r in plain:
    axes[1].plot(r["kl"], label=r["name"][5:])
  axes[1].set(xlabel="latents, by what they cost", ylabel="KL, nats", title="each latent")
  axes[1].legend(fontsize=8, title="beta")

  # Right.
  axes[2].plot(BETAS, [r["active"] for r in plain], "o-", markersize=4)
  axes[2].set(xlabel="beta", ylabel="active latents of 40", xscale="log", title="collapse")
  figure.tight_layout()
  figure.savefig(HERE / "rate_distortion.png", dpi=100)


def table(results: list[dict]) -> str:
  """Returns the Markdown table, one row for each model."""
  lines = [HEAD]
  for r in results:
    numbers = (r["rate"], r["distortion"], r["rate"] + r["distortion"])
    cells = [f"{value:.1f}" for value in numbers]
    likely = f"{r['nll']:.1f} ± {r['se']:.1f}"
    lines.append([r["name"], *cells, likely, str(r["active"]), str(r["silent"])])
  return markdown.table(lines)


def main() -> None:
  """Measures what is not in results.json yet and writes results, figure and table."""
  file = HERE / "results.json"
  have = {r["name"]: r for r in trained.recorded(file)}
  for name in MODELS:
    if name not in have:
      have[name] = measure(name)
      trained.record(file, list(have.values()), RUNS / name)
    print({key: value for key, value in have[name].items() if key != "kl"}, flush=True)

  results = [have[name] for name in MODELS]
  draw(results)
  markdown.insert(HERE / "README.md", table(results))


if __name__ == "__main__":
  main()
