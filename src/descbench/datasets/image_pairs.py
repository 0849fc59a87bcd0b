"""Image pairs: two images of a dataset and the known relation between them. One CSV file beside the manifest.

Columns are ``image_a``, ``image_b`` and ``relation``. The first two are ``image_id`` of the manifest; the images of a
dataset that has pairs are all of one role, so an id is enough. A relation is ``<kind>:<value>``. The kind that is
written today is

    homography:h11 h12 h13 h21 h22 h23 h31 h32 h33

nine float64 in row order, written so that they are read back to the bit: (x, y, 1) of a point of image a, times the
matrix, is the point of image b up to scale; pixels are counted from 0 at their centres. Further kinds (relative poses,
correspondences in a file) are further classes in ``_KINDS``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from descbench.datasets.manifest import Manifest
from descbench.errors import DataError
from descbench.io.csvfiles import read_csv, write_csv
from descbench.io.kinds import shorten

_COLUMNS = ["image_a", "image_b", "relation"]


@dataclass(frozen=True)
class Homography:
    """A 3 x 3 homography from pixels of the first image to pixels of the second.

    Attributes:
        values: the nine entries in row order.

    Raises:
        ValueError: not nine finite numbers, or a singular matrix.
    """

    kind: ClassVar[str] = "homography"
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != 9:
            raise ValueError(f"{len(self.values)} numbers are no 3 x 3 matrix")
        if not all(map(math.isfinite, self.values)):
            raise ValueError("the matrix holds NaN or infinity")
        # Scaled first, so that no product overflows; the rank leaves out what is rounding.
        largest = max(map(abs, self.values))
        if not largest or np.linalg.matrix_rank(self.matrix / largest) < 3:
            raise ValueError("the matrix is singular")

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64."""
        return np.array(self.values, np.float64).reshape(3, 3)

    @classmethod
    def from_text(cls, text: str) -> Homography:
        """The homography that nine numbers between blanks are.

        Raises:
            ValueError: they are none.
        """
        words = text.split()
        if not text.isascii() or "_" in text:  # Python would read numbers from it
            raise ValueError("not numbers as a C program writes them")
        return cls(tuple(map(float, words[:10])))

    def text(self) -> str:
        """The value of the relation; read back, it gives the same numbers."""
        return " ".join(map(repr, self.values))


Relation = Homography
_KINDS: dict[str, type[Relation]] = {Homography.kind: Homography}


@dataclass(frozen=True)
class ImagePair:
    """Two images of a dataset.

    Attributes:
        image_a, image_b: their ``image_id``.
        relation: what is known of the pixels of one and the other.
    """

    image_a: int
    image_b: int
    relation: Relation


def write_image_pairs(pairs: Sequence[ImagePair], path: str | os.PathLike[str]) -> None:
    """Write image pairs as CSV with a checksum beside it, atomically."""
    rows = ((pair.image_a, pair.image_b, f"{pair.relation.kind}:{pair.relation.text()}") for pair in pairs)
    write_csv(path, _COLUMNS, rows)


def read_image_pairs(path: str | os.PathLike[str], manifest: Manifest) -> tuple[ImagePair, ...]:
    """Read the image pairs of a dataset, in order.

    Args:
        path: file of :func:`write_image_pairs`.
        manifest: of the dataset.

    Raises:
        DataError: the file is absent, damaged or edited, holds no pairs, ids that are not in the manifest, a pair of
            an image with itself, or a relation that is none.
    """
    columns, records = read_csv(path, "list of image pairs")
    if columns != _COLUMNS:
        raise DataError(f"{path}: not a list of image pairs: columns must be {', '.join(_COLUMNS)}; rebuild it.")
    try:
        pairs = tuple(map(_pair, records))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: holds a row that is not an image pair ({shorten(error)}); rebuild it.") from error
    check_image_pairs(pairs, manifest, str(path))
    return pairs


def check_image_pairs(pairs: Sequence[ImagePair], manifest: Manifest, source: str) -> None:
    """Refuse pairs that do not fit the images of their dataset.

    Args:
        pairs: to be checked.
        manifest: of the dataset.
        source: where the pairs come from, for messages.

    Raises:
        DataError: no pairs, images of several roles, an id outside the manifest, or an image paired with itself.
    """
    if not pairs:
        raise DataError(f"{source}: holds no image pairs; rebuild it.")
    roles = {row.role for row in manifest.rows}
    if len(roles) > 1:
        raise DataError(f"{source}: image pairs need images of one role, the manifest has {', '.join(sorted(roles))}.")
    for pair in pairs:
        wrong = [i for i in (pair.image_a, pair.image_b) if not 0 <= i < len(manifest)]
        if wrong:
            raise DataError(
                f"{source}: image {shorten(wrong[0])} of a pair is not among the {len(manifest)} of the manifest; "
                "rebuild both."
            )
        if pair.image_a == pair.image_b:
            raise DataError(f"{source}: image {pair.image_a} is paired with itself; rebuild it.")


def _pair(record: dict[str, str]) -> ImagePair:
    kind, colon, value = record["relation"].partition(":")
    if not colon or kind not in _KINDS:
        raise ValueError(f"relation {shorten(kind)!r} is none of {', '.join(_KINDS)}")
    return ImagePair(int(record["image_a"]), int(record["image_b"]), _KINDS[kind].from_text(value))
