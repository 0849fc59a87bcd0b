"""Files of verified images: which images one transform connects with a query, and by which features.

Layout: ``query_ids (P)`` and ``image_ids (P)`` int64, ascending by query and then best first; ``offsets (P + 1)``
int64; ``pairs (M, 2)`` int32, features of the query and of the image, as in their shards; ``transforms (P, 2, 3)``
float64 from pixels of the query's original image to those of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.errors import StaleFileError
from descbench.io.hdf5 import created, opened
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.geometry import Verified

_KIND = "file of verified images"


@dataclass(frozen=True)
class Inliers:
    """Verified images of all queries; arrays as in the file, see the module."""

    query_ids: np.ndarray
    image_ids: np.ndarray
    offsets: np.ndarray
    pairs: np.ndarray
    transforms: np.ndarray

    def images_of(self, query: int, least: int = 0) -> np.ndarray:
        """Verified images of a query with at least so many inliers, best first."""
        return self.image_ids[(self.query_ids == query) & (np.diff(self.offsets) >= least)]


def write_inliers(found: Sequence[tuple[int, int, Verified]], cell: str | None, path: Path) -> None:
    """Write what was verified.

    Args:
        found: query, image and what connects them, in the order of the file.
        cell: method and dataset.
        path: the file.
    """
    counts = [len(verified.pairs) for _, _, verified in found]
    with created(path, _KIND, FORMAT_VERSION, {"cell": cell or ""}) as file:
        file.put("query_ids", np.array([query for query, _, _ in found], np.int64))
        file.put("image_ids", np.array([image for _, image, _ in found], np.int64))
        file.put("offsets", np.concatenate(([0], np.cumsum(counts, dtype=np.int64))))
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *(verified.pairs for _, _, verified in found)])
        file.put("pairs", pairs.astype(np.int32))
        file.put("transforms", np.array([verified.transform for _, _, verified in found]).reshape(-1, 2, 3))


def read_inliers(path: Path, cell: str | None = None) -> Inliers:
    """Read what :func:`write_inliers` wrote.

    Raises:
        StaleFileError: it is of another method or dataset.
        DataError: no such file, or a damaged one.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        ids = [file.array(name, np.int64) for name in ("query_ids", "image_ids", "offsets")]
        found = Inliers(*ids, file.array("pairs", np.int32, 2), file.array("transforms", np.float64, 3))
        offsets, count, is_of = found.offsets, len(found.query_ids), file.text("cell")
        if offsets.shape != (count + 1,) or offsets[0] != 0 or offsets[-1] != len(found.pairs):
            raise ValueError(f"offsets do not run from 0 to {len(found.pairs)}")
        if len(found.image_ids) != count or found.transforms.shape != (count, 2, 3) or (np.diff(offsets) < 0).any():
            raise ValueError("arrays that do not belong together")
        if (np.diff(found.query_ids) < 0).any() or (len(found.pairs) and found.pairs.min() < 0):
            raise ValueError("queries that do not ascend, or features that are not there")
    if cell is not None and is_of != cell:
        raise StaleFileError(f"{path}: verified images of {is_of}, not of {cell}; delete it and rerun.")
    return found
