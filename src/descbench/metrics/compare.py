"""Two methods on the same queries, metric by metric: what ``descbench compare`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from descbench.errors import DataError
from descbench.metrics.intervals import compare_paired
from descbench.metrics.scores import Metric, Scores

# Statistics of queries whose differences are none of theirs.
_UNTESTED = {
    "median": "the difference of two medians is not the median of differences",
    "stated": "whoever stated it keeps the values of queries",
}


def compare_scores(first: Scores, second: Scores, names: Sequence[str] | None = None) -> list[str]:
    """A line for each metric: both values, their difference with its 95 % interval, and a p-value.

    The difference is the second's minus the first's, over the queries that count for both; the p-value is that of a
    paired permutation test (docs/protocols/intervals.md, Two methods).

    Args:
        first, second: scores on one dataset.
        names: metrics; None: all that both have.

    Raises:
        DataError: scores of other queries or labels, no metric in both, or none that is asked for.
    """
    if (first.protocol, first.num_queries) != (second.protocol, second.num_queries):
        raise DataError(
            f"scores of {first.num_queries} queries ({first.protocol}) and of {second.num_queries} "
            f"({second.protocol}) cannot be compared query by query; score both on one dataset."
        )
    if first.labels != second.labels:
        raise DataError("the two methods were scored with different labels of the dataset; score both again.")
    shared = [name for name in first.metrics if name in second.metrics]
    if not shared:
        raise DataError("the two scores share no metric.")
    for name in names or ():
        if name not in shared:
            raise DataError(f"no metric {name!r} in both scores; they share {', '.join(shared)}.")
    lines = [_line(name, first, second) for name in names or shared]
    for what, one, other in (("first", first, second), ("second", second, first)):
        if alone := [name for name in one.metrics if name not in other.metrics and not names]:
            lines.append(f"only the {what} has {', '.join(alone)}")
    return lines


def _line(name: str, first: Scores, second: Scores) -> str:
    one, other = first.metrics[name], second.metrics[name]
    if why := first.facts.get("not_paired") or _UNTESTED.get(one.statistic):
        return _untested(name, one, other, why)
    found = compare_paired(first.per_query[name], second.per_query[name], first.weights.get(name))
    if found is None:
        return f"{name}: fewer than two {first.facts.get('queries', 'queries')} count"
    scale = one.factor
    values = f"{scale * one.value:.2f} -> {scale * other.value:.2f}"
    interval = f"[{scale * found.low:+.2f}, {scale * found.high:+.2f}]"
    better = "" if one.direction == "higher" else ", lower is better"
    return f"{name}: {values}, {scale * found.difference:+.2f} {interval}, p = {found.p:.4f}{better}"


def _untested(name: str, one: Metric, other: Metric, why: str) -> str:
    """Both values with their own intervals, of a metric whose values of queries give no test."""
    if one.value is None or other.value is None:
        return f"{name}: not known of both"
    shown = (
        f"{m.factor * m.value:.2f}" + ("" if m.low is None else f" [{m.factor * m.low:.2f}, {m.factor * m.high:.2f}]")
        for m in (one, other)
    )
    better = "" if one.direction == "higher" else ", lower is better"
    return f"{name}: {' -> '.join(shown)}, {one.factor * (other.value - one.value):+.2f}{better}; not tested: {why}"
