# %% [markdown]
# # A tour of genjax
#
# Train a diffusion on two moons and a variational autoencoder on digits, then look at both in
# Python. Everything here takes about two minutes on two CPU cores.

# %%
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np

import genjax


def train(*flags):
  """Runs one command line, as in a terminal, and shows the end of what it says."""
  command = [sys.executable, "-m", "genjax.main", *flags]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  print("\n".join(done.stdout.splitlines()[-3:]))


# %% [markdown]
# ## A diffusion on points
#
# A configuration is a name, `ddpm_moons`, and whatever is to be otherwise, as `--config.key=value`.

# %%
train("--config=ddpm_moons", "--workdir=runs/tour_moons")

# %% [markdown]
# A finished run is opened from its directory. Sample i depends on the seed and on i alone, so that
# the first eight of a thousand samples are the eight samples.

# %%
run = genjax.open_run("runs/tour_moons")
x = run.sample(1000, seed=0)
assert np.array_equal(run.sample(8, seed=0), x[:8])

real = run.data.splits["test"]["x"][:1000]
plt.figure(figsize=(4, 4))
plt.scatter(*real.T, s=2, color="0.7", label="data")
plt.scatter(*x.T, s=2, label="samples")
plt.legend()
plt.axis("equal")
plt.show()

# %% [markdown]
# Every likelihood says how far it may be trusted: this one is exact, along the probability flow.
# Metrics stand beside what as many real examples score.

# %%
for name, nats in run.likelihood(real[:200]).items():
  print(f"{name}: {nats.mean():.3f} nats")
for name, value in run.metrics("w2").items():
  print(f"{name}: {value:.3f}")

# %% [markdown]
# What does not touch the parameters may be changed after training: the solver and its steps, for
# example. The run itself stays as it is.

# %%
for steps in (2, 5, 10, 20):
  quick = genjax.open_run("runs/tour_moons", [f"model.sampler.steps={steps}"])
  print(f"{steps:3} steps: Wasserstein-2 distance {quick.metrics('w2')['w2/exact']:.3f}")

# %% [markdown]
# ## A variational autoencoder of digits

# %%
train("--config=vae_mnist", "--workdir=runs/tour_digits")

# %%
run = genjax.open_run("runs/tour_digits")
digits = run.data.splits["test"]["x"][:10]
rows = [digits, run.reconstruct(digits), run.sample(10, seed=0)]

plt.figure(figsize=(8, 2.6))
plt.imshow(np.vstack([np.hstack(row[..., 0]) for row in rows]), cmap="gray")
plt.yticks([14, 42, 70], ["data", "reconstructed", "sampled"])
plt.xticks([])
plt.show()

# %%
for name, nats in run.likelihood(digits).items():
  print(f"{name}: {nats.mean():.1f} nats")

# %% [markdown]
# From here: [how to choose](choose.md) a family, [how to extend](extend.md) genjax, and all
# [results](results.md).
