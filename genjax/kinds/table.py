"""KINDS[kind]: how a field of that kind is given and drawn. A new kind is one line here."""

from genjax.kinds import image, integers, points

KINDS = {
  "image": image.Image(),
  "binary": image.Image(),
  "points": points.Points(),
  "label": integers.Integers("label"),
  "text": integers.Integers("text"),
  "tokens": integers.Integers("tokens"),
}
