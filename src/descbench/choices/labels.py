"""Choices of how rankings with labels are scored: Oxford, Paris and their like.

Definition: docs/protocols/choices.md, Rankings with labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values
from descbench.config.datasets import KAPPAS
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.manifest import Manifest
from descbench.metrics.revisited import CLASSIC_SETUPS, SETUPS, Setups, compute_ap

_FIRST = 100
_RECALLS = np.linspace(0, 1, 11)
Area = Callable[[np.ndarray, int], float]


@dataclass(frozen=True)
class RankedLabels:
    """A ranking with the labels of its queries.

    Attributes:
        found: per query the ids (k,) of its images in their order; for one that could not be read, an id that is in no
            list.
        labels: of the queries.
        manifest: of the dataset.
    """

    found: Sequence[np.ndarray]
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


def of_found(places: np.ndarray, positives: int) -> float:
    """As :func:`trapezoid`, over the positives that were found."""
    return trapezoid(places, len(places)) if len(places) else 0.0


def of_first(places: np.ndarray, positives: int, depth: int = _FIRST) -> float:
    """As :func:`finite_sum`, of the first ``depth`` images, over at most as many positives."""
    return finite_sum(places[places < depth], min(positives, depth))


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
        known = [0.0 if ap is None and without == "zero" else ap for ap in found]
        values[f"map{suffix}"] = _mean([ap for ap in known if ap is not None])
    return values


def without_positives_zero(results: RankedLabels) -> Values:
    """As ours, queries without a positive counting as 0."""
    values, ours = mean_ap(results, without="zero"), mean_ap(results)
    changed = {name: value for name, value in values.items() if not math.isclose(value, ours[name])}
    if not changed:
        raise NotMeantError("every query has a positive")
    return changed


def ignored_wrong(results: RankedLabels) -> Values:
    """As ours, ignored images counting as wrong."""
    if not any(_ids(query, ignored) for query in results.labels.queries for _, ignored in results.setups.values()):
        raise NotMeantError("no image is ignored")
    return mean_ap(results, junk="wrong")


def found_only(results: RankedLabels) -> Values:
    """As ours, over the positives that are in the ranking."""
    values, ours = mean_ap(results, of_found), mean_ap(results)
    if all(values[name] == ours[name] or math.isnan(ours[name]) for name in ours):
        raise NotMeantError("every positive is in the ranking")
    return values


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
    return mean_ap(RankedLabels(results.found, GroundTruth(results.labels.protocol, tuple(queries)), results.manifest))


def of_setup(results: RankedLabels, suffix: str) -> Values:
    """Each ``map_...`` as that of one setup."""
    if suffix not in results.setups:
        raise NotMeantError("the classic protocol has one setup")
    value = mean_ap(results)[f"map{suffix}"]
    return {f"map{other}": value for other in results.setups if other != suffix}


def full_precision(results: RankedLabels) -> Values:
    """``mp@10_medium`` and so on, over as many images as the name says, wherever the last positive stands."""
    values = {}
    for suffix, (positive, ignored) in results.setups.items():
        places = [
            _places(found, _ids(query, positive), _ids(query, ignored))
            for found, query in zip(results.found, results.labels.queries, strict=True)
            if _ids(query, positive)
        ]
        for depth in KAPPAS:
            values[f"mp@{depth}{suffix}"] = _mean([float((row < depth).sum()) / depth for row in places])
    return values


def _ap(
    results: RankedLabels, number: int, setup: tuple[Sequence[str], Sequence[str]], area: Area, junk: str
) -> float | None:
    """Average precision of a query; None without positives."""
    query, (positive, ignored) = results.labels.queries[number], setup
    listed = _ids(query, positive)
    if not listed:
        return None
    removed = _ids(query, ignored) if junk == "removed" else ()
    return area(_places(results.found[number], listed, removed), len(listed))


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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


CHOICES: tuple[Choice[RankedLabels], ...] = (
    Choice(
        "ap_sum",
        "average precision is the mean of the precisions at each positive, not the area by trapezoids",
        partial(mean_ap, area=finite_sum),
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
        "PASCAL VOC 2007",
    ),
    Choice(
        "map_at_100",
        "the first 100 images count, and at most 100 positives",
        partial(mean_ap, area=of_first),
        "Google Landmark Retrieval challenges (mAP@100)",
    ),
    Choice("ignored_wrong", "ignored images (junk, other difficulties) count as wrong", ignored_wrong),
    Choice("found_only", "positives that a cut ranking does not hold are not missed", found_only),
    Choice("without_positives_zero", "queries without a positive count as 0", without_positives_zero),
    Choice("own_image_left_out", "the image that a query was cut from is ignored", own_image_left_out),
    *(
        Choice(
            f"setup_{name}", f"positives and ignored images of the {name} setup", partial(of_setup, suffix=f"_{name}")
        )
        for name in ("easy", "medium", "hard")
    ),
    Choice(
        "full_precision",
        "precision at k is over k images, also where all positives stand before",
        full_precision,
    ),
)
