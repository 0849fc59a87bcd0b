"""The report: one page with every table, readable without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from descbench.config.tables import Table
from descbench.io.atomic import write_text
from descbench.tables.curves import learning_curve
from descbench.tables.notes import Cell, table_notes
from descbench.tables.table import CHANCE, Line, chance_row, table_lines

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
table { border-collapse: collapse; margin: .5rem 0 1rem }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #d5dbe3; text-align: right }
th:first-child, td:first-child { text-align: left }
.match { color: #17663a } .within-noise { color: #7a5a00 } .off { color: #a12622 }
.reference, .interval { color: #66707d; font-size: .85em } .interval { white-space: nowrap }
p.note, figcaption { color: #4a5462 }
figure { margin: 1rem 0 }
"""


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
    sections = [
        _section(name, table, table_lines(name, table, scores), table_notes(table, scores))
        for name, table in tables.items()
    ]
    page = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>descbench report</title>',
        f"<style>{_STYLE}</style></head><body>",
        "<h1>descbench report</h1>",
        *sections,
        *(learning_curve(model, history) for model, history in histories.items()),
        "</body></html>",
    ]
    write_text(output, "\n".join(page) + "\n")


def _section(name: str, table: Table, lines: Sequence[Line], notes: Sequence[str]) -> str:
    cells = {(line.row, line.dataset, line.metric): line for line in lines}
    head = "".join(f"<th>{escape(column.label)}</th>" for column in table.columns)
    body = []
    for row in table.rows:
        values = "".join(_cell(cells[row.label, column.dataset, column.metric]) for column in table.columns)
        body.append(f"<tr><td>{escape(row.label)}</td>{values}</tr>")
    if table.synthetic:
        values = "".join(f"<td>{value}</td>" for value in chance_row(table, lines))
        body.append(f'<tr class="reference"><td>{CHANCE}</td>{values}</tr>')
    kind = "Drawn images: a check of the machinery, comparable with no published figure." if table.synthetic else ""
    note = " ".join(filter(None, (table.note, kind)))
    return (
        f'<table id="{escape(name)}"><caption>{escape(name)}: {escape(table.title)}</caption>'
        f"<thead><tr><th>method</th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        + "".join(f'<p class="note">{escape(text)}</p>' for text in (note, *notes) if text)
    )


def _cell(line: Line) -> str:
    if line.ours is None:
        ours = "–"
    else:
        interval = "" if line.low is None else f' <span class="interval">{line.low:.1f} to {line.high:.1f}</span>'
        ours = f"{line.ours:.1f}{interval}"
    if line.reference is None:
        return f"<td>{ours}</td>"
    verdict = line.verdict.replace(" ", "-")
    return (
        f'<td><span class="{verdict}" title="{line.verdict}">{ours}</span> '
        f'<span class="reference">{line.reference:.1f}</span></td>'
    )
