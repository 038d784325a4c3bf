"""Pictures inside the page, as data URIs, light enough that the page stays a few megabytes."""

import base64
import html
import io
import pathlib

HEAVY = 400_000  # bytes; beyond, a picture is encoded anew, with loss
HOPELESS = 1_000_000  # bytes; what is still beyond is named instead of shown


def figure(path: pathlib.Path, caption: str = "", width: int | None = None, kind: str = "") -> str:
  """<figure> of a picture at most `width` pixels wide; one that cannot be shown says why."""
  source, why = _source(path, width)
  alt = html.escape(f"{path.parent.name} {path.name}")
  image = f'<img src="{source}" alt="{alt}">' if source else ""
  said = html.escape(", ".join(filter(None, (caption, why))))
  said = f"<figcaption>{said}</figcaption>" if said else ""
  return f'<figure class="{kind}">{image}{said}</figure>'


def _source(path: pathlib.Path, width: int | None) -> tuple[str, str]:
  """(data URI, "") or ("", why there is none)."""
  from PIL import Image

  data, kind = path.read_bytes(), path.suffix[1:]
  try:
    with Image.open(io.BytesIO(data)) as picture:
      if len(data) > HEAVY or (width and picture.width > width):
        data, kind = _lighter(picture, width or 720, len(data) > HEAVY)
      else:
        picture.load()  # all of it is there
  except (OSError, SyntaxError):
    return "", f"{path.name} cannot be read"
  if len(data) > HOPELESS:
    return "", f"{path.name} is too large to be shown here"
  return f"data:image/{kind};base64,{base64.b64encode(data).decode()}", ""


def _lighter(picture, width: int, lossy: bool) -> tuple[bytes, str]:
  """(bytes, image type) at most `width` wide: PNG, or where that is too heavy (animated) WebP."""
  from PIL import Image, ImageSequence

  frames, durations = [], []
  for frame in ImageSequence.Iterator(picture):
    durations.append(frame.info.get("duration", 80))
    frames.append(frame.convert("RGB") if lossy or frame.mode == "P" else frame.copy())
    frames[-1].thumbnail((width, 20 * width), Image.Resampling.LANCZOS)
  out, kind = io.BytesIO(), "webp" if lossy else "png"
  if len(frames) > 1:
    frames[0].save(
      out, "webp", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=40
    )
    return out.getvalue(), "webp"
  frames[0].save(out, kind, **({"quality": 75} if lossy else {"optimize": True}))
  return out.getvalue(), kind
