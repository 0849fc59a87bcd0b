"""Stage rerank_shortlist: the first images of each query's ranking, by how many of their features match.

Definition: docs/protocols/local_reranking.md, Order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from descbench.errors import StaleFileError
from descbench.matching.inlier_counts import read_inlier_counts
from descbench.matching.match_shortlist import shortlisted
from descbench.retrieval.ranking import (
    EQUAL_SCORES,
    Ranking,
    count_level,
    found_images,
    ranking_writer,
    read_part_info,
    read_ranking,
)


def rerank_shortlist(
    ranking: Path,
    counts: Sequence[Path],
    output: Path,
    *,
    first: int | None = 100,
    based_on: str | None = None,
    configuration: str | None = None,
    cell: str | None = None,
) -> None:
    """Write a ranking whose first images are in the order of their inliers.

    Args:
        ranking: the one that is put into another order.
        counts: files of inlier counts of all its queries, in order.
        output: the ranking to write.
        first: images of a query that were matched; None: all.
        based_on: method and dataset that ``ranking`` must be of; None: any.
        configuration: digest of the settings that inliers must have been counted by; None: any.
        cell: method and dataset of the new ranking, and of the counts; None: any.

    Raises:
        StaleFileError: files of something else, or of another ranking.
        DataError: damaged files.
    """
    known, info = read_ranking(ranking, based_on), read_part_info(ranking)
    read = [read_inlier_counts(path, cell=cell, configuration=configuration) for path in counts]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(part.pairs for part in read)])
    short = shortlisted(known, first)
    lengths = [len(ids) for ids in short]
    ranked = np.concatenate([np.zeros(0, np.int64), *short])
    if not np.array_equal(pairs, np.stack([np.repeat(known.query_ids, lengths), ranked], axis=1)):
        where = ", ".join(map(str, counts)) or output
        raise StaleFileError(f"{where}: inliers of other images than {ranking} ranks; delete them and rerun.")
    counted = np.concatenate([np.zeros(0, np.int64), *(part.inliers for part in read)])
    inliers = np.split(counted, np.cumsum(lengths)[:-1])
    settings = {"reranked": first, "matching": configuration or ""} | ({"cell": cell} if cell else {})
    made_from = {**info.made_from, **settings, **_level(known)}
    about = replace(info, made_from=made_from)
    with ranking_writer(output, about, known.query_ids, known.image_ids.shape[1]) as writer:
        for row, (ids, found) in enumerate(zip(known.image_ids, found_images(known), strict=True)):
            order, scores = reranked(inliers[row], int(found.sum()))
            everything = np.full(len(ids), np.nan)
            everything[: len(scores)] = scores
            writer.write(row, np.concatenate([ids[order], ids[len(order) :]])[None], everything[None])


def _level(ranking: Ranking) -> dict[str, tuple[int, int]]:
    """How many of its queries had no ranking, which the new order does not show; nothing where all had."""
    level, known = count_level(ranking.scores)
    return {EQUAL_SCORES: (level, known)} if level else {}


def reranked(inliers: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The new order of a ranking whose first images have so many inliers.

    Args:
        inliers: (s,) whole numbers of the first images, best ranked first.
        length: of the ranking, at least s.

    Returns:
        positions (length,) in the ranking, most inliers first, equal numbers in the order they had, then the images
        behind; and their scores (length,) float64, descending: the number of inliers and a fraction for the place
        among the first images, minus the place behind these for the others.
    """
    matched = len(inliers)
    order = np.argsort(-np.asarray(inliers, np.int64), kind="stable")
    fraction = (matched - 1 - order) / max(matched, 1)
    behind = np.arange(matched, length)
    return np.concatenate([order, behind]), np.concatenate([inliers[order] + fraction, matched - 1.0 - behind])
