"""Choices of how recall@N of rankings is counted: place recognition, traverses, lists of what is right.

Definition: docs/protocols/choices.md, Recall.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values
from descbench.datasets.manifest import Manifest
from descbench.datasets.positions import TRAINING_RADIUS, near, positions_of
from descbench.datasets.recall_labels import Ids, RecallLabels, others
from descbench.errors import DataError
from descbench.metrics.places import find_first_hits, grouped, what_counts

# Metres, and who is known to score by them.
RADII = {
    10: "AnyLoc on Baidu Mall",
    25: "NetVLAD and all that follow it",
    100: "deep-visual-geo-localization-benchmark (the other distance in its README)",
}


@dataclass(frozen=True)
class RankedPlaces:
    """A ranking with what is right for its queries.

    Attributes:
        image_ids: (Q, k) ids, best first.
        found: (Q, k) bool, false for images that could not be compared.
        labels: of the queries.
        manifest: of the dataset.
        complete: whether the whole database was ranked.
        asks_itself: the queries are the database images of the same numbers.
    """

    image_ids: np.ndarray
    found: np.ndarray
    labels: RecallLabels
    manifest: Manifest
    complete: bool
    asks_itself: bool = False


def recall(results: RankedPlaces, counted: np.ndarray | None = None) -> Values:
    """``recall@1``, ``recall@5_night`` and so on.

    Args:
        results: the ranking.
        counted: (Q,) bool, the queries that are in the denominator; None: all.
    """
    hits = find_first_hits(results.image_ids, results.labels, complete=results.complete, found=results.found)
    right = {depth: (hits.ranks > 0) & (hits.ranks <= depth) for depth in hits.depths}
    return _by_condition(results, lambda depth: right[depth].astype(float), hits.depths, counted)


def recall_of_positives(results: RankedPlaces) -> Values:
    """As :func:`recall`, a query's value being the share of its right images among the first N that count."""
    labels, times = results.labels, np.array(results.labels.database_times)
    hits = find_first_hits(results.image_ids, labels, complete=results.complete, found=results.found)
    counted = np.array([bool(len(ids)) for ids in _reachable(labels)])
    rows = [
        np.isin(what_counts(ids[found], query, labels, times), labels.positives[query])
        for query, (ids, found) in enumerate(zip(results.image_ids, results.found, strict=True))
    ]
    sizes = np.array([max(len(ids), 1) for ids in _reachable(labels)])
    return _by_condition(
        results, lambda depth: np.array([row[:depth].sum() for row in rows]) / sizes, hits.depths, counted
    )


def without_positive_left_out(results: RankedPlaces) -> Values:
    """Recall of the queries that something is right for."""
    counted = np.array([bool(len(ids)) for ids in _reachable(results.labels)])
    if counted.all():
        raise NotMeantError("something is right for every query")
    return recall(results, counted)


def within(results: RankedPlaces, radius: float, *, inclusive: bool = True) -> Values:
    """Recall where what lies within so many metres is right."""
    measured = _radius(results)
    if inclusive and math.isclose(radius, measured):
        raise NotMeantError("this is how it was scored")
    positives = _positives_within(results, radius, inclusive)
    return _relabelled(results, replace(results.labels, positives=positives))


def farther_ignored(results: RankedPlaces) -> Values:
    """Recall where what lies within 10 m is right, what is right for ours beyond that is taken out of the ranking, and
    queries without anything within 10 m are left out."""
    if _radius(results) <= TRAINING_RADIUS:
        raise NotMeantError(f"nothing farther than {TRAINING_RADIUS:g} m is right")
    near_by = _positives_within(results, TRAINING_RADIUS)
    kept = np.array(
        [
            ~np.isin(ids, np.setdiff1d(known, close))
            for ids, known, close in zip(results.image_ids, results.labels.positives, near_by, strict=True)
        ]
    )
    hard = replace(results, found=results.found & kept, labels=replace(results.labels, positives=near_by))
    return recall(hard, np.array([bool(len(ids)) for ids in _reachable(hard.labels)]))


def _radius(results: RankedPlaces) -> float:
    """Metres within which an image is right; NotMeantError where that is not measured."""
    if results.labels.measured_within is None:
        raise NotMeantError("what is right is listed, not measured")
    if any(row.easting is None for row in results.manifest.rows):
        raise NotMeantError("the manifest has no positions")
    return results.labels.measured_within


