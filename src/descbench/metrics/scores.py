"""Scores files: every metric with its unit, direction, 95 % interval and one value a query.

Whoever scores gives one value a query for each metric; a metric is their mean, weighted where the file says so.
What a query is depends on the family: an image, a pair of patches, a sequence of patches.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from descbench.errors import DataError, StaleFileError
from descbench.io.jsonfiles import as_record, read_json, write_checked_json
from descbench.io.kinds import shorten
from descbench.metrics.intervals import bootstrap_interval, wilson_interval

Value = float | None


@dataclass(frozen=True)
class Unit:
    """A unit of metrics.

    Attributes:
        least, most: values that are possible; None: no limit.
        factor: what a value is multiplied by in tables; fractions are shown in percent.
        sign: of the unit that tables show.
    """

    least: float | None
    most: float | None
    factor: float
    sign: str


# Protocols of each family.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "retrieval": ("revisited", "classic", "places", "positives"),
    "patches": ("fpr95", "hpatches"),
    "matching": ("homographies",),
    "localisation": ("poses",),
}
# What a protocol records besides its metrics.
FACTS: Mapping[str, tuple[str, ...]] = {
    "revisited": (),
    "classic": (),
    "places": (
        "queries_without_positive",
        "radius",
        "views_per_panorama",
        "exclude_same_time",
        "num_ranked",
        "first_hit",
    ),
    "positives": ("queries_without_positive", "right", "num_ranked", "first_hit"),
    "homographies": (
        "queries",
        "pairs",
        "sequences",
        "features",
        "matches",
        "matches_v",
        "matches_i",
        "without_matches",
        "corner_errors",
        "without_homography",
        "pixels",
        "image_size",
        "matching",
        "estimator",
        "threshold",
        "corners",
        "opencv",
    ),
    "fpr95": ("queries", "not_paired", "parts", "positives", "negatives", "curves"),
    "hpatches": (
        "queries",
        "sequences",
        "split",
        "distance",
        "normalisation",
        "implementation",
        "verification_pairs",
        "retrieval_queries",
        "retrieval_distractors",
        "pools",
        "curves",
    ),
    "poses": ("queries", "names", "localised", "filled", "inliers", "poses", "scored_by"),
}
UNITS: Mapping[str, Unit] = {
    "fraction": Unit(0.0, 1.0, 100.0, "%"),
    "metre": Unit(0.0, None, 100.0, "cm"),
    "degree": Unit(0.0, 180.0, 1.0, "deg"),
}
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Metric:
    """A metric of a scores file.

    Attributes:
        value: mean or median of its values of queries, or as stated; None where no query counts.
        low, high: 95 % interval of the value; None where no query counts.
        interval: how it was made: percentile bootstrap over queries, or Wilson's interval of a proportion.
        unit: key of :data:`UNITS`.
        direction: whether higher or lower values are better.
        chance: what a random order is expected to score; None where that is not known.
        statistic: what the value is of those of queries: their mean, their median (a query without a value is worse
            than all others), or nothing, where a server keeps these and states the metric.
    """

    value: Value
    low: Value
    high: Value
    interval: Literal["bootstrap", "wilson"]
    unit: str = "fraction"
    direction: Literal["higher", "lower"] = "higher"
    chance: Value = None
    statistic: Literal["mean", "median", "stated"] = "mean"

    @property
    def factor(self) -> float:
        """What value, interval and chance are multiplied by in tables."""
        return UNITS[self.unit].factor


@dataclass(frozen=True)
class Scores:
    """Content of a scores file.

    Attributes:
        family: of the evaluation, key of :data:`FAMILIES`.
        protocol: of the labels, one of the family's.
        num_queries: of the dataset.
        metrics: by name, such as ``map_medium`` or ``recall@5_night``.
        per_query: by metric, (num_queries,) values; None for a query that does not count in it.
        facts: what a protocol records besides (docs/protocols).
        weights: by metric, (num_queries,) what each query counts for; metrics that are not named weigh all the same.
        warnings: what looks like broken labels or weights rather than like a result.
        unreadable_queries, unreadable_images: how many have no features.
        unreadable: the first hundred of them: role, id, path and reason.
        left_out: files of the user's folders that are not part of the dataset, with the reason.
        cell: method and dataset, such as ``how_n30 on alderford``; None outside the workflow.
        labels: SHA-256 of the ground truth.
    """

    family: str
    protocol: str
    num_queries: int
    metrics: dict[str, Metric]
    per_query: dict[str, list[Value]]
    facts: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, list[float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unreadable_queries: int = 0
    unreadable_images: int = 0
    unreadable: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    cell: str | None = None
    labels: str | None = None


def proportion(values: list[Value], *, chance: Value = None) -> Metric:
    """The metric whose values of queries are 0 or 1: their share of ones, with Wilson's interval."""
    known = [value for value in values if _is_known(value)]
    interval = wilson_interval(round(sum(known)), len(known)) or (None, None)
    return Metric(sum(known) / len(known) if known else None, *interval, "wilson", chance=_known(chance))


def mean(values: list[Value], value: Value, *, chance: Value = None, weights: Sequence[float] | None = None) -> Metric:
    """The metric that is the mean of its values of queries, as the protocol computes it, with a bootstrap interval."""
    interval = bootstrap_interval(values, weights) or (None, None)
    return Metric(_known(value), *interval, "bootstrap", chance=_known(chance))


