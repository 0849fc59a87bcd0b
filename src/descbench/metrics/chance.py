"""What a random order of the database would score: the expected value of each metric, exactly.

In a random order of M images, P of them right, the image at rank r (from 0) is right with probability P / M, and
r (P - 1) / (M - 1) right ones are expected before it; among the first N there is none with the probability of the
hypergeometric distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from descbench.datasets.recall_labels import RecallLabels
from descbench.metrics.places import grouped
from descbench.metrics.revisited import Setups


def expected_ap(positives: int, images: int) -> float:
    """Expected average precision (trapezoid rule) of a random order of ``images``, ``positives`` of them right."""
    ranks = np.arange(images, dtype=np.float64)
    before = ranks * ((positives - 1) / max(images - 1, 1))
    precision_before = np.divide(before, ranks, out=np.ones(images), where=ranks > 0)
    precision_after = (before + 1) / (ranks + 1)
    return float((precision_before + precision_after).sum() / (2.0 * images))


def expected_recall(positives: int, images: int, depth: int) -> float:
    """Probability that a right image is among the first ``depth`` of a random order."""
    if positives + depth > images:
        return min(float(positives), 1.0)  # less than one: the share of a panorama's images that are right
    missed = math.lgamma(images - positives + 1) + math.lgamma(images - depth + 1)
    missed -= math.lgamma(images - positives - depth + 1) + math.lgamma(images + 1)
    return -math.expm1(missed)


def chance_of_labels(queries: Sequence[Mapping[str, Sequence[int]]], images: int, setups: Setups) -> dict[str, float]:
    """Mean average precision, under each setup of a protocol, of a random order of a database.

    Args:
        queries: per query the ids under the labels that the setups name.
        images: in the database.
        setups: of the protocol (``metrics/revisited.py``).

    Returns:
        by name of the metric, such as ``map_medium``; NaN where no query has positives.
    """
    found = {}
    for suffix, (positive, ignored) in setups.items():
        counts = [
            [sum(len(query.get(label, ())) for label in part) for part in (positive, ignored)] for query in queries
        ]
        values = [expected_ap(right, images - junk) for right, junk in counts if right]
        found[f"map{suffix}"] = float(np.mean(values)) if values else math.nan
    return found


def chance_of_places(labels: RecallLabels, images: int, depths: Sequence[int]) -> dict[str, float]:
    """``recall@N`` of a random order of a database, by condition as well.

    Of a panorama only the image that comes first counts, so that a panorama is right with the share of its images
    that are; images of the query's own time stamp take no part.

    Args:
        labels: of all queries.
        images: in the database.
        depths: N.
    """
    times = np.array(labels.database_times)
    size = labels.views_per_panorama or 1
    recalls = np.zeros((len(depths), len(labels.positives)))
    for query, positives in enumerate(labels.positives):
        searched = images
        if labels.query_times:
            same = times == labels.query_times[query]
            positives = [image for image in positives if not same[image]]
            searched -= int(same.sum())
        right, panoramas = len(positives) / size, math.ceil(searched / size)
        recalls[:, query] = [expected_recall(right, panoramas, depth) for depth in depths]
    return {
        f"recall@{depth}{suffix}": float(recalls[row, chosen].mean()) if len(recalls[row, chosen]) else math.nan
        for suffix, chosen in grouped(len(labels.positives), labels.conditions).items()
        for row, depth in enumerate(depths)
    }
