"""Stage rescore_ranking: what a ranking scores under each choice of its protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descbench.choices import labels, recall
from descbench.choices.choice import rescore
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.errors import DataError
from descbench.metrics.protocols import PROTOCOLS, read_labels
from descbench.metrics.score import check_queries
from descbench.retrieval.ranking import Ranking, count_searched, found_images, read_part_info, read_ranking

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
    RESCORED[name](Ranked(ranking, ranked, truth, read_manifest(manifest)), scores, output)


@dataclass(frozen=True)
class Ranked:
    """A ranking, its file, the labels of its queries and the manifest of its dataset."""

    file: Path
    ranking: Ranking
    labels: Any
    manifest: Manifest


def _rescore_labelled(ranked: Ranked, scores: Path, output: Path) -> None:
    ids = np.where(found_images(ranked.ranking), ranked.ranking.image_ids, _NOT_FOUND)
    results = labels.RankedLabels(list(ids), list(ranked.ranking.scores), ranked.labels, ranked.manifest)
    ours = {name: value for name, value in labels.every(results).items() if not math.isnan(value)}
    rescore(labels.CHOICES, results, scores, ours, output)


def _rescore_recall(ranked: Ranked, scores: Path, output: Path) -> None:
    image_ids = ranked.ranking.image_ids
    results = recall.RankedPlaces(
        image_ids,
        found_images(ranked.ranking),
        ranked.labels,
        ranked.manifest,
        complete=image_ids.shape[1] == count_searched(ranked.file),
        asks_itself=read_part_info(ranked.file).asks_itself,
    )
    rescore(recall.CHOICES, results, scores, recall.recall(results), output)


# By the protocol of the labels, each of those in descbench.metrics.protocols.
RESCORED = {
    "revisited": _rescore_labelled,
    "classic": _rescore_labelled,
    "places": _rescore_recall,
    "positives": _rescore_recall,
}