def write_scores(scores: Scores, path: str | os.PathLike[str]) -> None:
    """Write a scores file as JSON with a checksum, atomically."""
    write_checked_json(path, asdict(scores))


def read_scores(path: str | os.PathLike[str], cell: str | None = None) -> Scores:
    """Read a scores file.

    Args:
        path: the file.
        cell: method and dataset that it must be of; None: of any.

    Raises:
        StaleFileError: it is of another method or dataset.
        DataError: it is damaged or no scores file, a value is outside the range of its unit, or a metric is not
            the mean of its values of queries, or a median that cannot be theirs.
    """
    scores = as_record(Scores, read_json(path, "scores file"), path, "scores file")
    if cell is not None and scores.cell != cell:
        raise StaleFileError(f"{path}: scores of {scores.cell}, not of {cell}; delete the file and rerun.")
    try:
        _check_head(scores)
        for name, metric in scores.metrics.items():
            values, weights = scores.per_query.get(name), scores.weights.get(name)
            _check(metric, values, scores.num_queries, f"{shorten(name)}")
            _STATISTICS[metric.statistic](metric, values, weights, f"{shorten(name)}")
    except ValueError as error:
        raise DataError(f"{path}: {error}; delete the file and rerun.") from error
    return scores


def _check_head(scores: Scores) -> None:
    """Refuse what belongs to no scores file, or to one of another version; ValueError."""
    known = scores.protocol in FAMILIES.get(scores.family, ())
    if not known or set(scores.facts) != set(FACTS[scores.protocol]):
        raise ValueError(f"scores of family {shorten(scores.family)}, protocol {shorten(scores.protocol)}")
    if not set(scores.weights) <= set(scores.metrics):
        raise ValueError("weights of metrics that are not there")
    if set(scores.per_query) != set(scores.metrics):
        raise ValueError("metrics and values of queries are not of the same names")
    if min(scores.num_queries, scores.unreadable_queries, scores.unreadable_images) < 0:
        raise ValueError("a negative number of queries or images")
    if any(set(file) != {"path", "reason"} for file in scores.left_out):
        raise ValueError("files that were left out without path or reason")


def _check(metric: Metric, values: list[Value] | None, queries: int, name: str) -> None:
    """Refuse a metric that cannot be one; ValueError."""
    unit = UNITS.get(metric.unit)
    if unit is None:
        raise ValueError(f"{name} is in an unknown unit {shorten(metric.unit)}")
    if values is None or len(values) != queries:
        raise ValueError(f"{name} has {len(values or ())} values of {queries} queries")
    known = [value for value in values if value is not None]
    for value in (metric.value, metric.low, metric.high, metric.chance, *known):
        if value is not None and not _within(value, unit):
            raise ValueError(f"{name} has the value {value}, not a {metric.unit} of {unit.least} to {unit.most}")
    if (metric.low is None) != (metric.high is None) or (metric.low or 0) > (1 if metric.high is None else metric.high):
        raise ValueError(f"{name} has an interval of {metric.low} to {metric.high}")


def _check_mean(metric: Metric, values: list[Value], weights: list[float] | None, name: str) -> None:
    """Refuse a metric that is not the mean of its values of queries; ValueError."""
    if (metric.value is None) == any(value is not None for value in values):
        raise ValueError(f"{name} is {metric.value} of the queries that count")
    weights = [1.0] * len(values) if weights is None else weights
    if len(weights) != len(values) or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError(f"{name} has weights that are none of {len(values)} queries")
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = math.fsum(weight for _, weight in known)
    if known and not total:
        raise ValueError(f"{name} has no query of weight above 0")
    if known and abs(metric.value - math.fsum(value * weight for value, weight in known) / total) > _ROUNDING:
        raise ValueError(f"{name} is {metric.value}, not the mean of its values of queries")


def _check_median(metric: Metric, values: list[Value], weights: list[float] | None, name: str) -> None:
    """Refuse a median that is not between that of the values and the largest of them; ValueError.

    Queries without a value are of another group, or worse than all that have one.
    """
    known = [value for value in values if value is not None]
    if weights is not None or (metric.value is not None and not known):
        raise ValueError(f"{name} is a median of nothing, or has weights")
    if metric.value is not None and not min(known) - _ROUNDING <= metric.value <= max(known) + _ROUNDING:
        raise ValueError(f"{name} is {metric.value}, not among its values of queries")


def _check_stated(metric: Metric, values: list[Value], weights: list[float] | None, name: str) -> None:
    """Refuse values of queries of a metric that was stated by others; ValueError."""
    if weights is not None or any(value is not None for value in values) or metric.low is not None:
        raise ValueError(f"{name} is stated, but has values of queries")


_STATISTICS = {"mean": _check_mean, "median": _check_median, "stated": _check_stated}


def _within(value: float, unit: Unit) -> bool:
    low = unit.least is None or value >= unit.least - _ROUNDING
    return low and (unit.most is None or value <= unit.most + _ROUNDING) and math.isfinite(value)


def _is_known(value: Value) -> bool:
    return value is not None and not math.isnan(value)


def _known(value: Value) -> Value:
    return value if _is_known(value) else None
