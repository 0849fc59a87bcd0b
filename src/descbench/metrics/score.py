"""Stage score_ranking: a ranking and a ground truth become a file of scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from descbench.errors import DataError
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import read_json
from descbench.metrics.places import warn_of_level_before
from descbench.metrics.protocols import PROTOCOLS, read_labels
from descbench.metrics.scores import Scores, write_scores
from descbench.metrics.unreadable import Unreadable, find_unreadable, warn_of_unturned
from descbench.retrieval.ranking import Ranking, count_searched, read_part_info, read_ranking


def score_ranking(
    ranking: Path,
    ground_truth: Path,
    output: Path,
    *,
    left_out: Path | None = None,
    query_shards: Sequence[Path] = (),
    manifest: Path | None = None,
    cell: str | None = None,
) -> None:
    """Score a ranking; :class:`descbench.metrics.scores.Scores` says what the file holds.

    Metrics are ``map_medium``, ``mp@10_medium`` and so on of protocol ``revisited``, ``map``, ``mp@10`` of
    ``classic``, and ``recall@1``, ``recall@5_night`` of ``places``, whose facts hold ``first_hit`` (rank from 1 of each
    query, null for none), ``queries_without_positive``, ``radius`` (metres), ``views_per_panorama`` and
    ``exclude_same_time`` (the rules of the dataset), and ``num_ranked`` (images that can count in a ranking). Recall
    is given at the depths up to that number.

    Queries that could not be read count as missed, and images that could not be read are never found. ``chance`` is
    known of mean average precision only where the whole database was ranked.

    Args:
        ranking, ground_truth: files of the stages before.
        output: the scores file to write.
        left_out: what :func:`descbench.datasets.build.build_manifest` lists there; None: nothing.
        query_shards: features of the queries, which hold the reasons why some could not be read.
        manifest: of the dataset, for the paths of images that could not be read.
        cell: method and dataset that the ranking must be of, such as ``how_n30 on alderford``; None: of any.

    Raises:
        StaleFileError: the ranking is of another method or dataset.
        DataError: the dataset has no ground truth, the ranking is of another set of queries, or too short.
    """
    labelled = read_labels(ground_truth)
    if labelled is None:
        raise DataError(
            f"{ground_truth}: this dataset has no ground truth, so there is nothing to score its ranking with; "
            f"ask for the ranking itself ({ranking}) instead of its scores."
        )
    name, labels = labelled
    protocol, ranked = PROTOCOLS[name], read_ranking(ranking, cell)
    unreadable = find_unreadable(ranked, ranking, query_shards, manifest)
    check_queries(ranked, protocol.count(labels), ranking, ground_truth)
    try:
        scored = protocol.score(ranked, labels, count_searched(ranking))
    except DataError as error:
        raise DataError(f"{ranking}: {error}") from None
    info = read_part_info(ranking)
    scored.warnings.extend([*warn_of_level_before(ranked.scores, info.made_from), *warn_of_unturned(info)])
    for warning in scored.warnings:
        logging.warning("%s: %s", ranking, warning)
    _tell(unreadable, ranking)
    files = [] if left_out is None else read_json(left_out, "list of what was left out")["files"]
    record = {**vars(scored), **vars(unreadable), "left_out": files, "cell": cell, "labels": sha256_file(ground_truth)}
    write_scores(Scores("retrieval", name, len(ranked.query_ids), **record), output)


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


def _tell(unreadable: Unreadable, ranking: Path) -> None:
    if unreadable.unreadable_queries:
        logging.warning("%s: %d unreadable queries count as missed", ranking, unreadable.unreadable_queries)
    if unreadable.unreadable_images:
        logging.warning("%s: %d unreadable images are never found", ranking, unreadable.unreadable_images)
