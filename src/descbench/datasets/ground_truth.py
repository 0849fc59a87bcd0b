"""Ground truth of a retrieval dataset as one JSON file beside its manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from descbench.errors import DataError
from descbench.io.jsonfiles import as_record, write_checked_json

Ids = tuple[int, ...]
LABELS = {"revisited": ("easy", "hard", "junk"), "classic": ("ok", "junk")}


@dataclass(frozen=True)
class GroundTruth:
    """Labels of the database images for every query, in query order.

    Attributes:
        protocol: ``revisited`` (easy, hard, junk) or ``classic`` (ok, junk).
        queries: per query a mapping label -> database image ids.
    """

    protocol: str
    queries: tuple[dict[str, Ids], ...]

    def by_query(self) -> Sequence[Mapping[str, Ids]]:
        """For each query the ids of the images under each label."""
        return self.queries

    def plain(self) -> list[Any]:
        """Content as plain values, for digests."""
        return [self.protocol, list(self.queries)]

    def check(self, queries: Sequence[str], database: Sequence[str], source: str) -> None:
        """Refuse labels that do not fit the manifest, or contradict each other.

        Args:
            queries, database: paths of the images, for their number and for messages.
            source: where the labels come from, for messages.

        Raises:
            DataError: wrong number of queries, an unknown label, an id outside the database, or an image that is
                listed twice for a query, under one label or under two.
        """
        if len(self.queries) != len(queries):
            raise DataError(f"{source}: ground truth of {len(self.queries)} queries for {len(queries)} query images.")
        for number, labels in enumerate(self.queries):
            known: dict[int, str] = {}
            what = f"{source}: query {number} ({queries[number]})"
            for label, ids in labels.items():
                if label not in LABELS[self.protocol]:
                    raise DataError(f"{what} has label {label!r}, not of protocol {self.protocol}.")
                for i in ids:
                    if not 0 <= i < len(database):
                        raise DataError(
                            f"{what}, {label}: image index {i} is outside the database of {len(database)} images; "
                            "the ground truth belongs to another image list."
                        )
                    if i in known:
                        both = f"twice under {label}" if known[i] == label else f"under {known[i]} and under {label}"
                        raise DataError(f"{what}: image {i} ({database[i]}) is listed {both}; list it once.")
                    known[i] = label


def write_ground_truth(ground_truth: GroundTruth | None, path: str | os.PathLike[str]) -> None:
    """Write ground truth as JSON, atomically; None (a dataset without labels) becomes protocol ``none``."""
    value: dict[str, Any] = {"protocol": "none"}
    if ground_truth is not None:
        queries = [{label: list(ids) for label, ids in labels.items()} for labels in ground_truth.queries]
        value = {"protocol": ground_truth.protocol, "queries": queries}
    write_checked_json(path, value)


def parse_ground_truth(value: dict[str, Any], path: str | os.PathLike[str]) -> GroundTruth:
    """Labels from the content of their file.

    Raises:
        DataError: other keys than those of this version, or values of another type.
    """
    return as_record(GroundTruth, value, path, "ground truth")
