"""Settings and metrics as HTML tables. Every text is escaped here."""

import collections
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# A metric "NAME/ROLE" says something about the metric NAME: its value on real data, the number of
# samples, its standard error, the standard error on real data, its value without parameter average.
ROLES = ("real", "n", "se", "real/se", "raw")


def number(value: Any) -> str:
  """Returns a number in readable form, NaN for None, and anything else as text.

  Thousands are separated by commas, and a fraction has four significant digits.
  """
  if value is None:
    return "NaN"  # as JSON holds what is not finite
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  if not math.isfinite(value):
    return str(value)

  if value == round(value) and abs(value) < 1e15:
    return f"{round(value):,}"
  return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def fold(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """Returns {metric: {role: value}}; the role of the metric's own value is "".

  {"fd/x": 3., "fd/x/real": 1., "fd/x/n": 500} -> {"fd/x": {"": 3., "real": 1., "n": 500}}.
  A name becomes a role only of a metric that is there; "fd/x/real/se" is the "real/se" of "fd/x".
  """
  rows: dict[str, dict[str, Any]] = {}
  for name, value in metrics.items():
    base = _base(name, metrics)
    rows.setdefault(base, {})[name[len(base) + 1 :]] = value
  return rows


def _base(name: str, metrics: Mapping[str, Any]) -> str:
  """Returns the metric that this one says something about, `name` itself if there is none."""
  # Reversed, so that the role "real/se" is tried before the role "se".
  for role in reversed(ROLES):
    base = name.removesuffix(f"/{role}")
    if base != name and base in metrics and _base(base, metrics) == base:
      return base
  return name


def metric_table(metrics: Mapping[str, Any]) -> str:
  """Returns a table with a row for each metric.

  The columns are the value, the value without parameter average, the value that real data reach,
  and the number of samples; a standard error stands beside its value. Empty columns are left out.

  Metrics that share the first part of their names stand together under it. Likelihoods, such as
  "nats/elbo/lower bound/8-bit", stand together only if they are of the same kind and measure.
  """
  rows = fold(metrics)
  titles = {"": "value", "raw": "without average", "real": "real vs real", "n": "samples"}
  # The column of the values, and the columns that at least one metric fills.
  columns = [c for c in titles if c == "" or any(c in row for row in rows.values())]

  # "" is the group of the metrics that share their first part with no other; it comes first.
  groups: dict[str, list[str]] = {"": []}
  shared = collections.Counter(map(_group, rows))

  for name, row in rows.items():
    group = _group(name) if shared[_group(name)] > 1 else ""
    # The group of a likelihood names all parts but the second, see `_group`.
    label = name.split("/")[1] if ", " in group else name.removeprefix(f"{group}/")
    cells = "".join(f"<td>{_cell(row, column)}</td>" for column in columns)
    line = f"<tr><th scope=row>{_breakable(label)}</th>{cells}</tr>"
    groups.setdefault(group, []).append(line)

  head = "".join(f"<th scope=col>{titles[c]}</th>" for c in columns)
  span = len(columns) + 1
  body = "".join(_body(group, lines, span) for group, lines in groups.items() if lines)
  return _scroll(f"<table class=numbers><thead><tr><td></td>{head}</tr></thead>{body}</table>")


def settings_table(settings: Mapping[str, Any], marked: Iterable[str] = ()) -> str:
  """Returns a table with a row for each setting; the `marked` keys stand out."""
  marked = set(marked)
  rows = "".join(
    f"<tr{' class=marked' if key in marked else ''}>"
    f"<th scope=row>{_breakable(key)}</th>"
    f"<td>{html.escape(_text(value))}</td></tr>"
    for key, value in settings.items()
  )
  return _scroll(f"<table class=settings><tbody>{rows}</tbody></table>")


def _body(group: str, rows: Sequence[str], span: int) -> str:
  """Returns the <tbody> of one group, under a title across `span` columns if it has a name."""
  title = f"<th colspan={span}>{html.escape(group)}</th>"
  title = f"<tr class=group>{title}</tr>" if group else ""
  return f"<tbody>{title}{''.join(rows)}</tbody>"


def _group(name: str) -> str:
  """Returns the group of a metric.

  "fd/x" -> "fd", "x" -> "", and for a likelihood "nats/elbo/lower bound/8-bit" -> "nats, lower
  bound, 8-bit".
  """
  first, *rest = name.split("/")
  if len(rest) == 3:
    return ", ".join((first, *rest[1:]))
  return first if rest else ""


def _cell(row: Mapping[str, Any], column: str) -> str:
  """Returns a value with its standard error if there is one, "" if there is no value."""
  if column not in row:
    return ""

  error = row.get(f"{column}/se" if column else "se")
  spread = "" if error is None else f" <small>± {html.escape(number(error))}</small>"
  return html.escape(number(row[column])) + spread


def _text(value: Any) -> str:
  """Returns a setting in readable form."""
  if isinstance(value, str):
    return value or "(empty)"
  if isinstance(value, Sequence):
    return ", ".join(_text(v) for v in value) or "(none)"
  if isinstance(value, int | float) and not isinstance(value, bool):
    large = isinstance(value, int) and abs(value) >= 10_000
    return f"{value:,}" if large else repr(value)
  if isinstance(value, bool):
    return "yes" if value else "no"
  return str(value) if value else "(none)"  # None, {}


def _breakable(key: str) -> str:
  """Returns a name that a narrow screen may break after its dots and slashes."""
  return re.sub(r"([./])", r"\1<wbr>", html.escape(key))


def _scroll(table: str) -> str:
  """Returns a table that scrolls sideways where the screen is narrower, also by keyboard."""
  return f'<div class="scroll" tabindex="0">{table}</div>'
