"""Labels of a place-recognition dataset: what shows the place of each query. One JSON file beside the manifest."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from descbench.datasets.recall_labels import Ids, RecallLabels, others
from descbench.errors import DataError
from descbench.io.jsonfiles import as_record, read_json, write_checked_json


@dataclass(frozen=True)
class PlaceLabels(RecallLabels):
    """What is right for every query, in query order (docs/protocols/places.md, Labels).

    Attributes:
        radius: metres within which a database image is right.
        positives: per query the database images within it, ascending; those beyond are training's negatives.
        training_positives: per query the images that training may take as positives, ascending.
        database_times, query_times: time stamps; a ranking is scored without the database images of its
            query's own (Tokyo Time Machine). Empty where it is scored as it is.
        views_per_panorama: consecutive database images of a panorama, of which only the first hit counts; None:
            all count.
        conditions: names of the conditions that queries go through in turn.
    """

    radius: float
    positives: tuple[Ids, ...]
    training_positives: tuple[Ids, ...]
    database_times: tuple[float, ...] = ()
    query_times: tuple[float, ...] = ()
    views_per_panorama: int | None = None
    conditions: tuple[str, ...] = ()

    @property
    def measured_within(self) -> float:
        """``radius``."""
        return self.radius

    def without_itself(self) -> PlaceLabels:
        """Labels of queries that are the database images of the same numbers: none is right for itself."""
        return replace(self, positives=others(self.positives), training_positives=others(self.training_positives))


def write_places(labels: PlaceLabels, path: str | os.PathLike[str]) -> None:
    """Write labels as JSON, atomically, in the place of a ground truth."""
    # Millions of ids: one line instead of one each.
    write_checked_json(path, {"protocol": "places", **vars(labels)}, indent=None)


def read_places(path: str | os.PathLike[str]) -> PlaceLabels:
    """Read what :func:`write_places` wrote.

    Raises:
        DataError: the file holds no such labels.
    """
    value = read_json(path, "file of positions")
    if value.get("protocol") != "places":
        raise DataError(f"{path}: holds no positions; a dataset of format dbstruct or utm_names has them.")
    return parse_places(value, path)


def parse_places(value: dict[str, Any], path: str | os.PathLike[str]) -> PlaceLabels:
    """Labels from the content of their file.

    Raises:
        DataError: other keys than those of this version, or values of another type.
    """
    fields = {key: item for key, item in value.items() if key != "protocol"}
    return as_record(PlaceLabels, fields, path, "file of positions")
