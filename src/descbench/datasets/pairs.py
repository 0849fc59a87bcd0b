"""Training pairs of a dataset: which two images show the same thing. One JSON file beside the manifest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from descbench.errors import DataError
from descbench.io.jsonfiles import as_record, read_json, write_checked_json


@dataclass(frozen=True)
class TrainingPairs:
    """Pairs of the training images.

    Attributes:
        queries, positives: image ids of the two images of each pair.
    """

    queries: tuple[int, ...]
    positives: tuple[int, ...]

    def check(self, clusters: Sequence[int | None], source: str) -> None:
        """Refuse pairs that are none.

        Args:
            clusters: of every image, by image id.
            source: where the pairs come from, for messages.

        Raises:
            DataError: no pairs, an image outside the list, an image paired with itself or with one of
                another cluster.
        """
        if not self.queries or len(self.queries) != len(self.positives):
            raise DataError(f"{source}: {len(self.queries)} queries, {len(self.positives)} positives; no pairs.")
        for query, positive in zip(self.queries, self.positives, strict=True):
            wrong = [i for i in (query, positive) if not 0 <= i < len(clusters)]
            if wrong:
                raise DataError(f"{source}: pair {query}, {positive}: image {wrong[0]} is outside the {len(clusters)}.")
            if query == positive or clusters[query] != clusters[positive]:
                raise DataError(
                    f"{source}: pair {query}, {positive} (clusters {clusters[query]}, {clusters[positive]}) is not "
                    "of two images of one cluster; the list is damaged or mixed with another: fetch it again."
                )


@dataclass(frozen=True)
class _PairsFile:
    protocol: str
    pairs: list[tuple[int, int]]


def write_pairs(pairs: TrainingPairs, path: str | os.PathLike[str]) -> None:
    """Write pairs as JSON, atomically, in the place of a ground truth."""
    pairs_list = [list(pair) for pair in zip(pairs.queries, pairs.positives, strict=True)]
    write_checked_json(path, {"protocol": "pairs", "pairs": pairs_list})


def read_pairs(path: str | os.PathLike[str]) -> TrainingPairs:
    """Read what :func:`write_pairs` wrote.

    Raises:
        DataError: the file holds no pairs.
    """
    value = read_json(path, "file of training pairs")
    if value.get("protocol") != "pairs":
        raise DataError(f"{path}: holds no training pairs; training needs a dataset of format sfm120k.")
    pairs = as_record(_PairsFile, value, path, "file of training pairs").pairs
    return TrainingPairs(tuple(q for q, _ in pairs), tuple(p for _, p in pairs))