def _positives_within(results: RankedPlaces, radius: float, inclusive: bool = True) -> tuple[Ids, ...]:
    """Images of the database within so many metres of each query."""
    positions = positions_of(results.manifest, "manifest")
    if results.asks_itself:
        positions = replace(positions, queries=positions.database)
    positives = tuple(
        tuple(ids[(squares <= radius**2) if inclusive else (squares < radius**2)].tolist())
        for ids, squares in near(positions, radius)
    )
    return others(positives) if results.asks_itself else positives


def radius_exclusive(results: RankedPlaces) -> Values:
    """Recall where what lies at the very radius is wrong."""
    return within(results, _radius(results), inclusive=False)


def every_view(results: RankedPlaces) -> Values:
    """Recall where every view of a panorama counts."""
    if results.labels.views_per_panorama is None:
        raise NotMeantError("this is how it was scored")
    return _relabelled(results, replace(results.labels, views_per_panorama=None))


def own_time_counted(results: RankedPlaces) -> Values:
    """Recall where images of the query's own time stamp count."""
    if not results.labels.query_times:
        raise NotMeantError("this is how it was scored")
    return _relabelled(results, replace(results.labels, query_times=(), database_times=()))


def mean_of_conditions(results: RankedPlaces) -> Values:
    """``recall@N`` as the mean of those of each condition."""
    names = results.labels.conditions
    if len(names) < 2:
        raise NotMeantError("the queries are of one condition")
    values = recall(results)
    depths = [name for name in values if "_" not in name]
    return {name: sum(values[f"{name}_{condition}"] for condition in names) / len(names) for name in depths}


def _relabelled(results: RankedPlaces, labels: RecallLabels) -> Values:
    try:
        return recall(replace(results, labels=labels))
    except DataError as error:
        raise NotMeantError(str(error)) from error


def _reachable(labels: RecallLabels) -> Sequence[Ids]:
    """Right images of each query, those of its own time stamp left out where they do not count."""
    if not labels.query_times:
        return labels.positives
    times = labels.database_times
    pairs = zip(labels.positives, labels.query_times, strict=True)
    return [tuple(i for i in ids if times[i] != time) for ids, time in pairs]


def _by_condition(
    results: RankedPlaces,
    value: Callable[[int], np.ndarray],
    depths: Sequence[int],
    counted: np.ndarray | None,
) -> Values:
    """Means of values (Q,) at each depth, of all queries and of each condition; NaN where none counts."""
    counted = np.ones(len(results.image_ids), bool) if counted is None else counted
    found = {}
    for suffix, chosen in grouped(len(results.image_ids), results.labels.conditions).items():
        kept = chosen[counted[chosen]]
        for depth in depths:
            found[f"recall@{depth}{suffix}"] = float(value(depth)[kept].mean()) if len(kept) else math.nan
    return found


CHOICES: tuple[Choice[RankedPlaces], ...] = (
    Choice(
        "without_positive_left_out",
        "queries that nothing is right for are not in the denominator",
        without_positive_left_out,
        "VPR_Tutorial (recallAtK), Mapillary SLS (its loader drops them)",
    ),
    *(
        Choice(f"radius_{metres}m", f"right is what lies within {metres} m", partial(within, radius=metres), who)
        for metres, who in RADII.items()
    ),
    Choice(
        "farther_ignored",
        "right is what lies within 10 m, what is farther and within the radius is ignored, and queries without "
        "anything within 10 m are left out",
        farther_ignored,
        "VPR_Tutorial (GThard and GTsoft), here with the two distances of NetVLAD's lists",
    ),
    Choice(
        "every_view",
        "every view of a panorama counts",
        every_view,
        "pytorch-NetVlad, deep-visual-geo-localization-benchmark",
    ),
    Choice(
        "own_time_counted",
        "images of the query's own time stamp count",
        own_time_counted,
        "pytorch-NetVlad, which reads no time stamps",
    ),
    Choice(
        "share_of_right",
        "the share of a query's right images among the first N, not whether one is there",
        recall_of_positives,
        "trec_eval (recall), TorchMetrics (RetrievalRecall)",
    ),
    Choice("radius_exclusive", "what lies at the very radius is wrong", radius_exclusive),
    Choice("mean_of_conditions", "recall is the mean of those of each condition", mean_of_conditions),
)
