"""The report of a run as one HTML page, and images of samples."""

import html.parser
import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from genjax import core
from genjax.report import embed, figures, material, page, pictures, tables

HOSTILE = '</title><script>alert("1")</script>$\\frac&amp;{'


def images(n, size=5, channels=1, levels=256):
  return np.random.default_rng(n).integers(0, levels, (n, size, size, channels), np.uint8)


@pytest.fixture
def workdir(tmp_path):
  """A run directory with all its parts."""
  root = tmp_path / "toy"
  for step in range(0, 1000, 50):
    pictures.save_png(root / f"samples/step_{step:08d}.png", pictures.grid(images(6)))
  made = root / "generated/ddim"
  pictures.save_png(made / "grid.png", pictures.grid(images(6)))
  pictures.save_png(made / "strip.png", pictures.strip(np.stack([images(6)] * 3)))
  pictures.save_gif(made / "animation.gif", np.stack([*images(3)]))
  lines = [
    {"step": s, "time": 1.0, "net/loss": 1 / s, "net/loss@0.25": s, "net/loss@0.75": 2 * s}
    for s in range(1, 101)
  ]
  (root / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  write(root / "config.json", {"model": {"name": "flow", "width": 3}, "data": {"name": "moons"}})
  write(root / "eval.json", {"step": 100, "metrics": {"fd/net": 3.25, "fd/net/real": 1.5}})
  run = {"name": "toy", "command": "python -m genjax.main --config=x.py", "devices": ["cpu"]}
  write(root / "run.json", run | {"overrides": {"model.width": 3}, "git": {"commit": "abc"}})
  return root


def write(path, value):
  path.write_text(json.dumps(value))


class Reader(html.parser.HTMLParser):
  """Collects tags, links and text; asserts that open tags are closed in order."""

  VOID = {"meta", "img", "wbr", "br"}

  def __init__(self, text):
    super().__init__()
    self.tags, self.links, self.labels, self.open, self.text = [], [], [], [], ""
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    assert not [k for k, _ in attrs if k.startswith("on")]
    self.labels += [v for k, v in attrs if k == "aria-label"]
    names = ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    self.links += [v for k, v in attrs if k in names]
    self.links += [u for k, v in attrs if k == "style" for u in re.findall(r"url\((.*?)\)", v)]
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in self.VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def headings(text):
  return re.findall(r"<h2>(.*?)</h2>", text)


def test_page_is_whole_and_needs_nothing_else(workdir):
  path = page.write(workdir)
  assert path == workdir / "report.html"
  text = path.read_text()
  reader = Reader(text)
  assert reader.links
  assert all(link.startswith(("data:image/", "#")) for link in reader.links)
  assert "script" not in reader.tags and "link" not in reader.tags
  assert "@import" not in text and "http" not in re.sub(r"base64,[\w+/=]*", "", text)
  assert headings(text) == list(page.SECTIONS)
  assert reader.tags.count("img") == 1 + 1 + page.THUMBNAILS + 2
  assert "3.25" in reader.text and "git checkout abc" in reader.text
  ids = re.findall(r'\bid="([^"]*)"', text)
  assert len(ids) == len(set(ids))


def test_same_files_same_page(workdir):
  assert page.render(material.read(workdir)) == page.render(material.read(workdir))


def test_hostile_names_are_only_text(workdir):
  clean = Reader(page.write(workdir).read_text()).tags
  config = {"model": {"name": HOSTILE, HOSTILE: [HOSTILE]}, "data": {"name": HOSTILE}}
  write(workdir / "config.json", config)
  run = {k: HOSTILE for k in ("name", "command", "python", HOSTILE)}
  data = {"origin": HOSTILE, "counts": {"train": HOSTILE}}
  run |= {"devices": [HOSTILE], "git": {"commit": HOSTILE}, "data": data}
  write(workdir / "run.json", run | {"steps_per_second": 1.0, "overrides": {HOSTILE: HOSTILE}})
  evaluation = dict.fromkeys(("average", "seed", "num", "step", "split"), HOSTILE)
  write(workdir / "eval.json", evaluation | {"metrics": {HOSTILE: HOSTILE, f"{HOSTILE}/n": 1}})
  lines = [{"step": s, HOSTILE: 1.0 + s, f"{HOSTILE}@1": 2.0, f"{HOSTILE}@2": 1.0} for s in (1, 2)]
  (workdir / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
  (workdir / "generated/ddim").rename(workdir / "generated/<b onclick=x>&quot;")
  reader = Reader(page.write(workdir).read_text())
  assert set(reader.tags) <= {*clean, "p", "small"}
  assert reader.text.count(HOSTILE) >= 13


PARTS = {
  "samples": "Samples",
  "generated": "Trajectory",
  "metrics.jsonl": "Curves",
  "eval.json": "Metrics",
  "run.json": "How to reproduce",
}


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_leaves_its_section_out(workdir, part):
  """Samples also stand under generated/, so there both go."""
  for name in {part, "generated"} if part == "samples" else {part}:
    (workdir / name).rename(workdir / f"{name}.away")
  text = page.write(workdir).read_text()
  assert PARTS[part] not in headings(text) and headings(text)


def test_config_alone_is_a_run(tmp_path):
  write(tmp_path / "config.json", {"steps": 3})
  assert headings(page.write(tmp_path).read_text()) == ["Configuration"]


def test_the_note_of_the_metrics_says_how_they_were_measured(workdir):
  facts = {"step": 1000, "average": "slow", "num": 5000, "seed": 0, "split": "valid"}
  write(workdir / "eval.json", facts | {"metrics": {"fd/net": 3.25}})
  said = (
    "After step 1,000, parameters: average “slow”, 5,000 samples, seed 0, against the valid split."
  )
  assert said in Reader(page.metrics(material.read(workdir))).text


def test_no_run_directory(workdir):
  with pytest.raises(core.UserError, match=r"holds no config\.json"):
    page.write(workdir / "samples")
  with pytest.raises(core.UserError, match=r"does not exist; run directories beside it: toy"):
    page.write(workdir.parent / "tow")
  (workdir / "eval.json").write_text('{"metrics": ')
  with pytest.raises(core.UserError, match=r"eval\.json is not JSON"):
    page.write(workdir)
  (workdir / "eval.json").write_text("[1]")
  with pytest.raises(core.UserError, match="holds a list, expected an object"):
    page.write(workdir)


def test_lines_of_a_killed_and_resumed_run(workdir):
  lines = ['{"step": 1, "a": 1.0}', '{"step": 2, "a": 2.0}', '{"step": 3, "a": 3.0}']
  lines += ['{"step": 3, "a"', '{"step": 2, "a": 5.0, "b": 1}', '{"step": 4, "a": NaN}', '{"st']
  (workdir / "metrics.jsonl").write_text("\n".join(lines))
  run = material.read(workdir)
  assert run.curves == {"a": [(1, 1.0), (2, 5.0), (3, 3.0)], "b": [(2, 1.0)]}
  assert run.unreadable == 1  # the half line in the middle, not the one at the end
  assert "1 unreadable" in page.render(run)


def test_levels_are_the_last_tenth(workdir, monkeypatch):
  seen = []
  monkeypatch.setattr(figures, "spectrum", lambda points, label: seen.append(points) or "")
  run = material.read(workdir)
  assert set(run.curves) == {"net/loss"} and set(run.levels["net/loss"]) == {0.25, 0.75}
  page.levels(run)
  mean = sum(range(91, 101)) / 10
  assert seen == [[(0.25, mean), (0.75, 2 * mean)]]


def test_fold():
  metrics = {"a/n": 5, "a": 1.0, "a/real": 2.0, "a/real/se": 0.5, "a/se": 0.25, "b/n": 3, "real": 4}
  metrics |= {"a/real/n": 7}  # of a role without a column, so a row of its own
  folded = tables.fold(metrics)
  row = {"": 1.0, "n": 5, "real": 2.0, "real/se": 0.5, "se": 0.25}
  assert folded == {"a": row, "b/n": {"": 3}, "real": {"": 4}, "a/real/n": {"": 7}}
  assert sum(map(len, folded.values())) == len(metrics)


def test_metric_table():
  metrics = {"fd/x": 3.0, "fd/x/se": 0.5, "fd/y": 2.0, "fd/x/real": 1.0, "fd/x/n": 5000}
  bounds = {"nats/elbo/lower bound/8-bit": 7.5, "nats/exact/exact/8-bit": 6.5, "legible": 0.5}
  cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", tables.metric_table(metrics | bounds))
  cells = [re.sub(r"<.*?>", "", cell) for cell in cells]
  rows = [cells[i : i + 4] for i in range(0, 16, 4)]
  assert rows[0] == ["", "value", "real vs real", "samples"]
  assert ["legible", "0.5", "", ""] in rows  # before the groups
  assert rows[1:3] == [  # a bound and an exact value share no group
    ["nats/elbo/lower bound/8-bit", "7.5", "", ""],
    ["nats/exact/exact/8-bit", "6.5", "", ""],
  ]
  assert cells[16:] == ["fd", "x", "3 ± 0.5", "1", "5,000", "y", "2", "", ""]


def test_flatten_and_numbers():
  assert core.flatten({"a": {"b": {"c": 1}, "d": {}}, "e": ()}) == {
    "a.b.c": 1,
    "a.d": {},
    "e": (),
  }
  said = {
    1834241: "1,834,241",
    0.00123456: "0.001235",
    3e-9: "3e-09",
    12345.6: "12,346",
    -2.5: "-2.5",
  }
  assert {value: tables.number(value) for value in said} == said
  assert tables.number(float("nan")) == "nan" and tables.number(True) == "True"
  assert [page.duration(s) for s in (2, 754, 7500)] == ["2 s", "12 min 34 s", "2 h 05 min"]


def test_long_commands_are_broken_before_flags(workdir):
  words = ["python", "-m", "genjax.main", f"--config={'x' * 60}", "--config.note=a --b 'c'", "y"]
  run = material.read(workdir)
  run.run["command"] = shlex.join(words)
  shown = Reader(page.reproduce(run)).text.splitlines()
  assert shown[0] == "git checkout abc" and len(shown) == 4
  assert shlex.split("\n".join(shown[1:]).replace("\\\n", "")) == words  # as a shell reads it
  run.run["command"] = two = f"cd {'x' * 80} && python 'half"
  assert Reader(page.reproduce(run)).text.splitlines()[1] == two


def test_summary(workdir):
  assert page.summary(material.read(workdir)) == "flow on moons, 950 steps on cpu."
  run = json.loads((workdir / "run.json").read_text())
  run |= {"devices": [f"TPU v4 (tpu:{i})" for i in range(4)], "steps": 1000, "seconds": 61}
  run |= {"data": {"counts": {"train": 4000}}, "steps_per_second": 16.4}
  write(workdir / "run.json", run)
  said = "flow on moons: 4,000 training examples, 1,000 steps in 1 min 01 s (16.4 steps/s)"
  assert page.summary(material.read(workdir)) == f"{said} on 4 × TPU v4."


def test_overrides_stand_out(workdir):
  rows = re.findall(r"<tr class=marked>.*?</tr>", page.config(material.read(workdir)))
  assert len(rows) == 2 and all(
    "model.<wbr>width" in row for row in rows
  )  # above, and in its place


def test_smooth():
  line = 3.0 + 0.5 * np.arange(40)
  np.testing.assert_allclose(figures.smooth(line, 2)[8:-8], line[8:-8])  # symmetric weights
  np.testing.assert_allclose(figures.smooth(np.full(9, 2.0), 5), 2.0)  # ends included
  noise = np.random.default_rng(0).normal(size=4000)
  s = 8  # variance of a Gaussian mean of independent values: 1 / (2 s sqrt(pi))
  assert abs(figures.smooth(noise, s).var() * 2 * s * np.pi**0.5 - 1) < 0.25


@pytest.mark.parametrize("values", [[1.0, 1.0], [-1.0, 1e9, 2.0], [1e-8, 1.0, 1e8], [0.0, 0.0]])
def test_curves_draw_anything_finite(values):
  svg, other = (figures.curve(list(enumerate(values)), label) for label in (HOSTILE, "b"))
  assert Reader(svg).labels == [HOSTILE]
  assert not set(re.findall('id="(.*?)"', svg)) & set(re.findall('id="(.*?)"', other))
  assert "var(--accent)" in svg and not re.search(r"#[0-9a-f]{6}\b", svg)


@pytest.mark.parametrize(
  ("n", "columns", "shape"), [(5, 3, (11, 17)), (2, 8, (5, 11)), (1, 1, (5, 5))]
)
def test_grid_geometry(n, columns, shape):
  x = images(n, channels=3)
  picture = pictures.grid(x, columns)
  assert picture.shape == (*shape, 3) and picture.dtype == np.uint8
  for i in range(n):
    row, column = divmod(i, min(n, columns))
    np.testing.assert_array_equal(picture[6 * row :, 6 * column :][:5, :5], x[i])
    picture[6 * row :, 6 * column :][:5, :5] = pictures.SHADE
  assert (picture == pictures.SHADE).all()  # gaps and unfilled places


def test_strip_runs_to_the_right():
  frames = np.stack([images(4)] * 7) // 8 * 0 + np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1, 1)
  picture = pictures.strip(frames, rows=2, columns=3)
  assert picture.shape == (11, 17, 1)
  assert picture[0, ::6, 0].tolist() == picture[6, ::6, 0].tolist() == [0, 3, 6]


def test_levels_fill_the_range():
  assert pictures.to_bytes(np.array([0, 1]), 2).tolist() == [0, 255]
  assert pictures.to_bytes(np.arange(17), 17)[[0, 8, 16]].tolist() == [0, 128, 255]
  every = np.arange(256, dtype=np.uint8)
  np.testing.assert_array_equal(pictures.to_bytes(every), every)
  with pytest.raises(ValueError, match="integer"):
    pictures.to_bytes(np.zeros(3))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip_is_exact(tmp_path, channels):
  picture = pictures.grid(images(5, channels=channels))
  path = pictures.save_png(tmp_path / "deep/x.png", picture, scale=3)
  read = np.asarray(Image.open(path)).reshape(picture.shape[0] * 3, -1, channels)
  for i in range(3):
    for j in range(3):
      np.testing.assert_array_equal(read[i::3, j::3], picture)
  again = pictures.save_png(tmp_path / "y.png", picture, scale=3)
  assert path.read_bytes() == again.read_bytes()
  assert [p.name for p in path.parent.iterdir()] == ["x.png"]  # nothing left beside it


def test_small_pictures_are_enlarged(tmp_path):
  path = pictures.save_png(tmp_path / "x.png", images(1, size=28)[0])
  assert pictures.WIDTH - 28 < Image.open(path).width <= pictures.WIDTH
  assert pictures.enlarge(np.zeros((4, 5000, 1), np.uint8)).shape == (4, 5000, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_gif(tmp_path, channels):
  frames = images(6, channels=channels)
  path = pictures.save_gif(tmp_path / "x.gif", frames, ms=50, pause=900, scale=2)
  with Image.open(path) as gif:
    assert gif.n_frames == 6 and gif.info["loop"] == 0 and gif.size == (10, 10)
    times = []
    for i in range(6):
      gif.seek(i)
      times.append(gif.info["duration"])
      shown = np.asarray(gif.convert("RGB"))[::2, ::2]
      assert np.abs(shown - np.asarray(frames[i], int)).max() <= (0 if channels == 1 else 8)
  assert times == [50] * 5 + [950]


def test_gif_keeps_a_white_ground(tmp_path):
  """Though there are more colours than a palette holds."""
  points = np.random.default_rng(0).normal(size=(4, 500, 2))
  frames = np.stack([pictures.scatter(p, points[0], (-3, 3, -3, 3)) for p in points])
  with Image.open(pictures.save_gif(tmp_path / "x.gif", frames)) as gif:
    shown = np.asarray(gif.convert("RGB"), int)
  assert (shown[frames[0].min(axis=-1) == 255] == 255).all()
  assert (
    len(np.unique(frames.reshape(-1, 3), axis=0)) > 256 and np.abs(shown - frames[0]).max() < 16
  )


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
  path = pictures.write_bytes(tmp_path / "x", b"old")

  def fail(*_):
    raise OSError("no space left")

  monkeypatch.setattr(pictures.os, "replace", fail)
  with pytest.raises(OSError, match="no space"):
    pictures.write_bytes(path, b"new")
  assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_scatter():
  points = np.random.default_rng(0).normal(size=(3, 50, 2))
  picture = pictures.scatter(points, reference=points[0], pixels=90)
  assert picture.shape == (90, 270, 3) and picture.dtype == np.uint8
  np.testing.assert_array_equal(picture, pictures.scatter(points, points[0], pixels=90))
  limits = (-1.0, 1.0, -1.0, 1.0)
  corner = pictures.scatter(np.full((1, 2), 0.9), limits=limits, pixels=90).min(axis=-1) < 200
  rows, columns = np.nonzero(corner)
  assert len(rows) and rows.max() < 20 and columns.min() > 70  # up is up, right is right
  assert pictures.scatter(points[..., :1], pixels=90).shape == (90, 270, 3)


def test_box_holds_the_points_and_not_the_stray():
  points = np.random.default_rng(0).uniform(-1, 3, (1000, 2))
  points[:3] = [[np.inf], [1e9], [np.nan]]
  x0, x1, y0, y1 = pictures.box(points)
  assert np.isclose(x1 - x0, y1 - y0)  # a square
  assert -2 < x0 < -1 and 3 < x1 < 4 and -2 < y0 < -1 and 3 < y1 < 4
  assert np.isfinite(pictures.box(np.full((3, 2), np.nan))).all()


def test_heavy_and_broken_pictures(tmp_path):
  x = images(30, size=180)
  heavy = pictures.save_png(tmp_path / "heavy.png", pictures.grid(x, 5), scale=1)
  assert heavy.stat().st_size > embed.HEAVY
  assert (
    "data:image/webp" in embed.figure(heavy) and len(embed.figure(heavy)) < heavy.stat().st_size
  )
  film = pictures.save_gif(tmp_path / "film.gif", x[:20], scale=1)
  film = embed.figure(film)
  assert "data:image/webp" in film and len(film) < embed.HOPELESS * 4 / 3 + 200
  cut = tmp_path / "cut.png"
  cut.write_bytes(heavy.read_bytes()[:5000])
  assert "cut.png cannot be read" in embed.figure(cut) and "<img" not in embed.figure(cut)


def test_pictures_say_what_stands_side_by_side(workdir):
  write(workdir / "generated/ddim/about.json", {"legend": ["image", "sample", "<truth>"]})
  assert "ddim | image | sample | &lt;truth&gt;" in page.render(material.read(workdir))
