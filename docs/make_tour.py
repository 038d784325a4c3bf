"""Makes the notebook tour.ipynb from tour.py, and runs it.

python docs/make_tour.py

tour.py is the source: cells begin with "# %%", and those of "# %% [markdown]" are text. Needs
`pip install -e '.[dev]'`. Takes about two minutes on two CPU cores.
"""

import pathlib
import tempfile

HERE = pathlib.Path(__file__).parent


def cells(source: str) -> list[tuple[str, str]]:
  """Returns [("markdown" or "code", text)] of the cells of a script."""
  found = []
  for part in source.split("# %%")[1:]:
    head, _, body = part.partition("\n")
    if head.strip() == "[markdown]":
      lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
      found.append(("markdown", "\n".join(lines)))
    else:
      found.append(("code", body.strip()))
  return found


def notebook(source: str):
  """Returns the notebook of a script, not yet run."""
  import nbformat

  v4 = nbformat.v4
  make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
  # Numbered cells: random names would change the file each time it is made.
  made = [make[kind](text, id=f"cell-{i}") for i, (kind, text) in enumerate(cells(source))]
  return v4.new_notebook(cells=made)


def run(book, folder: pathlib.Path) -> None:
  """Runs a notebook in a folder; raises the error of the first cell that fails."""
  import nbclient

  nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}}).execute()


def main() -> None:
  """Writes docs/tour.ipynb with all outputs."""
  import nbformat

  book = notebook((HERE / "tour.py").read_text(encoding="utf-8"))
  with tempfile.TemporaryDirectory() as folder:
    run(book, pathlib.Path(folder))
  for cell in book.cells:
    cell.metadata.pop("execution", None)  # times of day
  book.metadata = {"language_info": {"name": "python"}}
  nbformat.write(book, HERE / "tour.ipynb")


if __name__ == "__main__":
  main()
