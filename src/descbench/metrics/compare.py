"""Two methods on the same queries, metric by metric: the table that ``descbench compare`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from descbench.errors import DataError
from descbench.listing import listed
from descbench.metrics.intervals import DRAWS, Comparison, compare_pairs
from descbench.metrics.scores import Metric, Scores

# Statistics for which a paired test has no meaning.
_UNTESTED = {
    "median": "the difference of two medians is not the median of differences",
    "stated": "it was published without a value for each query",
}
# Values of p from here on tell no two methods apart.
_ALPHA = 0.05
# Metrics that are shown where none are asked for, and names in a line.
_ROWS = 20
_NAMES = 4


class _Row(NamedTuple):
    """A line of the table, and why there is no test in it; empty where there is one."""

    cells: tuple[str, ...]
    why: str = ""


def compare_scores(
    first: Scores,
    second: Scores,
    names: Sequence[str] | None = None,
    labels: tuple[str, str] = ("first", "second"),
) -> list[str]:
    """A table with a row for each metric: both values, their difference with its 95 % interval, and a p-value.

    The difference is the second's minus the first's, over the queries that count for both; the p-value is that of a
    paired permutation test (docs/protocols/intervals.md, Two methods). Values of a metric that is not tested stand with
    their own intervals. Lines under the table say what is not in it.

    Args:
        first, second: scores on one dataset.
        names: metrics, or patterns of their names such as ``matching*``; None: the first twenty that both have.
        labels: what the two are called.

    Raises:
        DataError: scores of other queries or labels, no metric in both, or none that is asked for.
    """
    check_same_queries(first, second)
    shared = [name for name in first.metrics if name in second.metrics]
    if not shared:
        raise DataError("the two scores share no metric.")
    asked = shared[:_ROWS] if not names else _asked(names, shared)
    rows = {name: _row(name, first, second) for name in asked}
    lines = _aligned(
        [("metric", *labels, "difference", "95 % interval", "p", "better is"), *(r.cells for r in rows.values())]
    )
    for why in dict.fromkeys(row.why for row in rows.values() if row.why):
        lines.append(f"not tested: {_shortened([name for name in rows if rows[name].why == why])}: {why}")
    if any(not row.why for row in rows.values()) and (least := 2.0 ** (1 - first.num_queries)) >= _ALPHA:
        of = first.facts.get("queries", "queries")
        lines.append(f"{first.num_queries} {of} are too few to tell two methods apart: p is about {least:.2g} or more")
    if names:
        return lines
    if more := shared[_ROWS:]:
        lines.append(f"{len(more)} more metrics, such as {_shortened(more)}; --metric '*' shows all")
    for label, one, other in ((labels[0], first, second), (labels[1], second, first)):
        if alone := [name for name in one.metrics if name not in other.metrics]:
            lines.append(f"only {label} has {_shortened(alone)}")
    return lines


def check_same_queries(first: Scores, second: Scores) -> None:
    """Refuse scores that cannot be compared query by query.

    Raises:
        DataError: they are of other queries or labels.
    """
    if (first.protocol, first.num_queries) != (second.protocol, second.num_queries):
        raise DataError(
            f"scores of {first.num_queries} queries ({first.protocol}) and of {second.num_queries} "
            f"({second.protocol}) cannot be compared query by query; score both on one dataset."
        )
    if first.labels != second.labels:
        raise DataError("the two methods were scored with different labels of the dataset; score both again.")


def why_untested(name: str, scores: Scores) -> str | None:
    """Why two methods cannot be tested by a metric, which is not a mean of values of queries; None: they can."""
    return scores.facts.get("not_paired") or _UNTESTED.get(scores.metrics[name].statistic)


def compare_metric(name: str, first: Scores, second: Scores, permutations: int) -> Comparison | None:
    """The paired test of a metric that :func:`why_untested` has nothing against; None: too few queries count."""
    return compare_metrics(name, [(first, second)], permutations)[0]


def compare_metrics(name: str, pairs: Sequence[tuple[Scores, Scores]], permutations: int) -> list[Comparison | None]:
    """:func:`compare_metric` of several pairs, sooner than one by one."""
    values = [(first.per_query[name], second.per_query[name], first.weights.get(name)) for first, second in pairs]
    return compare_pairs(values, permutations)


def too_few(scores: Scores) -> str:
    """What is said where :func:`compare_metric` gives nothing."""
    return f"fewer than two {scores.facts.get('queries', 'queries')} count"


def _asked(patterns: Sequence[str], shared: Sequence[str]) -> list[str]:
    """Names that fit, each once, pattern by pattern."""
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name in shared if fnmatchcase(name, pattern)]
        if not fitting:
            raise DataError(f"no metric {pattern!r} in both scores; they share {listed(shared)}.")
        found |= dict.fromkeys(fitting)
    return list(found)


def _row(name: str, first: Scores, second: Scores) -> _Row:
    one, other = first.metrics[name], second.metrics[name]
    if why := why_untested(name, first):
        known = one.value is not None and other.value is not None
        difference = f"{one.factor * (other.value - one.value):+.2f}" if known else "-"
        return _Row((name, _with_interval(one), _with_interval(other), difference, "-", "-", one.direction), why)
    found = compare_metric(name, first, second, DRAWS)
    if found is None:
        return _Row((name, _value(one), _value(other), "-", "-", "-", one.direction), too_few(first))
    scale = one.factor
    interval = f"[{scale * found.low:+.2f}, {scale * found.high:+.2f}]"
    cells = (f"{scale * found.difference:+.2f}", interval, f"{found.p:.4f}", one.direction)
    return _Row((name, _value(one), _value(other), *cells))


def _value(metric: Metric) -> str:
    return "-" if metric.value is None else f"{metric.factor * metric.value:.2f}"


def _with_interval(metric: Metric) -> str:
    if metric.value is None or metric.low is None:
        return _value(metric)
    return f"{_value(metric)} [{metric.factor * metric.low:.2f}, {metric.factor * metric.high:.2f}]"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines: names and directions to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in (0, len(widths) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _shortened(names: Sequence[str]) -> str:
    return listed(names, _NAMES)
