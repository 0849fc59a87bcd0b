"""Cross tables as tables of papers: what each cell shows, and the figures that were published of it."""

from __future__ import annotations

from collections.abc import Container

from descbench.config.models import Config
from descbench.config.tables import Table
from descbench.tables.notes import Cell


def as_table(config: Config, name: str, there: Container[Cell]) -> Table:
    """A cross table with the figures that stand beside the same methods in the tables of papers.

    Args:
        config: the configuration.
        name: of the cross table.
        there: ``(method, dataset)`` of its cells that are filled; others stay empty.
    """
    block, rows = config.cross_tables[name], []
    cells = block.cells(config)
    for label in dict.fromkeys(cell.row for cell in cells):
        methods = {cell.dataset: cell.method for cell in cells if cell.row == label and cell.method is not None}
        if not methods:
            continue
        figures = [_published(config, methods.get(column[0]), *column) for column in block.columns]
        row = {
            "label": label,
            "method": next(iter(methods.values())),
            "elsewhere": methods,
            "leave_empty": [data for data, _ in block.columns if (methods.get(data), data) not in there],
            "reference_results": [figure for figure in figures if figure is not None],
        }
        rows.append(row)
    columns = [{"dataset": data, "metric": metric, "label": f"{data} {metric}"} for data, metric in block.columns]
    return Table.model_validate({"title": block.title, "columns": columns, "rows": rows})


def _published(config: Config, method: str | None, dataset: str, metric: str) -> dict[str, object] | None:
    """The first figure of a cell in the tables that judge differences, with its tolerance; None: there is none."""
    for table in config.tables.values():
        rows = () if table.other_engine else table.rows
        beside = [row for row in rows if row.methods_on(dataset) == (method,) and dataset not in row.leave_empty]
        for figure in (figure for row in beside for figure in row.reference_results):
            if (figure.dataset, figure.metric) == (dataset, metric):
                tolerance = table.tolerance if figure.tolerance is None else figure.tolerance
                return figure.model_dump() | {"tolerance": tolerance}
    return None
