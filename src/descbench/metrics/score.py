"""Stage score_ranking: a ranking and a ground truth become a file of scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from descbench.datasets.ground_truth import read_ground_truth
from descbench.errors import DataError
from descbench.io.atomic import write_json
from descbench.metrics.revisited import KAPPAS, classic_scores, revisited_scores
from descbench.retrieval.ranking import Ranking, read_ranking


def score_ranking(ranking: Path, ground_truth: Path, output: Path) -> None:
    """Score a ranking.

    The JSON holds ``protocol``, ``num_queries``, ``metrics`` (``map_medium``, ``mp@10_medium``...; for
    the classic protocol ``map``, ``mp@10``...) and ``per_query`` (``ap_medium``, ``p@10_medium``...: one
    value per query, null for a query without positives). All values are fractions of 1.

    Raises:
        DataError: the dataset has no ground truth, or the ranking is of another set of queries.
    """
    truth = read_ground_truth(ground_truth)
    if truth is None:
        raise DataError(
            f"{ground_truth}: this dataset has no ground truth, so there is nothing to score its ranking with; "
            f"ask for the ranking itself ({ranking}) instead of its scores."
        )
    ranked = read_ranking(ranking)
    _check(ranked, len(truth.queries), ranking, ground_truth)
    compute = revisited_scores if truth.protocol == "revisited" else classic_scores
    metrics, per_query = _split(compute(ranked.image_ids.T, truth.queries, KAPPAS))
    write_json(
        output,
        {"protocol": truth.protocol, "num_queries": len(truth.queries), "metrics": metrics, "per_query": per_query},
    )


def _check(ranked: Ranking, num_queries: int, ranking: Path, ground_truth: Path) -> None:
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
