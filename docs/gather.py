"""One source for the numbers of the pages: docs/results.json, and the tables made of it.

    python docs/gather.py runs/ddpm_mnist runs/vae_mnist    # or a folder that holds runs
    python docs/gather.py                                   # only writes the tables again

The first reads config.json, run.json and eval.json of each finished run and puts an entry into
docs/results.json, in the place of an older entry of the same name:

    name        CONFIGURATION[:VARIANT]. What was measured with other settings than the run's own
                (eval-<digest>.json) is an entry NAME (KEY=VALUE, ...), if ROWS shows it.
    metrics     as in eval.json: NAME, NAME/n, NAME/se, NAME/real, NAME/raw.
    recorded    true; false for numbers that were published before runs recorded what they were
                made with, which are rounded as they were printed.

Then the tables of docs/results.md and README.md are written. A run that is not a configuration as
it is, finished and measured, is refused with a line; the exit code is then 2.
"""

import json
import pathlib
import sys
from collections.abc import Iterable, Sequence

from genjax.report import markdown

PAGE = pathlib.Path(__file__).with_name("results.md")
README = PAGE.parents[1] / "README.md"
RESULTS = PAGE.with_suffix(".json")
FD = "fd/fashion_mnist-82bed4ad"
PIXELS = "independent pixels"
LOOK = "ddpm_mnist (metrics=likelihood, num=200)"  # too costly for more digits
# (entry, what is said beside its name, metric, format and unit of the value, its reference)
ROWS = (
  ("ddpm_mnist", "4,000 digits", "fd/mnist-b5d5c364", ".2f", "real"),
  ("ddpm_mnist", "", "legible/mnist-b5d5c364", ".1%", "real"),
  (LOOK, "", "bits/flow-given-label/lower-bound/8-bit", ".2f", PIXELS),
  ("ddpm_fashion_mnist", "55,000 pictures", FD, ".2f", "real"),
  ("ddpm_fashion_mnist", "", "agrees/fashion_mnist-82bed4ad", ".1%", "real"),
  ("edm_fashion_mnist", "", FD, ".2f", "real"),
  ("class_conditional_mnist", "", "agrees/mnist-b5d5c364", ".1%", "real"),
  ("class_conditional_mnist", "", "fd/mnist-b5d5c364", ".2f", "real"),
  ("flow_matching_mnist", "", "fd/mnist-b5d5c364", ".2f", "real"),
  ("flow_matching_mnist", "", "legible/mnist-b5d5c364", ".1%", "real"),
  ("vp_sde_digits", "", "bits/flow/lower-bound/17-level", ".2f", PIXELS),
  ("vp_sde_digits", "", "fd/digits-7eebc8e7", ".2f", "real"),
  ("vp_sde_digits", "", "legible/digits-7eebc8e7", ".1%", "real"),
  ("dequantized_digits", "", "bits/flow-dequantized/lower-bound/17-level", ".2f", PIXELS),
  ("dequantized_digits", "", "bits/flow/lower-bound/17-level", ".2f", PIXELS),
  ("subvp_sde_digits", "", "bits/elbo/lower-bound/17-level", ".2f", PIXELS),
  ("subvp_sde_digits", "", "bits/flow/lower-bound/17-level", ".2f", PIXELS),
  ("subvp_sde_digits", "", "fd/digits-7eebc8e7", ".2f", "real"),
  ("subvp_sde_digits", "", "legible/digits-7eebc8e7", ".1%", "real"),
  ("vdm_digits", "", "bits/elbo/lower-bound/17-level", ".2f", PIXELS),
  ("vdm_digits", "", "bits/flow/lower-bound/17-level", ".2f", PIXELS),
  ("vdm_digits", "", "fd/digits-7eebc8e7", ".2f", "real"),
  ("vdm_mnist", "", "bits/elbo/lower-bound/8-bit", ".2f", PIXELS),
  ("vdm_fashion_mnist", "", "bits/elbo/lower-bound/8-bit", ".2f", PIXELS),
  ("ve_sde_digits", "", "bits/flow/lower-bound/17-level", ".2f", PIXELS),
  ("ve_sde_digits", "", "fd/digits-7eebc8e7", ".2f", "real"),
  ("ve_sde_digits", "", "legible/digits-7eebc8e7", ".1%", "real"),
  ("ncsn_digits", "", "bits/flow/lower-bound/17-level", ".2f", PIXELS),
  ("ncsn_digits", "", "fd/digits-7eebc8e7", ".2f", "real"),
  ("ncsn_digits", "", "legible/digits-7eebc8e7", ".1%", "real"),
  ("vae_mnist", "4,000 binarized digits", "nats/importance-200/lower-bound/binary", ".1f", ""),
  ("vae_mnist", "", "nats/elbo/lower-bound/binary", ".1f", ""),
  ("vae_mnist:completion", "", "nats/importance-200-given-left/lower-bound/binary", ".1f", ""),
  ("hvae_mnist", "4,000 binarized digits", "nats/importance-100/lower-bound/binary", ".1f", ""),
  ("hvae_mnist", "", "nats/elbo/lower-bound/binary", ".1f", ""),
  ("kl_autoencoder_fashion_mnist", "", "mse", ".4f", "147 principal components"),
  ("latent_diffusion_fashion_mnist", "on the codes of the KL autoencoder", FD, ".2f", "real"),
  ("latent_diffusion_fashion_mnist", "", "legible/fashion_mnist-82bed4ad", ".1%", "real"),
  ("vae_fashion_mnist", "", "mse", ".4f", "ten principal components"),
  ("latent_fashion_mnist", "64 Gaussians on an autoencoder's codes", FD, ".2f", "real"),
  ("latent_fashion_mnist:diffusion", "a diffusion on the same", FD, ".2f", "real"),
  ("vqvae_fashion_mnist", "392 bits a picture", "mse", ".4f", ""),
  ("vqvae_fashion_mnist:fsq", "535 bits", "mse", ".4f", ""),
  ("vqvae_fashion_mnist:residual", "1,176 bits", "mse", ".4f", ""),
  ("vqvae_fashion_mnist:two_level", "520 bits", "mse", ".4f", ""),
  ("vqvae_prior_fashion_mnist", "a transformer of the 392-bit codes", FD, ".2f", "real"),
  ("classifier_digits", "", "accuracy", ".1%", "most frequent class"),
  ("ot_flow_matching_moons", "4 steps", "w2/exact", ".2f", "real"),
  *(
    (f"toys:{process}", "", "regret/flow/exact/continuous", ".3f nats", "0, the entropy")
    for process in ("vp", "sub_vp", "ve", "ncsn", "edm", "cond_ot", "cosine", "polynomial")
  ),
  ("ddpm_moons", "", "w2/exact", ".2f", "real"),
  ("super_resolution_digits", "4 x 4 to 8 x 8", "psnr", ".1f dB", "bicubic"),
  ("text_conditional_moons", "", "heard/text", ".1%", "real"),
  ("gaussian_transport_moons", "", "w2/exact", ".2f", "real"),
  ("wgan_gp_ring", "", "modes/good", ".0%", "real"),
  ("wgan_gp_ring", "", "modes/covered", ".0f of 8", "real"),
  ("wgan_gp_ring", "", "w2/exact", ".2f", "real"),
  ("gmm_moons", "", "nats/density/exact/continuous", ".3f", "entropy"),
  ("transformer_bars", "", "nats/chain-rule/exact/binary", ".3f", "entropy"),
  ("rbm_bars", "", "nats/enumerated/exact/binary", ".3f", "entropy"),
)
# The metric that is the reference of another, if it is not METRIC/real.
REFERENCES = {
  PIXELS: "bits/independent/exact/{measure}",
  "bicubic": "psnr/bicubic",
  "147 principal components": "mse/pca",
  "ten principal components": "mse/pca",
  "0, the entropy": "",  # by definition
}
# The entries whose first row the README shows.
SHORT = (
  "ddpm_mnist", "flow_matching_mnist", "vdm_digits", "vae_mnist", "hvae_mnist",
  "latent_diffusion_fashion_mnist", "vqvae_fashion_mnist", "transformer_bars", "wgan_gp_ring",
  "rbm_bars", "gmm_moons",
)  # fmt: skip


