"""Pictures inside the page as data URIs, light enough that the page stays a few megabytes."""

import base64
import html
import io
import pathlib
from typing import Any

# A picture of more bytes than this is encoded again, with loss.
HEAVY = 400_000
# A picture that still has more bytes than this is named instead of shown.
HOPELESS = 1_000_000


def figure(path: pathlib.Path, caption: str = "", width: int | None = None, kind: str = "") -> str:
  """Returns the <figure> of a picture; if the picture cannot be shown, its caption says why.

  width: the largest width in pixels. None keeps the width of the file, but a file of more than
    HEAVY bytes is made at most 720 pixels wide.
  kind: the CSS class.
  """
  source, why = _source(path, width)
  alt = html.escape(f"{path.parent.name} {path.name}")
  image = f'<img src="{source}" alt="{alt}">' if source else ""

  said = html.escape(", ".join(filter(None, (caption, why))))
  said = f"<figcaption>{said}</figcaption>" if said else ""
  return f'<figure class="{kind}">{image}{said}</figure>'


def _source(path: pathlib.Path, width: int | None) -> tuple[str, str]:
  """Returns (data URI, ""), or ("", the reason why there is none)."""
  from PIL import Image

  data = path.read_bytes()
  kind = path.suffix[1:]
  try:
    with Image.open(io.BytesIO(data)) as picture:
      if len(data) > HEAVY or (width and picture.width > width):
        data, kind = _lighter(picture, width or 720, len(data) > HEAVY)
      else:
        # Decoding it shows whether the file is complete.
        picture.load()
  except (OSError, SyntaxError):  # Pillow raises either for a broken file
    return "", f"{path.name} cannot be read"

  if len(data) > HOPELESS:
    return "", f"{path.name} is too large to be shown here"
  return f"data:image/{kind};base64,{base64.b64encode(data).decode()}", ""


def _lighter(picture: Any, width: int, lossy: bool) -> tuple[bytes, str]:
  """Returns (bytes, image type) of a PIL picture made at most `width` pixels wide.

  An animation, and any `lossy` picture, becomes WebP; everything else becomes PNG.
  """
  from PIL import Image, ImageSequence

  frames = []
  durations = []
  for frame in ImageSequence.Iterator(picture):
    durations.append(frame.info.get("duration", 80))
    # The colours of a palette ("P") cannot be mixed, as scaling does, so they become RGB first.
    frames.append(frame.convert("RGB") if lossy or frame.mode == "P" else frame.copy())
    frames[-1].thumbnail((width, 20 * width), Image.Resampling.LANCZOS)

  out = io.BytesIO()
  kind = "webp" if lossy else "png"
  if len(frames) > 1:
    frames[0].save(
      out,
      "webp",
      save_all=True,
      append_images=frames[1:],
      duration=durations,
      loop=0,
      quality=40,
    )
    return out.getvalue(), "webp"

  settings = {"quality": 75} if lossy else {"optimize": True}
  frames[0].save(out, kind, **settings)
  return out.getvalue(), kind
