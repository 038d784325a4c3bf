"""KINDS: {kind of a field: how its values are given and drawn}. A new kind is one line here."""

from genjax.kinds import image, integers, points

# Words share one class; each has its own flag on the command line.
KINDS = {
  "image": image.Image(),
  "binary": image.Image(),
  "points": points.Points(),
  "label": integers.Integers("label"),
  "text": integers.Integers("text"),
  "tokens": integers.Integers("tokens"),
}
