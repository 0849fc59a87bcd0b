"""Files of matches: for each image pair of a shard, which features of the two images correspond.

Layout: ``pairs (P, 2)`` int64, ids of the two images; ``counts (P, 2)`` int64, how many features of each took part;
``pair_offsets (P + 1)`` int64; ``indices (M, 2)`` int32, features of both images as in their feature shards, matches of
pair p are rows pair_offsets[p]:pair_offsets[p + 1], those of the first image strictly ascending; ``scores (M)`` float32
in -1..1, the best is the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.errors import StaleFileError
from descbench.io.digests import check_digest
from descbench.io.hdf5 import created, opened
from descbench.matching import FORMAT_VERSION
from descbench.matching.matcher import PairMatches

_KIND = "file of matches"


@dataclass(frozen=True)
class MatchesInfo:
    """What matches were made from.

    Attributes:
        first, second: digests of the features of the first and of the second images of the pairs
            (:attr:`descbench.features.image_features.ImageFeatures.digest`).
        configuration: digest of the settings of matching; empty outside the workflow.
        cell: method and dataset, such as ``sift on hpatches``; empty outside the workflow.
    """

    first: str
    second: str
    configuration: str = ""
    cell: str = ""


@dataclass(frozen=True)
class Matches:
    """Matches of the pairs of a shard; arrays as in the file, see the module."""

    info: MatchesInfo
    pairs: np.ndarray
    counts: np.ndarray
    pair_offsets: np.ndarray
    indices: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def of(self, number: int) -> PairMatches:
        """Matches of a pair by its position in the file."""
        rows = slice(self.pair_offsets[number], self.pair_offsets[number + 1])
        first, second = self.counts[number].tolist()
        return PairMatches(self.indices[rows], self.scores[rows], (first, second))


def write_matches(
    pairs: Sequence[tuple[int, int]], found: Iterable[PairMatches], info: MatchesInfo, path: Path
) -> None:
    """Write matches; equal content gives equal bytes.

    Args:
        pairs: ids of the two images of each pair.
        found: matches of each, in the same order.
        info: what they were made from.
        path: the file.

    Raises:
        DataError: the disk is full.
    """
    matches = list(found)
    if len(matches) != len(pairs):
        raise ValueError(f"{len(matches)} results for {len(pairs)} pairs")
    counts = np.array([pair.counts for pair in matches], np.int64).reshape(-1, 2)
    lengths = [len(pair.indices) for pair in matches]
    indices = np.concatenate([np.zeros((0, 2), np.int32), *(pair.indices for pair in matches)])
    scores = np.concatenate([np.zeros(0, np.float32), *(pair.scores for pair in matches)])
    with created(path, _KIND, FORMAT_VERSION, vars(info)) as file:
        file.put("pairs", np.array(pairs, np.int64).reshape(-1, 2))
        file.put("counts", counts)
        file.put("pair_offsets", np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))
        file.put("indices", indices.astype(np.int32))
        file.put("scores", scores.astype(np.float32))


def read_matches(
    path: Path,
    *,
    cell: str | None = None,
    configuration: str | None = None,
    first: str | None = None,
    second: str | None = None,
) -> Matches:
    """Read what :func:`write_matches` wrote.

    Args:
        path: the file.
        cell: method and dataset that it must be of; None: any.
        configuration, first, second: digests that it must have been made by (:class:`MatchesInfo`); None: any.

    Raises:
        StaleFileError: it is of another method or dataset, or was made by other settings or of other features.
        DataError: no such file, or a damaged one.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        info = MatchesInfo(*map(file.text, ("first", "second", "configuration", "cell")))
        found = Matches(
            info,
            file.array("pairs", np.int64, 2),
            file.array("counts", np.int64, 2),
            file.array("pair_offsets", np.int64),
            file.mapped("indices", np.int32, 2),
            file.mapped("scores", np.float32),
        )
        _check(found)
    if cell is not None and info.cell != cell:
        raise StaleFileError(f"{path}: matches of {info.cell or 'nothing named'}, not of {cell}; delete it and rerun.")
    for what, made, wanted in (
        ("configuration of matching", info.configuration, configuration),
        ("features of the first images", info.first, first),
        ("features of the second images", info.second, second),
    ):
        if wanted is not None:
            check_digest(path, what, made, wanted)
    return found


def _check(found: Matches) -> None:
    """Refuse arrays that do not belong together; ValueError."""
    count, total, offsets = len(found.pairs), len(found.indices), found.pair_offsets
    if found.pairs.shape != (count, 2) or found.counts.shape != (count, 2) or found.indices.shape != (total, 2):
        raise ValueError("pairs, counts or indices that do not come in twos")
    if offsets.shape != (count + 1,) or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise ValueError(f"pair_offsets do not run from 0 to {total}")
    if found.scores.shape != (total,) or not (np.abs(found.scores) <= 1).all():
        raise ValueError("scores that are not one a match in -1..1")
    if (found.counts < 0).any() or (found.pairs < 0).any():
        raise ValueError("a negative image or number of features")
    lengths = np.diff(offsets)
    if (found.indices < 0).any() or (found.indices >= np.repeat(found.counts, lengths, axis=0)).any():
        raise ValueError("a match of a feature that is not there")
    same = np.diff(np.repeat(np.arange(count), lengths)) == 0
    if (np.diff(found.indices[:, 0])[same] <= 0).any():
        raise ValueError("features of a first image that do not ascend")
