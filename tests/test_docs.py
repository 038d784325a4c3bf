"""Pages, docstrings and docs/results.json say the same numbers, and links lead somewhere.

A docstring says a value of the tables if one of its numbers is the value of docs/results.json,
rounded to the digits that the docstring prints. These are at least as many as in the tables; only a
percentage may be whole. An error after "±" must be the rounded standard error. Where a line of the
docstring begins with the name of the variant, "(none)" for no variant, and a number, the value must
be in such a line.
"""

import ast
import json
import re

import pytest

from docs import gather

ROOT = gather.README.parent
RUNS = json.loads(gather.RESULTS.read_text(encoding="utf-8"))["runs"]
ENTRIES = {entry["name"]: entry for entry in RUNS}
PAGES = sorted([gather.README, *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*/README.md")])
NUMBER = re.compile(r"(?<![\w.,])-?([\d,]*\.?\d+)( %)?(?: ± ([\d,]*\.?\d+))?(?![\w.]*\d)")
TIME = re.compile(r"\b(?:(\d+) min)?(?:\s*\b(\d+) s)?\b")


def docstring(entry):
  return ast.get_docstring(ast.parse((ROOT / entry["config"]).read_text(encoding="utf-8")))


def lines_of(text, variant):
  """Returns the lines of a variant in a table of the docstring, or the whole docstring."""
  begins = re.compile(rf"\s*{re.escape(variant or '(none)')}\s+[-\d.]")
  return "\n".join(filter(begins.match, text.splitlines())) or text


def agrees(printed, value, least=0):
  """Whether a printed number has `least` decimals or more and is the value rounded to them."""
  decimals = len(printed.partition(".")[2])
  return decimals >= least and float(printed.replace(",", "")) == float(f"{value:.{decimals}f}")


def says(text, form, value, se=None):
  """Whether a text says a value, see the docstring of this file."""
  percent = "%" in form
  least = 0 if percent else int(form[1])
  scale = 100 if percent else 1
  for number, sign, error in NUMBER.findall(" ".join(text.split())):
    right = bool(sign) == percent and agrees(number, scale * value, least)
    if right and (not error or se is None or agrees(error, scale * se)):
      return True
  return False


def test_tables_are_those_of_the_results():
  pages = zip((gather.PAGE, gather.README), ("table", "results"), gather.tables(RUNS))
  for page, name, table in pages:
    shown = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", page.read_text("utf-8"), re.DOTALL)
    assert shown and shown[1] == table, f"{page} is old; write it by: python docs/gather.py"


@pytest.mark.parametrize("row", gather.ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_docstring_says_the_number(row):
  name, _, metric, form, _ = row
  entry = ENTRIES[name]
  value, se = (entry["metrics"].get(key) for key in (metric, f"{metric}/se"))
  text = lines_of(docstring(entry), entry["variant"])
  shown = gather.show(value, form, se)
  assert says(text, form, value, se), f"{entry['config']} does not say {metric} = {shown}"


@pytest.mark.parametrize("name", dict.fromkeys(r[0] for r in gather.ROWS if r[0] != gather.LOOK))
def test_docstring_says_the_training_time(name):
  entry = ENTRIES[name]
  said = [(m, s) for m, s in TIME.findall(docstring(entry)) if m or s]
  times = [int(s) + 60 * int(m or 0) for m, s in said if s]
  minutes = [int(m) for m, s in said if not s]
  seconds = entry["seconds"]
  assert round(seconds) in times or round(seconds / 60) in minutes, gather.duration(seconds)


@pytest.mark.parametrize("entry", RUNS, ids=lambda entry: entry["name"])
def test_entry_is_complete(entry):
  assert re.fullmatch(r"[0-9a-f]{40}", entry["commit"]) and entry["machine"] and entry["metrics"]
  assert entry["seconds"] > 0 and isinstance(entry["seed"], int)
  if entry["recorded"]:
    assert set(entry["data"]["hash"]) == {"train", "valid", "test"} == set(entry["data"]["counts"])
    assert entry["split"] == "test" and entry["step"] == entry["steps"]
  for name, _, metric, _, label in gather.ROWS:
    if name == entry["name"]:
      assert entry["metrics"][f"{metric}/n"] > 0
      assert {metric, gather.reference(metric, label)} <= {"", *entry["metrics"]}


def anchors(page):
  """Returns the names that GitHub gives to the headings of a page."""
  heads = re.findall(r"^#+ +(.*)$", page.read_text("utf-8"), re.MULTILINE)
  plain = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", head).lower() for head in heads)
  return {re.sub(r"[^\w\- ]", "", head).strip().replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
  # Code is not a link, whatever brackets it has.
  text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
  for link in re.findall(r"\]\(([^)\s]+)\)", text):
    path, _, anchor = link.partition("#")
    if ":" in path:
      continue
    target = page.parent / path if path else page
    assert target.exists(), f"{link}: there is no {path}"
    if anchor and target.suffix == ".md":
      assert anchor in anchors(target), f"{link}: no heading of this name"


@pytest.fixture
def finished(tmp_path):
  """Returns a function that writes the files of a finished run, with some of them changed."""

  def write(command="--config=configs/new.py:a", run=(), measured=(), name="new-a"):
    made = {
      "seed": 0,
      "command": f"python -m genjax.main {command}",
      "overrides": {},
      "started": "2030-01-01T00:00:00+00:00",
      "machine": "x86_64, 2 cores, Linux",
      "git": {"commit": "0" * 40, "dirty": False},
      "devices": ["cpu (cpu:0)"],
      "data": {"name": "toy", "hash": {"train": "1"}, "counts": {"train": 9}, "licence": "none"},
      "sessions": [],
      "seconds": 3.2,
      "steps": 20,
    }
    looked = {"step": 20, "average": "raw", "split": "test", "metrics": {"mse": 0.5, "mse/n": 9}}
    files = {"run": made | dict(run), "eval": looked | dict(measured), "config": {"steps": 20}}
    (tmp_path / name).mkdir()
    for file, content in files.items():
      (tmp_path / name / f"{file}.json").write_text(json.dumps(content))
    return tmp_path / name

  return write


def test_a_finished_run_is_an_entry(finished):
  (entry,) = gather.gather(finished())
  assert entry["name"] == "new:a" and entry["config"] == "configs/new.py"
  assert entry["machine"] == "x86_64, 2 cores, Linux, cpu (cpu:0)" and entry["recorded"]
  assert entry["data"] == {"name": "toy", "hash": {"train": "1"}, "counts": {"train": 9}}
  assert entry["metrics"] == {"mse": 0.5, "mse/n": 9} and entry["seconds"] == 3.2


def test_a_look_that_the_tables_show_is_an_entry_of_its_own(finished):
  key = "bits/flow-given-label/lower-bound/8-bit"
  shown = {"legible/mnist-b5d5c364": 1, "fd/mnist-b5d5c364": 1}
  shown |= {f"{name}/real": 1 for name in shown}
  workdir = finished("--config=ddpm_mnist", measured={"metrics": shown}, name="ddpm_mnist")
  look = json.loads((workdir / "eval.json").read_text())
  look["settings"] = {"num": 200, "metrics": ["likelihood"]}
  look["metrics"] = {key: 2.0, "bits/independent/exact/8-bit": 1.0}
  (workdir / "eval-1a2b3c.json").write_text(json.dumps(look))
  (workdir / "eval-4d5e6f.json").write_text(json.dumps(look | {"settings": {"num": 9}}))
  assert [entry["name"] for entry in gather.gather(workdir)] == ["ddpm_mnist", gather.LOOK]


@pytest.mark.parametrize(
  "changed, why",
  [
    (dict(command="--workdir=x"), "no --config"),
    (dict(run={"overrides": {"seed": 1}}), "overrides"),
    (dict(run={"sessions": [{"command": "x --config=a.py --config.steps=9"}]}), "overrides"),
    (dict(command="--config=configs/new.py:a+smoke"), "smoke"),
    (dict(run={"git": {}}), "no commit"),
    (dict(run={"steps": 10}), "10 of 20 steps"),
    (dict(measured={"step": 10}), "of step 10"),
    (dict(measured={"settings": {"num": 9}}), "other settings"),
    (dict(command="--config=configs/gmm_moons.py"), "lacks nats/density/exact/continuous"),
  ],
)
def test_what_is_not_published_is_refused(changed, why, finished):
  with pytest.raises(ValueError, match=why):
    gather.gather(finished(**changed))


def test_a_refused_run_changes_nothing(finished, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(gather, "RESULTS", tmp_path / "results.json")
  monkeypatch.setattr(gather, "PAGE", tmp_path / "results.md")
  monkeypatch.setattr(gather, "README", tmp_path / "README.md")
  gather.RESULTS.write_text(json.dumps({"runs": RUNS}))
  gather.PAGE.write_text("<!-- table -->\n<!-- end -->\n")
  gather.README.write_text("no table\n")

  finished()
  (finished(name="unmeasured") / "eval.json").unlink()
  assert gather.main([str(tmp_path)]) == 2
  assert "unmeasured has no eval.json" in capsys.readouterr().err
  names = [entry["name"] for entry in json.loads(gather.RESULTS.read_text())["runs"]]
  assert names == sorted([*ENTRIES, "new:a"]) and gather.README.read_text() == "no table\n"
  assert gather.tables(RUNS)[0] in gather.PAGE.read_text()


def test_one_rule_for_numbers():
  assert says("at most 2.111 ± 0.011 bits", ".2f", 2.1113, 0.0108)
  assert says("mean square error .0037 of 500", ".4f", 0.00371, 0.0002)
  assert says("ELBO -106.8 ± 1.2 nats", ".1f", 106.83, 1.17)
  assert says("97 %, says a classifier", ".1%", 0.974) and says("97.4 %", ".1%", 0.974)
  assert not says("2.1 bits", ".2f", 2.1)
  assert not says("2.112 bits", ".2f", 2.1113)
  assert not says("2.11 ± 0.02", ".2f", 2.1113, 0.0108)
  assert not says("97 pictures", ".1%", 0.974)
  assert not says("12.11 or 2.115", ".2f", 2.11)
