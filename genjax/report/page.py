"""A run as one HTML page that needs no other file: `write(workdir)` -> <workdir>/report.html.

The page shows what was trained, its samples, the training curves, the metrics, all settings, and
the command that makes the run again. All of it comes from the files of the run directory (see
`material`). Pictures are inside the page, and a section whose files are absent is left out.
"""

import collections
import html
import os
import pathlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from genjax import core
from genjax.report import embed, figures, material, pictures, style, tables

# How many training curves are shown; the others are only named.
PANELS = 8
# How many of the pictures taken during training are shown.
THUMBNAILS = 8
# Facts about an evaluation, and how the note under its table words them.
FACTS = {
  "step": "after step {}",
  "average": "parameters: average “{}”",
  "num": "{} samples",
  "seed": "seed {}",
  "split": "against the {} split",
}
# Facts of run.json that other sections show.
SHOWN_ELSEWHERE = ("name", "command", "argv", "overrides", "seconds", "steps", "steps_per_second")


def write(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes report.html and returns its path. Raises UserError if this is no run directory."""
  run = material.read(workdir)
  return pictures.write_bytes(
    run.workdir / "report.html", render(run).encode(errors="backslashreplace")
  )


def render(run: material.Material) -> str:
  """Returns the whole page as HTML."""
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
    f"<body><main><header><h1>{name}</h1>"
    f'<p class="lede">{html.escape(summary(run))}</p>'
    f"{_origin(run)}</header>{body}</main></body></html>\n"
  )


def summary(run: material.Material) -> str:
  """Returns one sentence that names model, data, steps, time and devices, as far as known."""
  data = run.config.get("data") or {}
  model = run.config.get("model") or {}
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
  """Returns a time in words: 12.3 -> "12.3 s", 754 -> "12 min 34 s", 7500 -> "2 h 05 min"."""
  # 59.95 is the first number that ".3g" would write as 60.
  if seconds < 59.95:
    return f"{seconds:.3g} s"

  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest:02d} s"
  return f"{minutes // 60} h {minutes % 60:02d} min"


def samples(run: material.Material) -> str:
  """Returns the section of the newest picture, the sets of samples made since, and older pictures.

  A picture taken during training shows samples from the same random keys at every step.
  """
  newest = [embed.figure(p, f"After step {step:,}") for step, p in run.samples[-1:]]
  for name, files in run.generated.items():
    if "grid.png" in files:
      about = material.about(files)
      caption = " | ".join([name, *about.get("legend", ()), *_assigned(about.get("settings"))])
      newest.append(embed.figure(files["grid.png"], caption))
  out = f'<div class="pair">{"".join(newest)}</div>' if newest else ""

  if len(run.samples) > 1:
    chosen = [run.samples[i] for i in pictures.spread(len(run.samples), THUMBNAILS)]
    thumbs = "".join(embed.figure(path, f"step {step:,}", width=320) for step, path in chosen)
    out += "<h3>During training, from the same random keys</h3>"
    out += f'<div class="thumbs">{thumbs}</div>'
  return out


def trajectories(run: material.Material) -> str:
  """Returns the section of the film strips and animations that lead from noise to samples."""
  out = ""
  for name, files in run.generated.items():
    if "strip.png" in files:
      said = f"{name}: time runs from left to right"
      out += embed.figure(files["strip.png"], said, width=1600, kind="strip")
    if "animation.gif" in files:
      out += embed.figure(files["animation.gif"], f"{name}, in motion", kind="motion")
  return out


def curves(run: material.Material) -> str:
  """Returns the section of the metrics over the steps, grouped by objective, losses first."""
  drawn = {n: p for n, p in run.curves.items() if len(p) > 1}
  # Losses first, and names of an objective ("OBJECTIVE/METRIC") before others.
  order = sorted(drawn, key=lambda n: (not n.endswith("loss"), "/" not in n))
  shown = order[:PANELS]
  rest = order[PANELS:]

  # Two or more panels of one objective stand under its name.
  shared = collections.Counter(n.rpartition("/")[0] for n in shown)
  groups: dict[str, list[str]] = {}
  for name in shown:
    group = name.rpartition("/")[0]
    group = group if shared[group] > 1 else ""
    title = name.removeprefix(f"{group}/")
    panel = _panel(title, drawn[name][-1][1], figures.curve(drawn[name], name))
    groups.setdefault(group, []).append(panel)

  alone = groups.pop("", [])
  out = ""
  for group, panels in groups.items():
    out += f"<h3>{html.escape(group)}</h3>{_panels(panels)}"
  if alone:
    out += ("<h3>The rest</h3>" if out else "") + _panels(alone)

  notes = []
  if out:
    notes.append("Over the steps: light as logged, dark smoothed, at the right the last value.")
  if rest:
    notes.append(f"Also logged: {html.escape(', '.join(sorted(rest)))}.")
  if run.unreadable:
    notes.append(f"{run.unreadable} unreadable lines of metrics.jsonl were passed over.")
  return out + (f'<p class="note">{" ".join(notes)}</p>' if notes else "")


def levels(run: material.Material) -> str:
  """Returns the section of the metrics that are logged at several noise levels, over the level.

  Each value is a mean over the last tenth of what was logged.
  """
  panels = []
  for name, series in run.levels.items():
    means = [(level, _tail_mean(points)) for level, points in series.items()]
    # One level makes no curve.
    if len(means) > 1:
      svg = figures.spectrum(means, f"{name} by noise level")
      panels.append(_panel(name, None, svg))

  if not panels:
    return ""
  return _panels(panels) + '<p class="note">Mean over the last tenth of what was logged.</p>'


def _tail_mean(points: Sequence[tuple[int, float]]) -> float:
  """Returns the mean value of the last tenth of the points (step, value), at least of the last."""
  tail = points[-max(1, len(points) // 10) :]
  return sum(value for _, value in tail) / len(tail)


def metrics(run: material.Material) -> str:
  """Returns the section of the evaluation, and of those made with other settings.

  Each is a table with a note on how the metrics were measured.
  """
  out = _evaluation(run.evaluation)
  for look in run.looks:
    table = _evaluation(look)
    if table:
      settings = html.escape(", ".join(_assigned(look.get("settings"))))
      out += f"<h3>With {settings or 'other settings'}</h3>{table}"
  return out


def _assigned(settings: Mapping[str, Any] | None) -> list[str]:
  """Returns ["key=value", ...]."""
  return [f"{key}={value}" for key, value in (settings or {}).items()]


def _evaluation(evaluation: Mapping[str, Any]) -> str:
  """Returns one table of metrics with its note, "" if there are none."""
  values = evaluation.get("metrics")
  if not values:
    return ""

  facts = {k: tables.number(v) for k, v in evaluation.items() if k in FACTS}
  said = [words.format(facts[k]) for k, words in FACTS.items() if k in facts]
  text = html.escape(", ".join(said))
  note = f'<p class="note">{text[:1].upper() + text[1:]}.</p>' if text else ""
  return tables.metric_table(values) + note


def reproduce(run: material.Material) -> str:
  """Returns the section of the commit and the command that make the run again."""
  git = run.run.get("git") or {}
  command = run.run.get("command")
  if not command:
    return ""

  text = f"git checkout {git['commit']}\n" if git.get("commit") else ""
  out = f"<pre><code>{html.escape(text + _lines(str(command)))}</code></pre>"
  if git.get("dirty"):
    said = "There were uncommitted changes: the commit alone may not give this run."
    out += f'<p class="note">{said}</p>'
  return out


def config(run: material.Material) -> str:
  """Returns the section of the settings: those of the command line, then all, folded away."""
  values = core.flatten(run.config)
  given = core.flatten(run.run.get("overrides") or {})
  given = [key.removeprefix("config.") for key in given]
  # A key may have been given as a whole ("model"), and then marks all settings inside it.
  marked = [k for k in values if any(k == g or k.startswith(f"{g}.") for g in given)]
  if not values:
    return ""

  said = f"{len(values)} settings"
  said += f", {len(marked)} from the command line" if marked else ""
  chosen = {k: values[k] for k in marked}
  shown = tables.settings_table(chosen, marked) if marked else ""
  table = tables.settings_table(values, marked)
  return f"{shown}<details><summary>{said}</summary>{table}</details>"


def environment(run: material.Material) -> str:
  """Returns the section of the data, the sizes of the groups, the versions and the machine."""
  facts = {k: v for k, v in run.run.items() if k not in SHOWN_ELSEWHERE}
  if facts.get("devices"):
    facts["devices"] = _devices(facts["devices"])
  return tables.settings_table(core.flatten(facts)) if facts else ""


# The sections in their order; one that returns "" is left out.
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
  """Returns the name of the run, by default that of its directory."""
  return str(run.run.get("name") or run.workdir.absolute().name)


def _devices(devices: Iterable[str]) -> str:
  """Returns devices counted by kind: ["TPU v4 (tpu:0)", "TPU v4 (tpu:1)"] -> "2 × TPU v4"."""
  counts = collections.Counter(re.sub(r" \(\w+:\d+\)$", "", str(d)) for d in devices)
  return ", ".join(f"{n} × {device}" if n > 1 else device for device, n in counts.items())


def _steps(run: material.Material) -> int:
  """Returns the number of training steps, 0 if nothing tells it."""
  if run.run.get("steps"):
    return run.run["steps"]
  # A run that has not ended: the last step that was logged or drawn.
  logged = [points[-1][0] for points in run.curves.values()]
  return max([*logged, *(step for step, _ in run.samples)], default=0)


def _lines(command: str) -> str:
  """Returns a long command with every flag on its own line, in a form that a shell can read."""
  try:
    words = shlex.split(command)
  except ValueError:
    return command  # not a command that a shell could read

  # A command with shell syntax, such as "&&", is not the same after joining its words again.
  if len(command) <= 72 or shlex.join(words) != command:
    return command
  broken = lambda word: "\\\n  " if word.startswith("--") else ""
  return " ".join(broken(word) + shlex.quote(word) for word in words)


def _data(run: material.Material) -> dict[str, Any]:
  """Returns what run.json says about the data."""
  return run.run.get("data") or {}


def _origin(run: material.Material) -> str:
  """Returns a note that says where the data come from."""
  origin = _data(run).get("origin")
  return f'<p class="note">{html.escape(str(origin))}</p>' if origin else ""


def _panels(panels: Iterable[str]) -> str:
  """Returns panels laid out side by side."""
  return f'<div class="panels">{"".join(panels)}</div>'


def _panel(title: str, value: float | None, svg: str) -> str:
  """Returns a figure with its title and, beside the title, the last value if there is one."""
  last = "" if value is None else f"<span>{tables.number(value)}</span>"
  return f"<figure><figcaption>{html.escape(title)}{last}</figcaption>{svg}</figure>"
