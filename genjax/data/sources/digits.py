"""The 1,797 handwritten digits of 8x8 pixels and 17 grey levels that come with scikit-learn.

They are the test part of E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI,
1998. Of each class, 36 digits are held out for "test" and 18 for "valid"; the other 1,257 are
"train".
"""

import dataclasses

import numpy as np

from genjax.data.sources import base as sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(sources.Pictures):
  """Digits [8, 8, 1] with grey levels 0..16 and 10 classes; has no fields of its own."""

  def load(self) -> sources.Dataset:
    """Reads the digits from scikit-learn."""
    from sklearn import datasets

    raw = datasets.load_digits()
    x = raw.images.astype(np.uint8)[..., None]  # [N, 8, 8, 1]
    label = raw.target.astype(np.int32)
    splits = sources.by_class({"x": x, "label": label}, valid=18, test=36)

    origin = "digits: all 1,797 pictures of 8x8 pixels (1,257 train, 180 valid, 360 test), bundled "
    origin += "with scikit-learn"
    return self.pictures("digits", splits, x.shape[1:], 10, origin, "CC BY 4.0 (UCI)", levels=17)
