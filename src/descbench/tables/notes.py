"""What stands under a table of place recognition: what counts as right on each dataset, and what looks broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from descbench.config.models import Table
from descbench.metrics.score import read_scores

Cell = tuple[str, str]
_SHOWN = 5


def table_notes(table: Table, scores: Mapping[Cell, Path]) -> list[str]:
    """What stands under a table: :func:`place_notes`, and one line for each dataset that files were left out of."""
    left: dict[str, list[dict[str, str]]] = {}
    for cell in _cells(table):
        if cell in scores:
            left[cell[1]] = read_scores(scores[cell]).get("left_out", [])
    lines = [
        f"{dataset}: {len(files)} files of its folders are left out: "
        + ", ".join(f"{file['path']} ({file['reason']})" for file in files[:_SHOWN])
        + (f" and {len(files) - _SHOWN} more." if len(files) > _SHOWN else ".")
        for dataset, files in left.items()
        if files
    ]
    return [*place_notes(table, scores), *lines]


def place_notes(table: Table, scores: Mapping[Cell, Path]) -> list[str]:
    """One line for each dataset of protocol ``places``, then one for each warning in the scores.

    Args:
        table: whose datasets and methods are meant.
        scores: scores files by ``(method, dataset)``; cells without a file, and those of other protocols, give
            no line.
    """
    rules: dict[str, None] = {}
    warnings: dict[str, None] = {}
    for method, dataset in _cells(table):
        if (method, dataset) not in scores:
            continue
        content = read_scores(scores[method, dataset])
        if content.get("protocol") == "places":
            rules[_rule(dataset, content)] = None
            warnings.update({f"Warning, {method} on {dataset}: {text}.": None for text in content["warnings"]})
    return [*rules, *warnings]


def _cells(table: Table) -> Iterable[Cell]:
    return ((row.method, column.dataset) for row in table.rows for column in table.columns)


def _rule(dataset: str, content: Mapping[str, object]) -> str:
    parts = [f"{dataset}: right is what lies within {content['radius']:g} m"]
    if content["one_per"] is not None:
        parts.append(f"only the first hit of each panorama ({content['one_per']} images) counts")
    if content["other_time"]:
        parts.append("images of the query's own time stamp are left out")
    if content["queries_without_positive"]:
        parts.append(f"{content['queries_without_positive']} of {content['num_queries']} queries have nothing right")
    return "; ".join(parts) + "."
