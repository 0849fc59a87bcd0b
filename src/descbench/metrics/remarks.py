"""What stands under a table about the scores of each protocol: what counts, and why a metric is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from descbench.metrics.protocols import PROTOCOLS
from descbench.metrics.scores import Scores


def rule_of(dataset: str, scores: Scores) -> str | None:
    """What counts as right on a dataset, in one sentence; None: nothing to say."""
    return _RULES[scores.protocol](dataset, scores)


def why_missing(metric: str, scores: Scores) -> str | None:
    """Why scores lack a metric of their protocol; None: they do not."""
    ranked = PROTOCOLS.get(scores.protocol)
    return None if ranked is None else ranked.beyond(metric, scores)


def _fpr95(dataset: str, scores: Scores) -> str:
    return f"{dataset}: false positive rate of non-matching pairs at 95 % recall of matching ones; lower is better."


def _hpatches(dataset: str, scores: Scores) -> str:
    return (
        f"{dataset}: the {scores.num_queries} test sequences of split {scores.facts['split']}, scored as by HPatches' "
        "benchmark in Python."
    )


_RULES: Mapping[str, Callable[[str, Scores], str | None]] = {
    **{name: protocol.rule for name, protocol in PROTOCOLS.items()},
    "fpr95": _fpr95,
    "hpatches": _hpatches,
}
