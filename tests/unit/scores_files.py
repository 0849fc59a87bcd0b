"""Scores files for tests, of metrics that are told rather than measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from descbench.metrics.scores import Metric, Scores, write_scores


def write_told(
    path: Path,
    values: Mapping[str, float | None],
    *,
    chance: Mapping[str, float] | None = None,
    spread: float = 0.02,
    queries: int = 3,
    cell: str | None = None,
) -> Path:
    """A scores file of protocol revisited, whose queries all have the value and whose intervals are so wide."""
    metrics, per_query = {}, {}
    for name, value in values.items():
        low, high = (None, None) if value is None else (max(0.0, value - spread), min(1.0, value + spread))
        metrics[name] = Metric(value, low, high, "bootstrap", chance=(chance or {}).get(name))
        per_query[name] = [value] * queries
    write_scores(Scores("retrieval", "revisited", queries, metrics, per_query, cell=cell), path)
    return path
