"""Nested settings and flat metrics as HTML tables; every text is escaped here."""

import collections
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROLES = ("real", "n", "se", "real/se", "raw")  # what one metric may say about another


def number(value: Any) -> str:
  """A number as one reads it: 4 significant digits, thousands apart; anything else as it is."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  if not math.isfinite(value):
    return str(value)
  if value == round(value) and abs(value) < 1e15:
    return f"{round(value):,}"
  return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def fold(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """{"fd/x": 3., "fd/x/real": 1., "fd/x/n": 500} -> {"fd/x": {"": 3., "real": 1., "n": 500}}.

  A name folds only into a metric that is there; "fd/x/real/se" is the "real/se" of "fd/x".
  """
  rows: dict[str, dict[str, Any]] = {}
  for name, value in metrics.items():
    base = _base(name, metrics)
    rows.setdefault(base, {})[name[len(base) + 1 :]] = value
  return rows


def _base(name: str, metrics: Mapping[str, Any]) -> str:
  """The metric that this one says something about, itself if there is none."""
  for role in reversed(ROLES):
    base = name.removesuffix(f"/{role}")
    if base != name and base in metrics and _base(base, metrics) == base:
      return base
  return name


def metric_table(metrics: Mapping[str, Any]) -> str:
  """One table: value, the same measured on real data, the number of samples.

  Names that share their first part stand together under it; of likelihoods, "nats/elbo/lower
  bound/8-bit", only those of the same kind and measure.
  """
  rows = fold(metrics)
  columns = [
    c for c in ("", "raw", "real", "n") if c == "" or any(c in row for row in rows.values())
  ]
  titles = {"": "value", "raw": "without average", "real": "real vs real", "n": "samples"}
  groups: dict[str, list[str]] = {"": []}
  shared = collections.Counter(map(_group, rows))
  for name, row in rows.items():
    group = _group(name) if shared[_group(name)] > 1 else ""
    label = name.split("/")[1] if ", " in group else name.removeprefix(f"{group}/")
    cells = "".join(f"<td>{_cell(row, column)}</td>" for column in columns)
    line = f"<tr><th scope=row>{_breakable(label)}</th>{cells}</tr>"
    groups.setdefault(group, []).append(line)
  head = "".join(f"<th scope=col>{titles[c]}</th>" for c in columns)
  body = "".join(
    "<tbody>"
    + (f"<tr class=group><th colspan={len(columns) + 1}>{html.escape(g)}</th></tr>" if g else "")
    + "".join(lines)
    + "</tbody>"
    for g, lines in groups.items()
    if lines
  )
  return _scroll(f"<table class=numbers><thead><tr><td></td>{head}</tr></thead>{body}</table>")


def settings_table(settings: Mapping[str, Any], marked: Iterable[str] = ()) -> str:
  """Key and value, a row each; the `marked` keys stand out."""
  marked = set(marked)
  rows = "".join(
    f"<tr{' class=marked' if key in marked else ''}><th scope=row>{_breakable(key)}</th>"
    f"<td>{html.escape(_text(value))}</td></tr>"
    for key, value in settings.items()
  )
  return _scroll(f"<table class=settings><tbody>{rows}</tbody></table>")


def _group(name: str) -> str:
  first, *rest = name.split("/")
  return ", ".join((first, *rest[1:])) if len(rest) == 3 else first if rest else ""


def _cell(row: Mapping[str, Any], column: str) -> str:
  if column not in row:
    return ""
  error = row.get(f"{column}/se" if column else "se")
  spread = "" if error is None else f" <small>± {html.escape(number(error))}</small>"
  return html.escape(number(row[column])) + spread


def _text(value: Any) -> str:
  if isinstance(value, str):
    return value or "(empty)"
  if isinstance(value, Sequence):
    return ", ".join(_text(v) for v in value) or "(none)"
  if isinstance(value, int | float) and not isinstance(value, bool):
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else repr(value)
  if isinstance(value, bool):
    return "yes" if value else "no"
  return str(value) if value else "(none)"  # None, {}


def _breakable(key: str) -> str:
  """A name that may be broken after its dots and slashes, to fit narrow screens."""
  return re.sub(r"([./])", r"\1<wbr>", html.escape(key))


def _scroll(table: str) -> str:
  return f'<div class="scroll" tabindex="0">{table}</div>'
