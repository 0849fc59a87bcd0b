"""Stage score_ranking: a ranking and a ground truth become a file of scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descbench.datasets.ground_truth import GroundTruth, read_ground_truth
from descbench.datasets.places import PlaceLabels
from descbench.errors import DataError
from descbench.io.jsonfiles import read_json, write_checked_json
from descbench.io.kinds import shorten
from descbench.metrics.chance import chance_of_labels, chance_of_places
from descbench.metrics.places import find_first_hits, find_warnings, recalls
from descbench.metrics.revisited import KAPPAS, classic_scores, revisited_scores
from descbench.metrics.unreadable import Unreadable, find_unreadable
from descbench.retrieval.ranking import Ranking, count_searched, found_images, read_ranking

# Stands for images that were not found: no dataset, no distractor set has such an id.
_NOT_FOUND = np.iinfo(np.int64).min


def score_ranking(
    ranking: Path,
    ground_truth: Path,
    output: Path,
    *,
    left_out: Path | None = None,
    query_shards: Sequence[Path] = (),
    manifest: Path | None = None,
) -> None:
    """Score a ranking.

    The JSON holds ``protocol``, ``num_queries``, ``metrics`` (``map_medium``, ``mp@10_medium``...; for
    the classic protocol ``map``, ``mp@10``...) and ``per_query`` (``ap_medium``, ``p@10_medium``...: one
    value per query, null for a query without positives). All values are fractions of 1.

    For protocol ``places`` the metrics are ``recall@1``, ``recall@5_night``..., ``per_query`` holds
    ``first_hit`` (rank from 1, null for none), and there are ``queries_without_positive``, ``radius`` (metres),
    ``views_per_panorama``, ``exclude_same_time`` (the rules of the dataset), ``warnings``, and ``num_ranked`` (images
    that can count in a ranking). Recall is given at the depths up to that number.

    Queries that could not be read count as missed, and images that could not be read
    are never found: ``unreadable_queries`` and ``unreadable_images`` count them, and ``unreadable`` names the first
    hundred.

    ``chance`` holds what a random order of the database is expected to score; of mean average precision only where
    the whole database was ranked.

    Where files of the user's folders are no part of the dataset, ``left_out`` names them with the reason.

    Args:
        ranking, ground_truth: files of the stages before.
        output: the scores file to write.
        left_out: what :func:`descbench.datasets.build.build_manifest` lists there; None: nothing.
        query_shards: features of the queries, which hold the reasons why some could not be read.
        manifest: of the dataset, for the paths of images that could not be read.

    Raises:
        DataError: the dataset has no ground truth, the ranking is of another set of queries, or too short.
    """
    truth = read_ground_truth(ground_truth)
    if truth is None:
        raise DataError(
            f"{ground_truth}: this dataset has no ground truth, so there is nothing to score its ranking with; "
            f"ask for the ranking itself ({ranking}) instead of its scores."
        )
    ranked = read_ranking(ranking)
    unreadable = find_unreadable(ranked, ranking, query_shards, manifest)
    if isinstance(truth, PlaceLabels):
        check_queries(ranked, len(truth.positives), ranking, ground_truth)
        scores = _score_places(ranked, truth, ranking)
        for warning in scores["warnings"]:
            logging.warning("%s: %s", ranking, warning)
    else:
        check_queries(ranked, len(truth.queries), ranking, ground_truth)
        scores = _score_labels(ranked, truth, ranking)
    _tell(unreadable, ranking)
    files = [] if left_out is None else read_json(left_out, "list of what was left out")["files"]
    write_checked_json(output, scores | unreadable.record() | ({"left_out": files} if files else {}))


def read_scores(path: Path) -> dict[str, Any]:
    """Read what :func:`score_ranking` wrote.

    Raises:
        DataError: the file is damaged or no scores, or a metric is no fraction of 1.
    """
    scores = read_json(path, "scores file")
    metrics = scores.get("metrics")
    if not isinstance(metrics, dict):
        raise DataError(f"{path}: holds no metrics, so it is no scores file; delete it and rerun.")
    for name, value in metrics.items():
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1 + 1e-9):
            raise DataError(
                f"{path}: {shorten(name)} is {shorten(repr(value))}, not a fraction of 1; delete the file and rerun."
            )
    return scores


def _tell(unreadable: Unreadable, ranking: Path) -> None:
    if unreadable.queries:
        logging.warning("%s: %d unreadable queries count as missed", ranking, unreadable.queries)
    if unreadable.images:
        logging.warning("%s: %d unreadable images are never found", ranking, unreadable.images)


def _score_labels(ranked: Ranking, truth: GroundTruth, ranking: Path) -> dict[str, Any]:
    revisited, width = truth.protocol == "revisited", ranked.image_ids.shape[1]
    compute = revisited_scores if revisited else classic_scores
    found = np.where(found_images(ranked), ranked.image_ids, _NOT_FOUND)
    metrics, per_query = _split(compute(found.T, truth.queries, KAPPAS))
    complete = width == count_searched(ranking)
    return {
        "protocol": truth.protocol,
        "num_queries": len(truth.queries),
        "metrics": metrics,
        "chance": chance_of_labels(truth.queries, width, revisited=revisited) if complete else {},
        "per_query": per_query,
    }


def _score_places(ranked: Ranking, truth: PlaceLabels, ranking: Path) -> dict[str, Any]:
    searched = count_searched(ranking)
    complete = ranked.image_ids.shape[1] == searched
    try:
        hits = find_first_hits(ranked.image_ids, truth, complete=complete, found=found_images(ranked))
    except DataError as error:
        raise DataError(f"{ranking}: {error}") from None
    return {
        "protocol": "places",
        "num_queries": len(truth.positives),
        "queries_without_positive": truth.without_positive(),
        "radius": truth.radius,
        "views_per_panorama": truth.views_per_panorama,
        "exclude_same_time": bool(truth.query_times),
        "num_ranked": hits.reach,
        "metrics": recalls(hits, truth.conditions),
        "chance": chance_of_places(truth, searched, hits.depths),
        "per_query": {"first_hit": [rank or None for rank in hits.ranks.tolist()]},
        "warnings": find_warnings(ranked.image_ids, ranked.scores, hits),
    }


def check_queries(ranked: Ranking, num_queries: int, ranking: Path, ground_truth: Path) -> None:
    """Refuse a ranking that is not of queries 0 to ``num_queries`` - 1.

    Raises:
        DataError: it is of others; the message names both files.
    """
    if ranked.query_ids.tolist() != list(range(num_queries)):
        raise DataError(
            f"{ranking}: ranks {len(ranked.query_ids)} queries, but {ground_truth} labels queries 0 to "
            f"{num_queries - 1}; rebuild both from the same dataset."
        )


def _split(scores: dict[str, Any]) -> tuple[dict[str, float], dict[str, list]]:
    """One entry per number: ``mp@k_easy`` becomes ``mp@1_easy``, ``mp@5_easy``, ``mp@10_easy``."""
    metrics: dict[str, float] = {}
    per_query: dict[str, list] = {}
    for name, value in scores.items():
        if name.startswith("map"):
            metrics[name] = value
        elif name.startswith("mp@k"):
            metrics.update({name.replace("@k", f"@{k}"): v for k, v in zip(KAPPAS, value, strict=True)})
        elif name.startswith("ap"):
            per_query[name] = value
        else:
            per_query.update({name.replace("@k", f"@{k}"): [row[i] for row in value] for i, k in enumerate(KAPPAS)})
    return metrics, per_query
