"""The report: one page with every table, readable without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.config.tables import Table
from descbench.tables.curves import learning_curve
from descbench.tables.notes import Cell, table_notes
from descbench.tables.pages import write_page
from descbench.tables.table import CHANCE, Line, chance_row, table_lines


@dataclass(frozen=True)
class ShownCell:
    """A cell of the report, and the number of its source in the list under the table (0: nothing published)."""

    line: Line
    source: int


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
        chance: what a random order would score, as text, one a column; empty where it is known of none.
        notes: what stands under it (:func:`descbench.tables.notes.table_notes`).
        sources: where its published figures were read, each once.
    """

    name: str
    block: Table
    rows: tuple[ShownRow, ...]
    chance: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def published(self) -> int:
        """Cells with a published figure."""
        return sum(cell.source > 0 for row in self.rows for cell in row.cells)

    @property
    def measured(self) -> int:
        """Those of them that have a value of ours."""
        return sum(cell.source > 0 and cell.line.ours is not None for row in self.rows for cell in row.cells)


def build_report(
    tables: Mapping[str, Table], scores: Mapping[Cell, Path], histories: Mapping[str, Path], output: Path
) -> None:
    """Write ``report.html``: every table as an element ``<table id="table2">`` and so on, then learning curves.

    Args:
        tables: blocks of the configuration, by name.
        scores: scores file of every ``(method, dataset)`` the tables show; those of a `on_demand` column may be
            absent.
        histories: history of every training behind the tables, by model.
        output: the page.

    Raises:
        DataError: as of :func:`descbench.tables.table.build_table`.
    """
    write_page(
        output,
        "report.html.jinja",
        title="descbench report",
        tables=[_shown(name, table, scores) for name, table in tables.items()],
        curves=[learning_curve(model, history) for model, history in histories.items()],
        chance=CHANCE,
    )


def _shown(name: str, table: Table, scores: Mapping[Cell, Path]) -> ShownTable:
    lines = table_lines(name, table, scores)
    sources = list(dict.fromkeys(line.source for line in lines if line.source is not None))
    numbers = {source: number for number, source in enumerate(sources, start=1)}
    return ShownTable(
        name=name,
        block=table,
        rows=_rows(table, lines, numbers),
        chance=tuple(chance_row(table, lines)),
        notes=tuple(table_notes(table, scores)),
        sources=tuple(sources),
    )


def _rows(table: Table, lines: Sequence[Line], numbers: Mapping[str | None, int]) -> tuple[ShownRow, ...]:
    cells = {(line.row, line.dataset, line.metric): ShownCell(line, numbers.get(line.source, 0)) for line in lines}
    return tuple(
        ShownRow(row.label, tuple(cells[row.label, column.dataset, column.metric] for column in table.columns))
        for row in table.rows
    )
