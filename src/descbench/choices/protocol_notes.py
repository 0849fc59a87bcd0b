"""What stands under a table of choices of scoring: cells that it does not have, and weights that restrict its use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from descbench.config.tables import Column, Table, TableRow
from descbench.listing import listed
from descbench.metrics.remarks import why_empty
from descbench.metrics.scores import read_scores
from descbench.tables.notes import Cell, Restricted, licence_notes
from descbench.tables.table import Line

# Row, dataset and metric.
Place = tuple[str, str, str]


def absent_notes(
    table: Table, lines: Sequence[Line], shown: Collection[Place], scores: Mapping[Cell, Path]
) -> Iterator[str]:
    """Cells of a table that its choices of scoring do not show, with the reason; rows that share these share a line.

    Args:
        table: the block.
        lines: all cells of the table.
        shown: those that the choices show.
        scores: files by ``(method, dataset)``, of at least the cells that are not on demand.
    """
    rows = {row.label: row for row in table.rows}
    columns = {(column.dataset, column.metric): column for column in table.columns}
    absent: dict[str, dict[str, list[str]]] = {}
    for line in lines:
        if (line.row, line.dataset, line.metric) not in shown:
            column = columns[line.dataset, line.metric]
            reason = _why_absent(rows[line.row], column, line, scores)
            absent.setdefault(line.row, {}).setdefault(reason, []).append(column.label)
    sharing: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row, reasons in absent.items():
        for reason, labels in reasons.items():
            sharing.setdefault((reason, tuple(labels)), []).append(row)
    for (reason, labels), names in sharing.items():
        of = "every row" if len(names) == len(table.rows) else listed(names)
        yield f"Not here: {listed(labels)} of {of}, since {reason}."


def _why_absent(row: TableRow, column: Column, line: Line, scores: Mapping[Cell, Path]) -> str:
    """Why a cell has no choices of scoring."""
    if column.dataset in row.leave_empty:
        return "the table leaves them empty (`leave_empty`)"
    if column.on_demand:
        return "columns on demand are not scored otherwise"
    if line.pending is not None:
        return "the poses wait for the figures of the benchmark's server"
    cells = [(method, column.dataset) for method in row.methods_on(column.dataset)]
    reasons = (why_empty(column.metric, read_scores(scores[cell], " on ".join(cell))) for cell in cells)
    return next(filter(None, reasons), "they have no value")


def restricted_notes(
    table: Table, shown: Collection[Place], scores: Mapping[Cell, Path], restricted: Restricted
) -> list[str]:
    """:func:`~descbench.tables.notes.licence_notes` of the methods whose results the choices are computed from.

    Args:
        table: the block.
        shown: the cells that the choices show.
        scores: files by ``(method, dataset)``, which say what variants of the cells there are.
        restricted: weights that allow no commercial use, with their licence, by method.
    """
    rows = {row.label: row for row in table.rows}
    methods = [
        (label, method) for label, dataset, _ in shown for method in _behind(table, rows[label], dataset, scores)
    ]
    return licence_notes(methods, restricted)


def _behind(table: Table, row: TableRow, dataset: str, scores: Mapping[Cell, Path]) -> Iterator[str]:
    """Methods whose results a cell, and what it is made otherwise, are computed from."""
    for method in row.methods_on(dataset):
        yield method
        others = (variant.cell(method, dataset) for variant in table.variants)
        yield from (cell[0] for cell in others if cell is not None and cell in scores)
