"""What stands under a table of place recognition: what counts as right on each dataset, and what looks broken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from descbench.config.models import Table
from descbench.metrics.score import read_scores

Cell = tuple[str, str]
_SHOWN = 5


def table_notes(table: Table, scores: Mapping[Cell, Path]) -> list[str]:
    """What stands under a table: :func:`place_notes`, then what could not be read, and one line for each dataset that
    files were left out of.
    """
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
    return [*place_notes(table, scores), *_unreadable(table, scores), *lines]


def _unreadable(table: Table, scores: Mapping[Cell, Path]) -> list[str]:
    """One line for each cell whose queries or images had no features, and for each depth beyond a database."""
    lines: dict[str, None] = {}
    for row in table.rows:
        for column in table.columns:
            cell = row.method, column.dataset
            if cell not in scores:
                continue
            content = read_scores(scores[cell])
            what = {"queries": "count as missed", "images": "are never found"}
            for kind, consequence in what.items():
                if number := content.get(f"unreadable_{kind}"):
                    lines[f"{row.method} on {column.dataset}: {number} unreadable {kind} {consequence}."] = None
            if is_beyond(column.metric, content):
                most = f"no more than {content['num_ranked']} images can count"
                lines[f"{column.dataset}: no {column.metric}, since {most}."] = None
    return list(lines)


def is_beyond(metric: str, scores: Mapping[str, Any]) -> bool:
    """Whether a metric is a recall at a depth that the database of these scores does not reach."""
    depth = re.match(r"recall@(\d+)", metric)
    return depth is not None and "num_ranked" in scores and int(depth[1]) > scores["num_ranked"]


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
    if content["views_per_panorama"] is not None:
        parts.append(f"only the first hit of each panorama ({content['views_per_panorama']} images) counts")
    if content["exclude_same_time"]:
        parts.append("images of the query's own time stamp are left out")
    if content["queries_without_positive"]:
        parts.append(f"{content['queries_without_positive']} of {content['num_queries']} queries have nothing right")
    return "; ".join(parts) + "."
