"""The registry of protocols: how labels are read, how a ranking is scored, and what stands under a table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from descbench.datasets.ground_truth import GroundTruth, parse_ground_truth
from descbench.datasets.places import PlaceLabels, parse_places
from descbench.datasets.recall_labels import PositiveLabels, RecallLabels, parse_positives
from descbench.errors import DataError
from descbench.io.jsonfiles import read_json
from descbench.io.kinds import shorten
from descbench.metrics.chance import chance_of_labels, chance_of_places
from descbench.metrics.places import find_first_hits, find_warnings, grouped, warn_of_level
from descbench.metrics.revisited import CLASSIC_SETUPS, KAPPAS, SETUPS, setup_scores
from descbench.metrics.scores import Metric, Scores, Value, mean, proportion
from descbench.retrieval.ranking import Ranking, found_images

# Stands for images that were not found: no dataset, no distractor set has such an id.
_NOT_FOUND = np.iinfo(np.int64).min
# Labels that are not ranking labels: none at all, pairs for training, and poses.
_NO_LABELS = ("none", "pairs", "poses")


@dataclass(frozen=True)
class Scored:
    """What a protocol makes of a ranking; the fields are those of :class:`descbench.metrics.scores.Scores`."""

    metrics: dict[str, Metric]
    per_query: dict[str, list[Value]]
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Protocol:
    """A protocol of ranking labels.

    Attributes:
        parse: content and path of a ground-truth file -> labels.
        count: labels -> number of queries.
        score: ranking, labels and number of searched images -> what it scores; DataError where it cannot be scored.
        rule: name of a dataset and scores on it -> what counts as right, in one sentence; None: nothing to say.
        beyond: metric and scores -> why these scores lack it; None: they do not.
    """

    parse: Callable[[dict[str, Any], str | os.PathLike[str]], Any]
    count: Callable[[Any], int]
    score: Callable[[Ranking, Any, int], Scored]
    rule: Callable[[str, Scores], str | None] = lambda dataset, scores: None
    beyond: Callable[[str, Scores], str | None] = lambda metric, scores: None


def read_labels(path: str | os.PathLike[str]) -> tuple[str, Any] | None:
    """Protocol and labels of a ground-truth file; None for a dataset without labels, or with training pairs.

    Raises:
        DataError: the file is damaged, of another version, or of an unknown protocol.
    """
    value = read_json(path, "ground truth")
    name = value.get("protocol")
    if name in _NO_LABELS:
        return None
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise DataError(f"{path}: labels of an unknown protocol {shorten(name)}; delete it and rerun.")
    return name, PROTOCOLS[name].parse(value, path)


def _score_labels(setups: Mapping[str, Any]) -> Callable[[Ranking, GroundTruth, int], Scored]:
    """Average precision and precision at k, under each setup of a protocol."""

    def score(ranked: Ranking, truth: GroundTruth, searched: int) -> Scored:
        found = np.where(found_images(ranked), ranked.image_ids, _NOT_FOUND).T
        width = ranked.image_ids.shape[1]
        chances = chance_of_labels(truth.queries, width, setups) if width == searched else {}
        metrics, per_query = {}, {}
        for setup, result in setup_scores(found, truth.queries, setups).items():
            columns = {f"map{setup}": (result.aps, result.map)}
            for column, depth in enumerate(KAPPAS):
                columns[f"mp@{depth}{setup}"] = result.precisions[:, column], result.mean_precisions[column]
            for name, (values, value) in columns.items():
                per_query[name] = _listed(values)
                metrics[name] = mean(per_query[name], float(value), chance=chances.get(name))
        short = (
            [f"rankings hold {width} of {searched} images, the others count as not found"] if width < searched else []
        )
        return Scored(metrics, per_query, warnings=[*short, *warn_of_level(ranked.scores)])

    return score


def _score_recall(ranked: Ranking, labels: RecallLabels, searched: int, rules: dict[str, Any]) -> Scored:
    """Recall at each depth that the rankings reach, of all queries and of each condition.

    Args:
        ranked, labels: of the same queries.
        searched: number of images.
        rules: facts on what counts as right.
    """
    complete = ranked.image_ids.shape[1] == searched
    hits = find_first_hits(ranked.image_ids, labels, complete=complete, found=found_images(ranked))
    chances = chance_of_places(labels, searched, hits.depths)
    metrics, per_query = {}, {}
    for suffix, chosen in grouped(len(hits.ranks), labels.conditions).items():
        for depth in hits.depths:
            name = f"recall@{depth}{suffix}"
            values = np.full(len(hits.ranks), np.nan)
            values[chosen] = (hits.ranks[chosen] > 0) & (hits.ranks[chosen] <= depth)
            per_query[name] = _listed(values)
            metrics[name] = proportion(per_query[name], chance=chances[name])
    facts = {
        "queries_without_positive": labels.without_positive(),
        **rules,
        "num_ranked": hits.reach,
        "first_hit": [rank or None for rank in hits.ranks.tolist()],
    }
    return Scored(metrics, per_query, facts, find_warnings(ranked.image_ids, ranked.scores, hits))


def _score_places(ranked: Ranking, labels: PlaceLabels, searched: int) -> Scored:
    rules = {
        "radius": labels.radius,
        "views_per_panorama": labels.views_per_panorama,
        "exclude_same_time": bool(labels.query_times),
    }
    return _score_recall(ranked, labels, searched, rules)


def _score_positives(ranked: Ranking, labels: PositiveLabels, searched: int) -> Scored:
    return _score_recall(ranked, labels, searched, {"right": labels.right})


def _place_rule(dataset: str, scores: Scores) -> str:
    facts = scores.facts
    parts = [f"{dataset}: right is what lies within {facts['radius']:g} m"]
    if facts["views_per_panorama"] is not None:
        parts.append(f"only the first hit of each panorama ({facts['views_per_panorama']} images) counts")
    if facts["exclude_same_time"]:
        parts.append("images of the query's own time stamp are left out")
    return "; ".join([*parts, *_without_positive(scores)]) + "."


def _positive_rule(dataset: str, scores: Scores) -> str:
    return "; ".join([f"{dataset}: right is {scores.facts['right']}", *_without_positive(scores)]) + "."


def _without_positive(scores: Scores) -> list[str]:
    alone = scores.facts["queries_without_positive"]
    return [f"{alone} of {scores.num_queries} queries have nothing right"] if alone else []


def _beyond_places(metric: str, scores: Scores) -> str | None:
    depth = re.match(r"recall@(\d+)", metric)
    if depth is None or int(depth[1]) <= scores.facts["num_ranked"]:
        return None
    return f"no more than {scores.facts['num_ranked']} images can count"


def _listed(values: Sequence[float] | np.ndarray) -> list[Value]:
    """Values of queries, None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]


PROTOCOLS: Mapping[str, Protocol] = {
    "revisited": Protocol(parse_ground_truth, lambda truth: len(truth.queries), _score_labels(SETUPS)),
    "classic": Protocol(parse_ground_truth, lambda truth: len(truth.queries), _score_labels(CLASSIC_SETUPS)),
    "places": Protocol(parse_places, lambda labels: len(labels.positives), _score_places, _place_rule, _beyond_places),
    "positives": Protocol(
        parse_positives, lambda labels: len(labels.positives), _score_positives, _positive_rule, _beyond_places
    ),
}
