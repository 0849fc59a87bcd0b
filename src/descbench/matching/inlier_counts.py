"""Files of inlier counts: how many features of a query and of each image of its shortlist match by one homography.

Layout: ``pairs (P, 2)`` int64, query and image as in the ranking, in its order; ``matches (P)`` and ``inliers (P)``
int64, the second at most the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.errors import StaleFileError
from descbench.io.digests import check_digest
from descbench.io.hdf5 import created, opened
from descbench.matching import FORMAT_VERSION

_KIND = "file of inlier counts"


@dataclass(frozen=True)
class CountsInfo:
    """What inliers were counted in.

    Attributes:
        queries, database: digests of the features of both
            (:attr:`descbench.features.image_features.ImageFeatures.digest`).
        configuration: digest of the settings; empty outside the workflow.
        cell: method and dataset; empty outside the workflow.
    """

    queries: str
    database: str
    configuration: str = ""
    cell: str = ""


@dataclass(frozen=True)
class InlierCounts:
    """Counts of pairs; arrays as in the file, see the module."""

    info: CountsInfo
    pairs: np.ndarray
    matches: np.ndarray
    inliers: np.ndarray


def write_inlier_counts(
    pairs: Sequence[tuple[int, int]], counts: Sequence[tuple[int, int]], info: CountsInfo, path: Path
) -> None:
    """Write matches and inliers of each pair; equal content gives equal bytes.

    Args:
        pairs: query and image.
        counts: matches and inliers of each.
        info: what they were counted in.
        path: the file.

    Raises:
        DataError: the disk is full.
    """
    numbers = np.array(counts, np.int64).reshape(-1, 2)
    if len(numbers) != len(pairs):
        raise ValueError(f"counts of {len(numbers)} pairs, {len(pairs)} pairs")
    with created(path, _KIND, FORMAT_VERSION, vars(info)) as file:
        file.put("pairs", np.array(pairs, np.int64).reshape(-1, 2))
        file.put("matches", numbers[:, 0])
        file.put("inliers", numbers[:, 1])


def read_inlier_counts(path: Path, *, cell: str | None = None, configuration: str | None = None) -> InlierCounts:
    """Read what :func:`write_inlier_counts` wrote.

    Args:
        path: the file.
        cell: method and dataset that it must be of; None: any.
        configuration: digest of the settings that it must have been made by; None: any.

    Raises:
        StaleFileError: it is of another method or dataset, or was made by other settings.
        DataError: no such file, or a damaged one.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        info = CountsInfo(*map(file.text, ("queries", "database", "configuration", "cell")))
        arrays = file.array("pairs", np.int64, 2), file.array("matches", np.int64), file.array("inliers", np.int64)
        found = InlierCounts(info, *arrays)
        count = len(found.pairs)
        if found.pairs.shape != (count, 2) or found.matches.shape != (count,) or found.inliers.shape != (count,):
            raise ValueError("arrays that do not belong together")
        if (found.inliers < 0).any() or (found.inliers > found.matches).any():
            raise ValueError("fewer inliers than none, or more than matches")
    if cell is not None and info.cell != cell:
        raise StaleFileError(f"{path}: inliers of {info.cell or 'nothing named'}, not of {cell}; delete it and rerun.")
    if configuration is not None:
        check_digest(path, "configuration of matching", info.configuration, configuration)
    return found
