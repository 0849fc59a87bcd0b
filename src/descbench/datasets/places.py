"""Labels of a place-recognition dataset: what shows the place of each query. One JSON file beside the manifest."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from descbench.errors import DataError
from descbench.io.atomic import write_json

Ids = tuple[int, ...]


@dataclass(frozen=True)
class PlaceLabels:
    """What is right for every query, in query order.

    Attributes:
        radius: metres within which a database image is right.
        positives: per query the database images within it, ascending; those beyond are training's negatives.
        training_positives: per query the images that training may take as positives, ascending.
        ignored: per query database images that a ranking is scored without (Tokyo Time Machine: those of the
            query's own time stamp); empty where no query has any.
        one_per: consecutive database images of a panorama, of which only the first hit counts; None: all count.
        conditions: names of the conditions that queries go through in turn.
    """

    radius: float
    positives: tuple[Ids, ...]
    training_positives: tuple[Ids, ...]
    ignored: tuple[Ids, ...] = ()
    one_per: int | None = None
    conditions: tuple[str, ...] = ()


def write_places(labels: PlaceLabels, path: str | os.PathLike[str]) -> None:
    """Write labels as JSON, atomically, in the place of a ground truth."""
    write_json(path, {"protocol": "places", **asdict(labels)})


def read_places(path: str | os.PathLike[str]) -> PlaceLabels:
    """Read what :func:`write_places` wrote.

    Raises:
        DataError: the file holds no such labels.
    """
    value = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(value, dict) or value.pop("protocol", None) != "places":
        raise DataError(f"{path}: holds no positions; a dataset of format dbstruct or utm_names has them.")
    lists = {key: tuple(map(tuple, value[key])) for key in ("positives", "training_positives", "ignored")}
    return PlaceLabels(**{**value, **lists, "conditions": tuple(value["conditions"])})
