"""What stands under a table: what counts as right on each dataset, what looks broken, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from descbench.config.tables import Table
from descbench.listing import in_list, listed
from descbench.metrics.remarks import rule_of, why_empty, why_missing
from descbench.metrics.scores import Scores, read_scores

Cell = tuple[str, str]
# Of each method the weights behind it that allow no commercial use: what they are called -> licence as stated.
Restricted = Mapping[str, Mapping[str, str]]
NONE: Restricted = {}
_SHOWN = 5


def table_notes(table: Table, scores: Mapping[Cell, Path], restricted: Restricted = NONE) -> list[str]:
    """Notes of a table, each line once: rules, warnings, what could not be read, what was left out, licences.

    Args:
        table: whose datasets and methods are meant.
        scores: scores files by ``(method, dataset)``; cells without a file give no line.
        restricted: see :func:`licence_notes`.
    """
    methods = [method for row in table.rows for method in row.methods]
    cells = dict.fromkeys((method, column.dataset) for method in methods for column in table.columns)
    known = {cell: read_scores(scores[cell], " on ".join(cell)) for cell in cells if cell in scores}
    scored = {method for method, _ in known}
    shown = [(row.label, method) for row in table.rows for method in row.methods if method in scored]
    licences = licence_notes(shown, restricted)
    return list(dict.fromkeys([*scores_notes(known, _beyond(table, known)), *_repeated(table), *licences]))


def scores_notes(known: Mapping[Cell, Scores], more: Iterable[str] = ()) -> list[str]:
    """Notes of scores by ``(method, dataset)``, each line once, with others before what was left out."""
    lines = [*_rules(known), *_warnings(known), *_unreadable(known), *more, *_left_out(known)]
    return list(dict.fromkeys(lines))


def licence_notes(rows: Iterable[tuple[str, str]], restricted: Restricted) -> list[str]:
    """A note for each licence of weights that forbids commercial use, with the weights and the rows that rest on them.

    Args:
        rows: label and method of what a table shows.
        restricted: weights that allow no commercial use, with their licence, by method.
    """
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for label, method in rows:
        for weights, licence in restricted.get(method, {}).items():
            named, resting = found.setdefault(licence, ({}, {}))
            named[weights] = resting[label] = None
    return [
        f"No commercial use of {listed(named)} ({licence}), which these rows rest on: {listed(resting)}."
        for licence, (named, resting) in found.items()
    ]


def _repeated(table: Table) -> Iterator[str]:
    for row in table.rows:
        if row.repeats:
            trainings = f"{1 + len(row.repeats)} trainings that differ in their seed"
            yield f"{in_list(row.label)}: mean \u00b1 standard deviation of {trainings}."


def _rules(known: Mapping[Cell, Scores]) -> Iterator[str]:
    """Rules of the datasets; where those of one dataset differ, as in what was localised, with their methods."""
    told: dict[str, dict[str, list[str]]] = {}
    for (method, dataset), scores in known.items():
        if rule := rule_of(dataset, scores):
            told.setdefault(dataset, {}).setdefault(rule, []).append(method)
    for rules in told.values():
        for rule, methods in rules.items():
            yield rule if len(rules) == 1 else f"{', '.join(methods)}: {rule}"


def _warnings(known: Mapping[Cell, Scores]) -> Iterator[str]:
    for (method, dataset), scores in known.items():
        yield from (f"Warning, {method} on {dataset}: {text}." for text in scores.warnings)


def _unreadable(known: Mapping[Cell, Scores]) -> Iterator[str]:
    for (method, dataset), scores in known.items():
        if scores.unreadable_queries:
            yield f"{method} on {dataset}: {scores.unreadable_queries} unreadable queries count as missed."
        if scores.unreadable_images:
            yield f"{method} on {dataset}: {scores.unreadable_images} unreadable images are never found."


def _beyond(table: Table, known: Mapping[Cell, Scores]) -> Iterator[str]:
    for column in table.columns:
        for (method, dataset), scores in known.items():
            if dataset != column.dataset:
                continue
            if why := why_missing(column.metric, scores):
                yield f"{dataset}: no {column.metric}, since {why}."
            elif why := why_empty(column.metric, scores):
                yield f"{method} on {dataset}: no {column.metric}, since {why}."


def _left_out(known: Mapping[Cell, Scores]) -> Iterator[str]:
    for (_, dataset), scores in known.items():
        if files := scores.left_out:
            named = ", ".join(f"{in_list(file['path'])} ({file['reason']})" for file in files[:_SHOWN])
            more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
            yield f"{dataset}: {len(files)} files of its folders are left out: {named}{more}."
