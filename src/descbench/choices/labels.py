"""Choices of how rankings with labels are scored: Oxford, Paris and their like.

Definition: docs/protocols/choices.md, Rankings with labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values
from descbench.config.datasets import KAPPAS
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.manifest import Manifest
from descbench.metrics.revisited import CLASSIC_SETUPS, SETUPS, Setups, compute_ap

_FIRST = 100
_RECALLS = np.linspace(0, 1, 11)
_HUNDREDTHS = np.arange(0, 1, 0.01)
Setup = tuple[Sequence[str], Sequence[str]]
Area = Callable[[np.ndarray, int], float]


@dataclass(frozen=True)
class RankedLabels:
    """A ranking with the labels of its queries.

    Attributes:
        found: per query the ids (k,) of its images in their order; for one that could not be read, an id that is in no
            list.
        scores: (k,) float64 of the same images.
        labels: of the queries.
        manifest: of the dataset.
    """

    found: Sequence[np.ndarray]
    scores: Sequence[np.ndarray]
    labels: GroundTruth
    manifest: Manifest

    @property
    def setups(self) -> Setups:
        """Which lists are positives and which are ignored, by the suffix of the metrics."""
        return SETUPS if self.labels.protocol == "revisited" else CLASSIC_SETUPS


def trapezoid(places: np.ndarray, positives: int) -> float:
    """Area under precision over recall by trapezoids, as ours.

    Args:
        places: (P,) positions from 0 of the positives that were found, ascending.
        positives: how many are listed.
    """
    return compute_ap(places.tolist(), positives)


def finite_sum(places: np.ndarray, positives: int) -> float:
    """Sum of the precisions at each positive that was found, over the listed ones; arguments as :func:`trapezoid`."""
    return float(_precisions(places).sum() / positives)


def interpolated(places: np.ndarray, positives: int) -> float:
    """As :func:`finite_sum`, each precision replaced by the highest at that place or behind it."""
    return float(_envelope(places).sum() / positives)


def eleven_points(places: np.ndarray, positives: int) -> float:
    """Mean over recalls 0, 0.1 ... 1 of the highest precision at that recall or above; 0 where it is not reached."""
    if not len(places):
        return 0.0
    recall, best = np.arange(1, len(places) + 1) / positives, _envelope(places)
    reached = np.searchsorted(recall, _RECALLS - 1e-12)
    return float(np.append(best, 0.0)[reached].mean())


def hundred_points(places: np.ndarray, positives: int) -> float:
    """Mean over recalls 0, 0.01 ... 0.99 of the highest precision above that recall; 0 where nothing is above it."""
    if not len(places):
        return 0.0
    above = np.searchsorted(np.arange(1, len(places) + 1) / positives, _HUNDREDTHS, side="right")
    return float(np.append(_envelope(places), 0.0)[above].mean())


def of_found(places: np.ndarray, positives: int) -> float:
    """As :func:`trapezoid`, over the positives that were found."""
    return trapezoid(places, len(places)) if len(places) else 0.0


def of_first(places: np.ndarray, positives: int, depth: int = _FIRST) -> float:
    """As :func:`finite_sum`, of the first ``depth`` images, over at most as many positives."""
    return finite_sum(places[places < depth], min(positives, depth))


def cut(places: np.ndarray, positives: int, depth: int = _FIRST) -> float:
    """As :func:`finite_sum`, of the first ``depth`` images, over all listed positives."""
    return finite_sum(places[places < depth], positives)


def at_r(places: np.ndarray, positives: int) -> float:
    """As :func:`finite_sum`, of as many images as there are positives (MAP@R)."""
    return cut(places, positives, positives)


def mean_ap(
    results: RankedLabels, area: Area = trapezoid, *, junk: str = "removed", without: str = "left out"
) -> Values:
    """Mean average precision under each setup, ``map_medium`` and so on; NaN where no query counts.

    Args:
        results: the ranking.
        area: positions of positives and number of listed ones -> average precision.
        junk: whether ignored images are ``removed`` before positions are counted, or are ``wrong``.
        without: whether queries without a positive are ``left out`` of the mean or count as ``zero``.
    """
    values = {}
    for suffix, setup in results.setups.items():
        found = [_ap(results, query, setup, area, junk) for query in range(len(results.found))]
        values[f"map{suffix}"] = _mean_of(found, without)
    return values


def mean_precision(results: RankedLabels, *, clamped: bool = True, without: str = "left out") -> Values:
    """``mp@10_medium`` and so on; NaN where no query counts.

    Args:
        results: the ranking.
        clamped: whether no image behind the last positive is counted, as ours.
        without: as of :func:`mean_ap`.
    """
    values = {}
    for suffix, setup in results.setups.items():
        rows = [_positions(results, query, setup) for query in range(len(results.found))]
        for depth in KAPPAS:
            found = [None if row is None else _precision(row[0], depth, clamped) for row in rows]
            values[f"mp@{depth}{suffix}"] = _mean_of(found, without)
    return values


def every(results: RankedLabels, *, without: str = "left out") -> Values:
    """All metrics as ours, but for queries ``without`` a positive (:func:`mean_ap`)."""
    return mean_ap(results, without=without) | mean_precision(results, without=without)


def of_scores(results: RankedLabels) -> Values:
    """Average precision as :func:`finite_sum`, images of equal score standing at one place."""
    values, alone = {}, mean_ap(results, finite_sum)
    for suffix, setup in results.setups.items():
        found = [_ap_of_scores(results, query, setup) for query in range(len(results.found))]
        values[f"map{suffix}"] = _mean_of(found)
    return _changed(values, alone, "equal scores make no difference to ap_sum")


def ties_by_name(results: RankedLabels) -> Values:
    """All metrics, images of equal score standing in descending order of their names."""
    names = {row.image_id: row.path for row in results.manifest.of_role("database").rows}
    found = [_reordered(ids, scores, names) for ids, scores in zip(results.found, results.scores, strict=True)]
    return _changed(every(replace(results, found=found)), every(results), "equal scores make no difference")


def without_positives_zero(results: RankedLabels) -> Values:
    """As ours, queries without a positive counting as 0."""
    return _changed(every(results, without="zero"), every(results), "every query has a positive")


def ignored_wrong(results: RankedLabels) -> Values:
    """As ours, ignored images counting as wrong."""
    if not any(_ids(query, ignored) for query in results.labels.queries for _, ignored in results.setups.values()):
        raise NotMeantError("no image is ignored")
    return mean_ap(results, junk="wrong")


def found_only(results: RankedLabels) -> Values:
    """As ours, over the positives that are in the ranking."""
    return _changed(mean_ap(results, of_found), mean_ap(results), "every positive is in the ranking")


def own_image_left_out(results: RankedLabels) -> Values:
    """As ours, the image that a query was cut from being ignored."""
    places = {row.path: row.image_id for row in results.manifest.of_role("database").rows}
    own = [places.get(row.path) for row in results.manifest.of_role("query").rows]
    if all(image is None for image in own):
        raise NotMeantError("no query was cut from an image of the database")
    queries = [
        {label: tuple(i for i in ids if i != image) for label, ids in query.items()}
        | {"junk": (*(i for i in query.get("junk", ()) if i != image), *(() if image is None else (image,)))}
        for query, image in zip(results.labels.queries, own, strict=True)
    ]
    return every(replace(results, labels=GroundTruth(results.labels.protocol, tuple(queries))))


def _ap(results: RankedLabels, number: int, setup: Setup, area: Area, junk: str) -> float | None:
    """Average precision of a query; None without positives."""
    found = _positions(results, number, setup, junk)
    return None if found is None else area(*found)


def _positions(
    results: RankedLabels, number: int, setup: Setup, junk: str = "removed"
) -> tuple[np.ndarray, int] | None:
    """Positions of the positives of a query, and how many are listed; None without positives."""
    query, (positive, ignored) = results.labels.queries[number], setup
    listed = _ids(query, positive)
    if not listed:
        return None
    removed = _ids(query, ignored) if junk == "removed" else ()
    return _places(results.found[number], listed, removed), len(listed)


def _ap_of_scores(results: RankedLabels, number: int, setup: Setup) -> float | None:
    query, (positive, ignored) = results.labels.queries[number], setup
    listed, found = _ids(query, positive), results.found[number]
    if not listed:
        return None
    kept = ~np.isin(found, np.asarray(_ids(query, ignored), np.int64))
    if not kept.any():
        return 0.0
    last = np.append(np.diff(results.scores[number][kept]) != 0, True)  # of equal scores
    right = np.cumsum(np.isin(found[kept], np.asarray(listed, np.int64)))[last]
    return float((np.diff(right, prepend=0) * right / (np.flatnonzero(last) + 1)).sum() / len(listed))


def _reordered(ids: np.ndarray, scores: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """A ranking (k,) whose images of equal score stand in descending order of their names."""
    found, edges = ids.copy(), np.flatnonzero(np.diff(scores) != 0) + 1
    for start, end in zip([0, *edges], [*edges, len(ids)], strict=True):
        if end - start > 1:
            found[start:end] = sorted(ids[start:end].tolist(), key=lambda i: names.get(i, str(i)), reverse=True)
    return found


def _precision(places: np.ndarray, depth: int, clamped: bool) -> float:
    if not len(places):
        return 0.0
    counted = min(depth, int(places[-1]) + 1) if clamped else depth
    return float((places < counted).sum()) / counted


def _places(found: np.ndarray, positives: Sequence[int], removed: Sequence[int]) -> np.ndarray:
    """Positions from 0 of the positives in a ranking from which some images are removed."""
    kept = found[~np.isin(found, np.asarray(removed, np.int64))]
    return np.flatnonzero(np.isin(kept, np.asarray(positives, np.int64)))


def _ids(query: Mapping[str, Sequence[int]], labels: Sequence[str]) -> list[int]:
    return [i for label in labels for i in query.get(label, ())]


def _precisions(places: np.ndarray) -> np.ndarray:
    return np.arange(1, len(places) + 1) / (places + 1)


def _envelope(places: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(_precisions(places)[::-1])[::-1]


def _mean_of(values: Sequence[float | None], without: str = "left out") -> float:
    """Mean of the values of queries, those without one left out or, with ``zero``, counting as 0."""
    known = [0.0 if value is None else value for value in values if value is not None or without == "zero"]
    return sum(known) / len(known) if known else math.nan


def _changed(values: Values, ours: Values, reason: str) -> Values:
    """The values that differ from ours, but for rounding; NotMeantError with the reason where none does."""
    found = {name: value for name, value in values.items() if not math.isclose(value, ours[name], abs_tol=1e-12)}
    if all(math.isnan(value) for value in found.values()):
        raise NotMeantError(reason)
    return found


CHOICES: tuple[Choice[RankedLabels], ...] = (
    Choice(
        "ap_sum",
        "average precision is the mean of the precisions at each positive, not the area by trapezoids",
        partial(mean_ap, area=finite_sum),
        "trec_eval (map), scikit-learn (average_precision_score) where no scores are equal",
    ),
    Choice(
        "ap_of_scores",
        "as ap_sum, images of equal score standing at one place",
        of_scores,
        "scikit-learn (average_precision_score)",
    ),
    Choice(
        "ap_interpolated",
        "each precision is the highest at its recall or above",
        partial(mean_ap, area=interpolated),
        "PASCAL VOC from 2010 on",
    ),
    Choice(
        "ap_11_points",
        "mean of the highest precision at recalls 0, 0.1 to 1 or above",
        partial(mean_ap, area=eleven_points),
        "PASCAL VOC 2007, VLFeat (vl_pr, ap_interp_11)",
    ),
    Choice(
        "ap_100_points",
        "mean of the highest precision above recalls 0, 0.01 to 0.99",
        partial(mean_ap, area=hundred_points),
        "deep-image-retrieval (compute_average_precision_quantized)",
    ),
    Choice(
        "map_at_100",
        "the first 100 images count, and at most 100 positives",
        partial(mean_ap, area=of_first),
        "Google Landmark Retrieval challenges (mAP@100)",
    ),
    Choice(
        "map_cut_100",
        "the first 100 images count, and all positives",
        partial(mean_ap, area=cut),
        "trec_eval (map_cut_100)",
    ),
    Choice(
        "map_at_r",
        "as many images count as there are positives (MAP@R)",
        partial(mean_ap, area=at_r),
        "pytorch-metric-learning (mean_average_precision_at_r)",
    ),
    Choice(
        "found_only",
        "positives that a cut ranking does not hold are not missed",
        found_only,
        "DELF and deep-image-retrieval (both compute it of the ranks of what was found)",
    ),
    Choice(
        "without_positives_zero",
        "queries without a positive count as 0",
        without_positives_zero,
        "TorchMetrics (RetrievalMAP, RetrievalPrecision)",
    ),
    Choice(
        "own_image_left_out",
        "the image that a query was cut from is ignored",
        own_image_left_out,
        "evaluations on INRIA Holidays",
    ),
    Choice(
        "ties_by_name",
        "images of equal score stand in descending order of their names",
        ties_by_name,
        "trec_eval",
    ),
    Choice(
        "full_precision",
        "precision at k is over k images, also where all positives stand before",
        partial(mean_precision, clamped=False),
        "trec_eval (P_5, P_10), Google Landmarks' metrics in DELF (MeanPrecisions)",
    ),
    Choice("ignored_wrong", "ignored images (junk, other difficulties) count as wrong", ignored_wrong),
)
