"""From positions in metres to labels: which database images show the place of a query.

Definition: docs/protocols/places.md, Labels; docs/protocols/places.md, Training positives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from descbench.config.datasets import PlaceDataset
from descbench.datasets.manifest import Manifest
from descbench.datasets.places import PlaceLabels
from descbench.errors import DataError

RADIUS = 25.0
TRAINING_RADIUS = 10.0
# Same-spot images, which MATLAB's positives leave out, lie within this squared distance.
_SAME_SPOT_SQUARED = 1.0
_QUERIES_AT_ONCE = 1024
# Metres; no UTM coordinate comes near it.
_FARTHEST = 1e8


@dataclass(frozen=True)
class Positions:
    """Where, and in some datasets when, images were taken.

    Attributes:
        database, queries: (n, 2) float64: easting and northing in metres.
        database_times, query_times: (n,) float64 time stamps of any unit; None where the lists have none.
        source: where they come from, for messages.
    """

    database: np.ndarray
    queries: np.ndarray
    source: str
    database_times: np.ndarray | None = None
    query_times: np.ndarray | None = None


def positions_of(manifest: Manifest, source: str) -> Positions:
    """Positions of a manifest whose rows all have one."""
    arrays = {
        role: np.array([[row.easting, row.northing] for row in manifest.of_role(role).rows], np.float64)
        for role in ("database", "query")
    }
    return Positions(arrays["database"], arrays["query"], source)


def label_places(
    positions: Positions,
    dataset: PlaceDataset,
    *,
    radius: float = RADIUS,
    training_squared: float = TRAINING_RADIUS**2,
) -> PlaceLabels:
    """Labels of all queries; both limits are inclusive.

    Args:
        positions: of the images.
        dataset: block of the configuration; its ``radius`` and ``training_radius`` go before the next two.
        radius: metres within which an image is right, by the official lists.
        training_squared: squared metres within which training takes an image as positive, by the same.

    Raises:
        DataError: ``exclude_same_time`` without time stamps, or coordinates that are none of the Earth's in metres.
    """
    for places in (positions.database, positions.queries):
        if not (np.abs(places) < _FARTHEST).all():
            raise DataError(f"{positions.source}: a coordinate beyond {_FARTHEST:g} m; UTM metres are needed.")
    database_times, query_times = positions.database_times, positions.query_times
    timed = database_times is not None and query_times is not None
    if dataset.exclude_same_time and not timed:
        raise DataError(
            f"{positions.source}: no time stamps, which `exclude_same_time: true` goes by; set it to false."
        )
    radius = radius if dataset.radius is None else dataset.radius
    if dataset.training_radius is not None:
        training_squared = dataset.training_radius**2
    positives, training = [], []
    for query, (ids, squares) in enumerate(near(positions, max(radius, training_squared**0.5))):
        positives.append(_listed(ids[squares <= radius**2]))
        usable = squares <= training_squared
        if dataset.positives == "matlab":
            usable &= squares > _SAME_SPOT_SQUARED
            if timed:
                usable &= database_times[ids] != query_times[query]
        training.append(_listed(ids[usable]))
    return PlaceLabels(
        radius=radius,
        positives=tuple(positives),
        training_positives=tuple(training),
        database_times=_listed(database_times) if dataset.exclude_same_time else (),
        query_times=_listed(query_times) if dataset.exclude_same_time else (),
        views_per_panorama=dataset.views_per_panorama,
        conditions=dataset.conditions,
    )


def near(positions: Positions, radius: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each query ids (n,) within a radius, ascending, and their squared distances (n,) in float64.

    The tree only proposes, with a margin: distances are made anew from differences, because squares of the
    coordinates themselves (4.5e6 m) would leave no digit for a metre.
    """
    # Half a second to import, which every start of the workflow would pay for, since it lists the user's folders.
    from scipy.spatial import cKDTree

    tree = cKDTree(positions.database)
    for start in range(0, len(positions.queries), _QUERIES_AT_ONCE):
        block = positions.queries[start : start + _QUERIES_AT_ONCE]
        proposed = tree.query_ball_point(block, radius * (1 + 1e-6), return_sorted=True)
        for query, found in zip(block, proposed, strict=True):
            ids = np.asarray(found, np.int64)
            yield ids, ((positions.database[ids] - query) ** 2).sum(axis=1)


def _listed(values: np.ndarray) -> tuple:
    return tuple(values.tolist())