def workdirs(paths: Iterable[str]) -> list[pathlib.Path]:
  """Returns the run directories that are named, and those in the folders that are named."""
  found = []
  for path in map(pathlib.Path, paths):
    inside = sorted(file.parent for file in path.glob("*/run.json"))
    found += [path] if (path / "run.json").is_file() or not inside else inside
  return found


def gather(workdir: pathlib.Path) -> list[dict]:
  """Returns the entries of a finished run; raises ValueError for a run that is not published."""
  run, config, measured = (_read(workdir / f"{n}.json") for n in ("run", "config", "eval"))
  path = next((w for w in run["command"].split() if w.startswith("--config=")), "")
  file, _, variant = path.removeprefix("--config=").partition(":")
  stem = pathlib.Path(file).stem
  name = f"{stem}:{variant}" if variant else stem
  if fault := _fault(run, config, measured, variant):
    raise ValueError(f"{workdir} is not published: {fault}")

  about = {"config": f"configs/{stem}.py", "variant": variant, **run["git"]}
  about["machine"] = ", ".join([run["machine"], *run["devices"]])
  about |= {key: run[key] for key in ("seed", "started", "seconds", "steps")}
  about["data"] = {key: run["data"][key] for key in ("name", "counts", "hash")}

  looks = [_read(file) for file in sorted(workdir.glob("eval-*.json"))]
  looks = {
    _of_look(name, look.get("settings", {})): look for look in looks if look["step"] == run["steps"]
  }
  published = {row[0] for row in ROWS}
  found = {name: measured} | {key: look for key, look in looks.items() if key in published}
  for key, _, metric, _, label in (row for row in ROWS if row[0] in found):
    if lacking := {metric, reference(metric, label)} - {"", *found[key]["metrics"]}:
      raise ValueError(f"{workdir} is not published: {key} lacks {min(lacking)}, shown by ROWS")
    if found[key]["metrics"][metric] is None:
      raise ValueError(f"{workdir} is not published: {key} has no finite {metric}")
  kept = lambda look: {key: look[key] for key in ("split", "average", "step", "metrics")}
  return [{"name": k, **about, **kept(look), "recorded": True} for k, look in found.items()]


