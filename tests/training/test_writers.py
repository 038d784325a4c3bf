"""What is shown while work is done."""

import io
import sys

from genjax.training import writers


class Terminal(io.StringIO):
  """A stream that says it is a terminal."""

  def isatty(self):
    return True


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
  out, err = Terminal(), Terminal()
  monkeypatch.setattr(sys, "stdout", out)
  monkeypatch.setattr(sys, "stderr", err)
  progress = writers.Progress(writers.Console())
  for done in (10, 20, 30):
    progress(done, 30, "samples")
  assert "samples" in err.getvalue() and "30" in err.getvalue()
  assert progress.bar is None and out.getvalue() == ""


def test_progress_is_lines_elsewhere_but_not_many(monkeypatch):
  out = io.StringIO()
  monkeypatch.setattr(sys, "stderr", out)
  clock = iter(range(0, 1000, 4))
  monkeypatch.setattr(writers.time, "monotonic", lambda: next(clock))
  progress = writers.Progress(writers.Console())
  for done in range(1, 13):
    progress(done, 12, "examples")
  lines = out.getvalue().splitlines()
  assert lines and len(lines) <= 4 and lines[0].startswith("examples ")
  assert all(line.endswith(" of 12") for line in lines)


def test_the_console_falls_silent_where_nobody_reads(monkeypatch, tmp_path):
  class Gone(io.StringIO):
    encoding = "ascii"

    def write(self, text):
      raise BrokenPipeError

  for stream in (Gone(), None):
    monkeypatch.setattr(sys, "stdout", stream)
    console = writers.Console()
    console.open(tmp_path)
    console.say("a line")
    console.say("ünd nöch one")
    console.file.close()
  assert (tmp_path / "log.txt").read_text(encoding="utf-8").count("ünd nöch one") == 2
