"""Stage rescore_ranking: what a ranking scores under each choice of its protocol."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from descbench.choices import labels, recall
from descbench.choices.choice import rescore
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.manifest import read_manifest
from descbench.errors import DataError
from descbench.metrics.protocols import PROTOCOLS, read_labels
from descbench.metrics.score import check_queries
from descbench.retrieval.ranking import count_searched, found_images, read_part_info, read_ranking

_NOT_FOUND = np.iinfo(np.int64).min  # no image has this id


def rescore_ranking(
    ranking: Path, ground_truth: Path, manifest: Path, scores: Path, output: Path, *, cell: str | None = None
) -> None:
    """Score a ranking under each choice; :class:`descbench.choices.choice.RescoredCell` says what the file holds.

    Args:
        ranking, ground_truth, manifest: files of the stages before.
        scores: what ``score_ranking`` made of the same ranking.
        output: the file to write.
        cell: method and dataset that the ranking must be of; None: of any.

    Raises:
        StaleFileError: the ranking is of another method or dataset, or the scores are of another ranking.
        DataError: the dataset has no ground truth, or a file is damaged.
    """
    labelled = read_labels(ground_truth)
    if labelled is None:
        raise DataError(f"{ground_truth}: this dataset has no ground truth, so there is nothing to score again.")
    (name, truth), ranked = labelled, read_ranking(ranking, cell)
    check_queries(ranked, PROTOCOLS[name].count(truth), ranking, ground_truth)
    found, rows = found_images(ranked), read_manifest(manifest)
    if isinstance(truth, GroundTruth):
        ids = np.where(found, ranked.image_ids, _NOT_FOUND)
        results = labels.RankedLabels(list(ids), list(ranked.scores), truth, rows)
        ours = {name: value for name, value in labels.every(results).items() if not math.isnan(value)}
        rescore(labels.CHOICES, results, scores, ours, output)
        return
    complete = ranked.image_ids.shape[1] == count_searched(ranking)
    placed = recall.RankedPlaces(
        ranked.image_ids, found, truth, rows, complete, asks_itself=read_part_info(ranking).asks_itself
    )
    rescore(recall.CHOICES, placed, scores, recall.recall(placed), output)
