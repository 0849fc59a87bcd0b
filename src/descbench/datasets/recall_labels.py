"""Labels of recall@N: which database images are right for each query."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from descbench.io.jsonfiles import as_record, write_checked_json

Ids = tuple[int, ...]


class RecallLabels:
    """What recall@N asks of labels; those without positions have nothing but positives.

    Attributes:
        positives: per query the ids of the database images that are right, ascending.
        database_times, query_times: time stamps; images of the query's own do not count. Empty: all count.
        views_per_panorama: consecutive images of which only the first hit counts; None: all count.
        conditions: names of the conditions that queries go through in turn.
    """

    positives: tuple[Ids, ...]
    database_times: tuple[float, ...] = ()
    query_times: tuple[float, ...] = ()
    views_per_panorama: int | None = None
    conditions: tuple[str, ...] = ()

    @property
    def measured_within(self) -> float | None:
        """Metres within which an image is right; None: what is right is listed, not measured."""
        return None

    def by_query(self) -> list[Mapping[str, Ids]]:
        """For each query the ids of the images that are right for it, under that label."""
        return [{"right": ids} for ids in self.positives]

    def without_positive(self) -> int:
        """Number of queries that no database image is right for, those left out for their time stamp set aside."""
        if not self.database_times:
            return sum(not ids for ids in self.positives)
        pairs = zip(self.positives, self.query_times, strict=True)
        return sum(all(self.database_times[i] == time for i in ids) for ids, time in pairs)


def others(positives: tuple[Ids, ...]) -> tuple[Ids, ...]:
    """Positives of queries that are the database images of the same numbers: none is right for itself."""
    return tuple(tuple(i for i in ids if i != query) for query, ids in enumerate(positives))


@dataclass(frozen=True)
class PositiveLabels(RecallLabels):
    """What is right for every query, as frame numbers or a list say.

    Attributes:
        positives: per query the ids of the database images that are right, ascending.
        right: what is right, in words, for whoever reads the scores.
    """

    positives: tuple[Ids, ...]
    right: str

    def without_itself(self) -> PositiveLabels:
        """Labels of queries that are the database images of the same numbers."""
        return replace(self, positives=others(self.positives))

    def plain(self) -> list[Any]:
        """Content as plain values, for digests."""
        return [list(self.positives), self.right]


def write_positives(labels: PositiveLabels, path: str | os.PathLike[str]) -> None:
    """Write labels as JSON, atomically, in the place of a ground truth."""
    write_checked_json(path, {"protocol": "positives", **vars(labels)}, indent=None)


def parse_positives(value: dict[str, Any], path: str | os.PathLike[str]) -> PositiveLabels:
    """Labels from the content of their file.

    Raises:
        DataError: other keys than those of this version, or values of another type.
    """
    fields = {key: item for key, item in value.items() if key != "protocol"}
    return as_record(PositiveLabels, fields, path, "list of positives")