def _read(file: pathlib.Path) -> dict:
  if not file.is_file():
    raise ValueError(f"{file.parent} has no {file.name}; expected a finished, measured run")
  return json.loads(file.read_text(encoding="utf-8"))


def _fault(run: dict, config: dict, measured: dict, variant: str) -> str:
  """Returns why this is no complete run of a configuration as it is, "" if it is one."""
  commands = [run["command"], *(session["command"] for session in run["sessions"])]
  done = run.get("steps", 0)
  faults = {
    "it has no --config=FILE in its command": "--config=" not in run["command"],
    "it was made with overrides": run["overrides"] or any("--config." in c for c in commands),
    "it is a smoke run": "smoke" in variant.split("+"),
    "it has no commit": not run["git"],
    f"it has {done} of {config['steps']} steps": done < config["steps"],
    f"its eval.json is of step {measured['step']}": measured["step"] != done,
    "its eval.json was measured with other settings": measured.get("settings"),
  }
  return next((fault for fault, true in faults.items() if true), "")


def _of_look(name: str, settings: dict) -> str:
  """Returns "NAME (KEY=VALUE, ...)"."""
  text = lambda value: ",".join(value) if isinstance(value, list) else value
  return f"{name} ({', '.join(f'{k}={text(v)}' for k, v in sorted(settings.items()))})"


def reference(metric: str, label: str) -> str:
  """Returns the metric that is the reference of another, "" if there is none."""
  where = REFERENCES.get(label, "{metric}/real")
  return where.format(metric=metric, measure=metric.rpartition("/")[2]) if label else ""


def show(value: float, form: str, se: float | None = None) -> str:
  """Returns a value as the tables print it: (21.18, ".1f dB", 0.17) -> "21.2 ± 0.2 dB"."""
  digits, _, unit = form.partition(" ")
  numbers = [f"{v:{digits}}".replace("%", " %") for v in (value, se) if v is not None]
  return " ".join(filter(None, (" ± ".join(numbers), unit)))


def duration(seconds: float) -> str:
  """Returns "31 s" or "11 min 34 s"."""
  minutes, rest = divmod(round(seconds), 60)
  return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def note(entry: dict) -> str:
  """Returns where the numbers of an entry come from."""
  if not entry["recorded"]:
    return f"Published by this commit, before runs were recorded: {entry['machine']}."
  beside = "; the commit had changes beside it" if entry["dirty"] else ""
  return f"Recorded by the run: {entry['machine']}{beside}."


def tables(runs: Sequence[dict]) -> tuple[str, str]:
  """Returns the table of docs/results.md, with its notes, and the short one of README.md."""
  entries = {entry["name"]: entry for entry in runs}
  notes = list(dict.fromkeys(note(entries[row[0]]) for row in ROWS))
  head = ["configuration", "training", "metric", "value", "reference"]
  long, short, before = [[*head, "commit"]], [head], ""
  for name, beside, metric, form, label in ROWS:
    entry, shown = entries[name], name.partition(" (")[0]
    metrics, key = entry["metrics"], reference(metric, label)
    # A configuration is named once, in its first row.
    first = [f"`{shown}`" + f" ({beside})" * bool(beside), duration(entry["seconds"])]
    left = first if shown != before else ["", ""]
    right = [
      f"`{metric}`, n = {metrics[f'{metric}/n']:,}",
      show(metrics[metric], form, metrics.get(f"{metric}/se")),
      f"{show(metrics[key], form)} ({label})" if key else label,
    ]
    long.append([*left, *right, f"`{entry['commit'][:7]}` [{notes.index(note(entry)) + 1}]"])
    if name in SHORT and shown != before:
      short.append([*left, *right])
    before = shown
  listed = "\n".join(f"{i}. {text}" for i, text in enumerate(notes, start=1))
  return f"{markdown.table(long)}\n\n{listed}", markdown.table(short)


def main(paths: Sequence[str]) -> int:
  """Gathers the runs that are named and writes all tables; returns 2 if some were refused."""
  runs = {entry["name"]: entry for entry in _read(RESULTS)["runs"]}
  code = 0
  for workdir in workdirs(paths):
    try:
      runs |= {entry["name"]: entry for entry in gather(workdir)}
    except ValueError as e:
      print(e, file=sys.stderr)
      code = 2

  # The tables first: an entry that they cannot show is not written either.
  ordered = [runs[name] for name in sorted(runs)]
  long, short = tables(ordered)
  RESULTS.write_text(json.dumps({"runs": ordered}, indent=1) + "\n", encoding="utf-8")
  markdown.insert(PAGE, long)
  if "<!-- results -->" in README.read_text(encoding="utf-8"):
    markdown.insert(README, short, "results")
  return code


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
