"""Recall@N of place recognition: is there a right image among the first N? (docs/protocols/places.md, Recall)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from descbench.config.datasets import RECALL_DEPTHS as DEPTHS
from descbench.datasets.recall_labels import RecallLabels
from descbench.errors import DataError
from descbench.retrieval.ranking import EQUAL_SCORES, count_level

_LEVEL = "equal scores of all images for {} of {} queries{}, as of images without features: no ranking"


@dataclass(frozen=True)
class FirstHits:
    """Where rankings first hold a right image.

    Attributes:
        ranks: (Q,) int64, from 1; 0 where there is none.
        depths: those of ``DEPTHS`` that the rankings reach.
        reach: images that count in the shortest ranking, or of complete rankings in the longest.
    """

    ranks: np.ndarray
    depths: tuple[int, ...]
    reach: int


def find_first_hits(
    image_ids: np.ndarray, labels: RecallLabels, *, complete: bool, found: np.ndarray | None = None
) -> FirstHits:
    """Rank of the first right image of each query, in the ranking that counts (:func:`what_counts`).

    Args:
        image_ids: (Q, k) ids, best first; distractors are negative, and each stands for itself.
        labels: of the same queries.
        complete: whether the whole database was ranked. Depths that no ranking reaches are then left out, because
            the database has no more images (or panoramas); otherwise those that some ranking does not reach.
        found: (Q, k) bool, false for images that could not be compared and so are not hits; None: all were.

    Raises:
        DataError: no depth is reached.
    """
    times = np.array(labels.database_times)
    ranks = np.zeros(len(image_ids), np.int64)
    lengths = []
    for query, ranked in enumerate(image_ids):
        row = what_counts(ranked, query, labels, times)
        lengths.append(len(row))
        if found is not None:
            row = what_counts(ranked[found[query]], query, labels, times)
        right = np.flatnonzero(np.isin(row, labels.positives[query]))
        ranks[query] = right[0] + 1 if right.size else 0
    reach = (max if complete else min)(lengths, default=0)
    depths = tuple(depth for depth in DEPTHS if depth <= reach)
    if not depths:
        raise DataError("some query's ranking is empty once what does not count is left out; enlarge the top_k.")
    return FirstHits(ranks, depths, reach)


def what_counts(image_ids: np.ndarray, query: int, labels: RecallLabels, database_times: np.ndarray) -> np.ndarray:
    """The part of a query's ranking that counts, best first.

    Left out are, in this order: images of the query's own time stamp, where the labels hold time stamps; and
    all but the first image of each panorama, where they say how many images one has.

    Args:
        image_ids: (k,) ids, best first; distractors are negative, and each stands for itself.
        query: whose ranking it is.
        labels: of all queries.
        database_times: (N,) those of the labels as an array, which takes long to make for every query.
    """
    if labels.query_times:
        other = database_times[np.maximum(image_ids, 0)] != labels.query_times[query]
        image_ids = image_ids[(image_ids < 0) | other]
    return (
        image_ids if labels.views_per_panorama is None else first_of_each_panorama(image_ids, labels.views_per_panorama)
    )


def first_of_each_panorama(image_ids: np.ndarray, size: int) -> np.ndarray:
    """The ids (n,) without those whose panorama, of ``size`` consecutive ids, came before; order is kept."""
    panoramas = np.where(image_ids < 0, image_ids, image_ids // size)
    _, first = np.unique(panoramas, return_index=True)
    return image_ids[np.sort(first)]


def grouped(queries: int, conditions: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Which queries (n,) int64 each metric is of, by the suffix of its name: all, and those of each condition.

    Queries go through the conditions in turn. Of three or more, all but the first are taken together as well
    (``_sunset_night``).
    """
    ids = np.arange(queries)
    groups = {"": ids} | {f"_{name}": ids[i :: len(conditions)] for i, name in enumerate(conditions)}
    if len(conditions) > 2:
        groups["_" + "_".join(conditions[1:])] = np.delete(ids, np.s_[:: len(conditions)])
    return groups


def find_warnings(image_ids: np.ndarray, scores: np.ndarray, hits: FirstHits) -> list[str]:
    """What looks like broken labels or weights rather than like a result.

    Args:
        image_ids, scores: (Q, k) as ranked.
        hits: of the same ranking.
    """
    warnings = []
    if (hits.ranks == 1).all():
        warnings.append(
            "recall = 1.0 at every N: check what counts as correct, and that queries are not database images"
        )
    width = image_ids.shape[1]
    image_ids = image_ids[~np.isnan(scores).all(axis=1)]  # of queries that could be compared at all
    same_ranking = len(image_ids) > 1 and width > 1 and bool((image_ids == image_ids[0]).all())
    level, known = count_level(scores)
    if same_ranking or (known and level == known):
        warnings.append("all descriptors equal: every query has the same ranking, or equal scores; check the weights")
        return warnings
    return warnings + warn_of_level(scores)


def warn_of_level(scores: np.ndarray) -> list[str]:
    """A warning of queries whose scores (Q, k) are all equal: their images come in the order of their ids."""
    level, known = count_level(scores)
    return [_LEVEL.format(level, known, "")] if level else []


def warn_of_level_before(scores: np.ndarray, made_from: Mapping[str, Any]) -> list[str]:
    """The same warning of the list that a ranking was made from, where it says so and its own scores (Q, k) do not.

    Args:
        scores: of the ranking.
        made_from: what it was made from, as :class:`descbench.retrieval.ranking.PartInfo` has it.
    """
    level, known = made_from.get(EQUAL_SCORES, (0, 0))
    return [_LEVEL.format(level, known, " in the list that was re-ranked")] if level > count_level(scores)[0] else []
