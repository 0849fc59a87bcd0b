"""Tables as the report shows them: rows of cells, each with its source and the result that it opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from descbench.config.tables import Column, Table, TableRow
from descbench.metrics.scores import read_scores
from descbench.tables.notes import NONE, Cell, Restricted, table_notes
from descbench.tables.table import Line, chance_row, table_lines

# Methods (several where a row repeats a training) and the dataset that they are scored on.
Key = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class ShownCell:
    """A cell of the report.

    Attributes:
        line: its figures.
        source: number of its source in the list under the table; 0: nothing published.
        key: methods and dataset whose scores it shows.
        heading: of its column.
        opens: id of the dialog that says what it rests on; None where there are no scores.
    """

    line: Line
    source: int
    key: Key
    heading: str
    opens: str | None

    @property
    def kind(self) -> str:
        """Class of its verdict in the style sheet."""
        return self.line.verdict.replace(" ", "-")

    @property
    def judged(self) -> list[tuple[str, float, str]]:
        """Kind, figure and verdict of each published figure, where there are two to choose from."""
        figures = [("released", self.line.released), ("paper", self.line.paper)]
        return [(kind, figure, self.line.verdict_against(figure)) for kind, figure in figures if figure is not None]


@dataclass(frozen=True)
class ShownRow:
    """A row of the report, with one cell a column."""

    label: str
    cells: tuple[ShownCell, ...]


@dataclass(frozen=True)
class ShownTable:
    """A table of the report.

    Attributes:
        name: its key in the configuration, and the id of the element.
        block: its block of the configuration.
        rows: in the order of the block.
        better: whether ``higher`` or ``lower`` is better, one a column.
        chance: what a random order would score, as text, one a column; empty where it is known of none.
        notes: what stands under it (:func:`descbench.tables.notes.table_notes`).
        sources: where its published figures were read, each once.
        drawings: curves of its rows.
    """

    name: str
    block: Table
    rows: tuple[ShownRow, ...]
    better: tuple[str, ...]
    chance: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    drawings: tuple[object, ...] = field(default=())

    @property
    def cells(self) -> list[ShownCell]:
        """All cells, row by row."""
        return [cell for row in self.rows for cell in row.cells]

    @property
    def published(self) -> int:
        """Cells with a published figure."""
        return sum(cell.source > 0 for cell in self.cells)

    @property
    def measured(self) -> int:
        """Those of them that have a value of ours."""
        return sum(cell.source > 0 and cell.line.ours is not None for cell in self.cells)

    @property
    def metrics(self) -> list[str]:
        """Metrics of its columns, each once."""
        return list(dict.fromkeys(column.metric for column in self.block.columns))


def shown_table(
    name: str, table: Table, scores: Mapping[Cell, Path], ids: dict[Key, str], restricted: Restricted = NONE
) -> ShownTable:
    """A table of the configuration with its figures.

    Args:
        name: its key.
        table: its block.
        scores: scores files by ``(method, dataset)``.
        ids: of dialogs, by what they are of; new ones are added.
        restricted: weights that allow no commercial use (:func:`descbench.tables.notes.licence_notes`).
    """
    lines = table_lines(name, table, scores)
    sources = list(dict.fromkeys(line.source for line in lines if line.source is not None))
    numbers = {source: number for number, source in enumerate(sources, start=1)}
    return ShownTable(
        name=name,
        block=table,
        rows=_rows(table, lines, numbers, ids),
        better=tuple(_better(table, column, scores) for column in table.columns),
        chance=tuple(chance_row(table, lines)),
        notes=tuple(table_notes(table, scores, restricted)),
        sources=tuple(sources),
    )


def _better(table: Table, column: Column, scores: Mapping[Cell, Path]) -> str:
    """As the first scores say that have the column's metric; ``higher`` where none has it yet."""
    methods = (method for row in table.rows for method in row.methods_on(column.dataset))
    known = (read_scores(scores[method, column.dataset]) for method in methods if (method, column.dataset) in scores)
    return next((found.metrics[column.metric].direction for found in known if column.metric in found.metrics), "higher")


def _rows(
    table: Table, lines: Sequence[Line], numbers: Mapping[str | None, int], ids: dict[Key, str]
) -> tuple[ShownRow, ...]:
    by_cell = {(line.row, line.dataset, line.metric): line for line in lines}

    def cell(row: TableRow, column: int) -> ShownCell:
        shown = table.columns[column]
        line = by_cell[row.label, shown.dataset, shown.metric]
        key = (row.methods_on(shown.dataset), shown.dataset)
        opens = None if line.ours is None else ids.setdefault(key, f"result-{len(ids) + 1}")
        return ShownCell(line, numbers.get(line.source, 0), key, shown.label, opens)

    columns = range(len(table.columns))
    return tuple(ShownRow(row.label, tuple(cell(row, column) for column in columns)) for row in table.rows)
