"""A run as one HTML page that needs nothing else: `write(workdir)` -> <workdir>/report.html.

What was trained, what it makes, how it learnt, how it measures, with what settings, and how to do
it again: all from the run directory's files (see `material`). Pictures lie inside the page, and a
part whose files are absent is left out.
"""

import collections
import html
import os
import pathlib
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from genjax import core
from genjax.report import embed, figures, material, pictures, style, tables

PANELS = 8  # curves shown
THUMBNAILS = 8  # of the pictures taken during training
FACTS = {  # of an evaluation, as the note under its table says them
  "step": "after step {}",
  "average": "parameters: average “{}”",
  "num": "{} samples",
  "seed": "seed {}",
  "split": "against the {} split",
}
SHOWN_ELSEWHERE = ("name", "command", "argv", "overrides", "seconds", "steps", "steps_per_second")


def write(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes report.html and returns its path; `core.UserError` if this is no run directory."""
  run = material.read(workdir)
  return pictures.write_bytes(run.workdir / "report.html", render(run).encode())


def render(run: material.Material) -> str:
  """The whole page."""
  name = html.escape(_name(run))
  body = "".join(
    f'<section id="{title.lower().replace(" ", "-")}"><h2>{title}</h2>{content}</section>'
    for title, section in SECTIONS.items()
    if (content := section(run))
  )
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>{name}</title><style>{style.STYLE}</style></head>"
    f'<body><main><header><h1>{name}</h1><p class="lede">{html.escape(summary(run))}</p>'
    f"{_origin(run)}</header>{body}</main></body></html>\n"
  )


def summary(run: material.Material) -> str:
  """What, data, steps, time and machine in one sentence, of what is known."""
  data, model = run.config.get("data") or {}, run.config.get("model") or {}
  text = str(model.get("name", "A model"))
  if data.get("name"):
    kind = f" ({data['kind']})" if data.get("kind") else ""
    text += f" on {data['name']}{kind}"
  if count := _data(run).get("counts", {}).get("train"):
    text += f": {tables.number(count)} training examples"
  if steps := _steps(run):
    text += f", {steps:,} steps"
  if seconds := run.run.get("seconds"):
    text += f" in {duration(seconds)}"
  if rate := run.run.get("steps_per_second"):
    text += f" ({tables.number(round(rate, 1))} steps/s)"
  if run.run.get("devices"):
    text += f" on {_devices(run.run['devices'])}"
  return f"{text}."


def duration(seconds: float) -> str:
  """12.3 -> "12.3 s", 754 -> "12 min 34 s", 7500 -> "2 h 05 min"."""
  if seconds < 59.95:
    return f"{seconds:.3g} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest:02d} s"
  return f"{minutes // 60} h {minutes % 60:02d} min"


def samples(run: material.Material) -> str:
  """The newest picture and what was generated since, and how the pictures came about."""
  newest = [embed.figure(p, f"After step {step:,}") for step, p in run.samples[-1:]]
  newest += [
    embed.figure(files["grid.png"], " | ".join([name, *material.legend(files)]))
    for name, files in run.generated.items()
    if "grid.png" in files
  ]
  out = f'<div class="pair">{"".join(newest)}</div>' if newest else ""
  if len(run.samples) > 1:
    chosen = [run.samples[i] for i in pictures.spread(len(run.samples), THUMBNAILS)]
    thumbs = "".join(embed.figure(path, f"step {step:,}", width=320) for step, path in chosen)
    out += f'<h3>During training, from the same random keys</h3><div class="thumbs">{thumbs}</div>'
  return out


def trajectories(run: material.Material) -> str:
  """From noise to sample: film strip and animation of every set that has them."""
  out = ""
  for name, files in run.generated.items():
    if "strip.png" in files:
      said = f"{name}: time runs from left to right"
      out += embed.figure(files["strip.png"], said, width=1600, kind="strip")
    if "animation.gif" in files:
      out += embed.figure(files["animation.gif"], f"{name}, in motion", kind="motion")
  return out


def curves(run: material.Material) -> str:
  """Metrics over the steps, by objective, every objective's loss before anything else."""
  drawn = {n: p for n, p in run.curves.items() if len(p) > 1}
  order = sorted(drawn, key=lambda n: (not n.endswith("loss"), "/" not in n))
  shown, rest = order[:PANELS], order[PANELS:]
  shared = collections.Counter(n.rpartition("/")[0] for n in shown)
  groups: dict[str, list[str]] = {}
  for name in shown:
    group = name.rpartition("/")[0]
    group = group if shared[group] > 1 else ""
    title = name.removeprefix(f"{group}/")
    panel = _panel(title, drawn[name][-1][1], figures.curve(drawn[name], name))
    groups.setdefault(group, []).append(panel)
  alone = groups.pop("", [])
  out = "".join(f"<h3>{html.escape(g)}</h3>{_panels(panels)}" for g, panels in groups.items())
  out += ("<h3>The rest</h3>" if out else "") + _panels(alone) if alone else ""
  notes = []
  if out:
    notes.append("Over the steps: light as logged, dark smoothed, at the right the last value.")
  if rest:
    notes.append(f"Also logged: {html.escape(', '.join(sorted(rest)))}.")
  if run.unreadable:
    notes.append(f"{run.unreadable} unreadable lines of metrics.jsonl were passed over.")
  return out + (f'<p class="note">{" ".join(notes)}</p>' if notes else "")


def levels(run: material.Material) -> str:
  """Each metric logged at several numbers, averaged over the last tenth of its lines."""
  panels = []
  for name, series in run.levels.items():
    tails = {number: points[-max(1, len(points) // 10) :] for number, points in series.items()}
    means = [(number, sum(v for _, v in tail) / len(tail)) for number, tail in tails.items()]
    if len(means) > 1:
      panels.append(_panel(name, None, figures.spectrum(means, f"{name} by noise level")))
  if not panels:
    return ""
  return _panels(panels) + '<p class="note">Mean over the last tenth of what was logged.</p>'


def metrics(run: material.Material) -> str:
  """The evaluation, beside the same measured between real and real."""
  values = run.evaluation.get("metrics")
  if not values:
    return ""
  facts = {k: tables.number(v) for k, v in run.evaluation.items() if k in FACTS}
  text = html.escape(", ".join(said.format(facts[k]) for k, said in FACTS.items() if k in facts))
  note = f'<p class="note">{text[:1].upper() + text[1:]}.</p>' if text else ""
  return tables.metric_table(values) + note


def reproduce(run: material.Material) -> str:
  """The command, and the commit it belongs to."""
  git, command = run.run.get("git") or {}, run.run.get("command")
  if not command:
    return ""
  text = f"git checkout {git['commit']}\n" if git.get("commit") else ""
  out = f"<pre><code>{html.escape(text + _lines(str(command)))}</code></pre>"
  if git.get("dirty"):
    said = "There were uncommitted changes: the commit alone may not give this run."
    out += f'<p class="note">{said}</p>'
  return out


def config(run: material.Material) -> str:
  """Every setting, folded away; those given on the command line stand out."""
  values = core.flatten(run.config)
  given = core.flatten(run.run.get("overrides") or {})
  given = [key.removeprefix("config.") for key in given]
  marked = [k for k in values if any(k == g or k.startswith(f"{g}.") for g in given)]
  if not values:
    return ""
  said = f"{len(values)} settings" + (f", {len(marked)} from the command line" if marked else "")
  shown = tables.settings_table({k: values[k] for k in marked}, marked) if marked else ""
  table = tables.settings_table(values, marked)
  return f"{shown}<details><summary>{said}</summary>{table}</details>"


def environment(run: material.Material) -> str:
  """Data, sizes, versions and machine."""
  facts = {k: v for k, v in run.run.items() if k not in SHOWN_ELSEWHERE}
  if facts.get("devices"):
    facts["devices"] = _devices(facts["devices"])
  return tables.settings_table(core.flatten(facts)) if facts else ""


SECTIONS: dict[str, Callable[[material.Material], str]] = {
  "Samples": samples,
  "Trajectory": trajectories,
  "Curves": curves,
  "By noise level": levels,
  "Metrics": metrics,
  "How to reproduce": reproduce,
  "Configuration": config,
  "Environment": environment,
}


def _name(run: material.Material) -> str:
  return str(run.run.get("name") or run.workdir.absolute().name)


def _devices(devices: Iterable[str]) -> str:
  """["TPU v4 (tpu:0)", "TPU v4 (tpu:1)"] -> "2 × TPU v4"."""
  counts = collections.Counter(re.sub(r" \(\w+:\d+\)$", "", str(d)) for d in devices)
  return ", ".join(f"{n} × {device}" if n > 1 else device for device, n in counts.items())


def _steps(run: material.Material) -> int:
  """The number of steps made, or the last one that left a trace."""
  if run.run.get("steps"):
    return run.run["steps"]
  logged = [points[-1][0] for points in run.curves.values()]
  return max([*logged, *(step for step, _ in run.samples)], default=0)


def _lines(command: str) -> str:
  """A long command with every flag on a line of its own, fit to be pasted as it is."""
  try:
    words = shlex.split(command)
  except ValueError:
    return command
  if len(command) <= 72 or shlex.join(words) != command:
    return command
  return " ".join(("\\\n  " if w.startswith("--") else "") + shlex.quote(w) for w in words)


def _data(run: material.Material) -> dict[str, Any]:
  return run.run.get("data") or {}


def _origin(run: material.Material) -> str:
  origin = _data(run).get("origin")
  return f'<p class="note">{html.escape(str(origin))}</p>' if origin else ""


def _panels(panels: Iterable[str]) -> str:
  return f'<div class="panels">{"".join(panels)}</div>'


def _panel(title: str, value: float | None, svg: str) -> str:
  last = "" if value is None else f"<span>{tables.number(value)}</span>"
  return f"<figure><figcaption>{html.escape(title)}{last}</figcaption>{svg}</figure>"
