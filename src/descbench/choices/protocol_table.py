"""Stage build_protocol_table: the cells of a table under each choice of scoring, tidy (CSV) and in short (Markdown).

Definition: docs/protocols/choices.md, How to read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd

from descbench.choices.choice import Rescored, RescoredCell, read_rescored
from descbench.choices.protocol_notes import absent_notes, restricted_notes
from descbench.config.tables import Table, TableRow
from descbench.io.atomic import write_text
from descbench.listing import listed
from descbench.metrics.scores import read_scores
from descbench.tables.notes import NONE, Cell, Restricted
from descbench.tables.table import Line, first_page, table_lines
from descbench.tables.text import csv_text, markdown_link, markdown_text

COLUMNS = (
    "table",
    "row",
    "dataset",
    "metric",
    "choice",
    "description",
    "used_by",
    "value",
    "difference",
    "published",
    "distance",
    "lowest",
    "highest",
)
OURS = "ours"
_ENOUGH = 6  # choices of other code bases that a column is expected to have


@dataclass(frozen=True)
class Outcome:
    """What a cell scores under one choice, in the unit that tables show.

    Attributes:
        choice, text, used_by: of the choice; ``used_by`` is empty where nobody is known to score so.
        value: of the cell.
    """

    choice: str
    text: str
    used_by: str
    value: float


@dataclass(frozen=True)
class CellChoices:
    """A cell of a table under all choices that concern it.

    Attributes:
        line: the cell as the table has it; its ``ours`` is known.
        outcomes: in the order of the choices; none where no choice concerns the metric.
        silent: choices that concern the dataset, but not these results, with the reason.
    """

    line: Line
    outcomes: tuple[Outcome, ...]
    silent: Mapping[str, str]

    @property
    def used(self) -> tuple[Outcome, ...]:
        """The choices that a code base is known to make. The others are in no spread, and explain nothing."""
        return tuple(outcome for outcome in self.outcomes if outcome.used_by)

    @property
    def lowest(self) -> Outcome:
        """The smallest value of ours and of the choices in use."""
        return min((self._ours, *self.used), key=lambda outcome: outcome.value)

    @property
    def highest(self) -> Outcome:
        """The largest value of ours and of the choices in use."""
        return max((self._ours, *self.used), key=lambda outcome: outcome.value)

    @property
    def closest(self) -> Outcome | None:
        """The choice in use whose value is nearest to the published figure, the first of equal ones; ours goes first.

        None where nothing is published.
        """
        return self._nearest((self._ours, *self.used))

    @property
    def closest_of_all(self) -> Outcome | None:
        """As :attr:`closest`, of all choices; one in use goes before equal ones."""
        return self._nearest((self._ours, *self.used, *self.outcomes))

    @property
    def _ours(self) -> Outcome:
        return Outcome(OURS, "as in the table", "", self.line.ours)

    def _nearest(self, outcomes: Sequence[Outcome]) -> Outcome | None:
        if self.line.reference is None:
            return None
        return min(outcomes, key=lambda outcome: abs(round(outcome.value - self.line.reference, 2)))

    def records(self) -> Iterator[dict[str, object]]:
        """Rows of the CSV, ours first."""
        line = self.line
        for outcome in (self._ours, *self.outcomes):
            yield {
                "table": line.table,
                "row": line.row,
                "dataset": line.dataset,
                "metric": line.metric,
                "choice": outcome.choice,
                "description": outcome.text,
                "used_by": outcome.used_by or None,
                "value": outcome.value,
                "difference": round(outcome.value - line.ours, 2),
                "published": line.reference,
                "distance": None if line.reference is None else round(outcome.value - line.reference, 2),
                "lowest": self.lowest.value,
                "highest": self.highest.value,
            }


def build_protocol_table(
    name: str,
    table: Table,
    scores: Mapping[Cell, Path],
    rescored: Mapping[Cell, Path],
    csv_path: Path,
    markdown_path: Path,
    restricted: Restricted = NONE,
    pages: Mapping[Cell, str] | None = None,
) -> None:
    """Write the cells of a table under each choice, one a row, and a short form.

    Args:
        name: of the table.
        table: rows, columns and published figures.
        scores, rescored: files of every ``(method, dataset)`` of the table, but for on-demand columns; ``scores`` of
            its variants as well, those on demand where they are there.
        csv_path, markdown_path: files to write.
        restricted: weights that allow no commercial use (:func:`descbench.tables.notes.licence_notes`).
        pages: address of the page of pictures of each ``(method, dataset)`` that has one, for links of the Markdown.

    Raises:
        StaleFileError: choices of other scores than those beside them.
        DataError: a file is damaged.
    """
    lines = table_lines(name, table, scores)
    cells = _cells(table, lines, scores, rescored)
    records = [record for cell in cells for record in cell.records()]
    frame = pd.DataFrame(records, columns=list(COLUMNS), dtype=object)
    frame = frame.map(lambda value: csv_text(value) if isinstance(value, str) else value)
    write_text(csv_path, frame.to_csv(index=False, lineterminator="\n"))
    shown = [(cell.line.row, cell.line.dataset, cell.line.metric) for cell in cells]
    notes = [*absent_notes(table, lines, shown, scores), *restricted_notes(table, shown, scores, restricted)]
    write_text(markdown_path, _markdown(name, table, cells, notes, pages or {}))


def protocol_cells(
    name: str, table: Table, scores: Mapping[Cell, Path], rescored: Mapping[Cell, Path]
) -> list[CellChoices]:
    """The cells of a table that have a value; arguments and errors as of :func:`build_protocol_table`."""
    return _cells(table, table_lines(name, table, scores), scores, rescored)


def _cells(
    table: Table, lines: Sequence[Line], scores: Mapping[Cell, Path], rescored: Mapping[Cell, Path]
) -> list[CellChoices]:
    found = {cell: read_rescored(path, " on ".join(cell), scores[cell]) for cell, path in rescored.items()}
    rows = {row.label: row for row in table.rows}
    cells = (cell_choices(table, rows[line.row], line, scores, found) for line in lines)
    return [cell for cell in cells if cell is not None]


def cell_choices(
    table: Table, row: TableRow, line: Line, scores: Mapping[Cell, Path], found: Mapping[Cell, RescoredCell]
) -> CellChoices | None:
    """One cell of a table under all choices; None where it has no value, or a method of its row was not rescored.

    Args:
        table: the block.
        row: the row of the cell.
        line: the cell.
        scores: files by ``(method, dataset)``.
        found: what :func:`descbench.choices.choice.read_rescored` read of them.
    """
    known = _of_row(row, line, found)
    if line.ours is None or not known:
        return None
    made, lacking = _variants(table, row, line, scores)
    outcomes = (*_outcomes(known, line.metric, _factor(row, line, scores)), *made)
    return CellChoices(line, outcomes, _silent(known) | lacking)


def _variants(
    table: Table, row: TableRow, line: Line, scores: Mapping[Cell, Path]
) -> tuple[list[Outcome], dict[str, str]]:
    """What the cell is from results that were made otherwise, and of which of these there are no scores."""
    found, lacking = [], {}
    for variant in table.variants:
        cells = [variant.cell(method, line.dataset) for method in row.methods_on(line.dataset)]
        absent = [" on ".join(cell) for cell in cells if cell is not None and cell not in scores]
        if absent:
            lacking[variant.choice] = f"{', '.join(absent)} was not scored"
        elif None not in cells:
            metrics = [read_scores(scores[cell], " on ".join(cell)).metrics.get(line.metric) for cell in cells]
            if all(metric is not None and metric.value is not None for metric in metrics):
                value = fmean(metric.factor * metric.value for metric in metrics)
                found.append(Outcome(variant.choice, variant.text, variant.used_by or "", round(value, 2)))
    return found, lacking


def _of_row(row: TableRow, line: Line, found: Mapping[Cell, RescoredCell]) -> list[RescoredCell]:
    """Choices of the methods of a row on a dataset; none where one is not there."""
    cells = [(method, line.dataset) for method in row.methods_on(line.dataset)]
    return [found[cell] for cell in cells] if all(cell in found for cell in cells) else []


def _factor(row: TableRow, line: Line, scores: Mapping[Cell, Path]) -> float:
    """What values of a metric are multiplied by in tables."""
    method = row.methods_on(line.dataset)[0]
    return read_scores(scores[method, line.dataset]).metrics[line.metric].factor


def _outcomes(cells: Sequence[RescoredCell], metric: str, factor: float) -> Iterator[Outcome]:
    """Means over the methods of a row, of the choices that all of them have."""
    others = [{choice.name: choice for choice in cell.choices} for cell in cells[1:]]
    for choice in cells[0].choices:
        same: list[Rescored] = [choice, *(other[choice.name] for other in others if choice.name in other)]
        if len(same) == len(cells) and all(metric in one.values for one in same):
            value = fmean(one.values[metric] for one in same)
            yield Outcome(choice.name, choice.text, choice.used_by, round(factor * value, 2))


def _silent(cells: Sequence[RescoredCell]) -> dict[str, str]:
    return {choice.name: choice.reason for cell in cells for choice in cell.choices if choice.reason is not None}


def _markdown(
    name: str, table: Table, cells: Sequence[CellChoices], notes: Sequence[str], pages: Mapping[Cell, str]
) -> str:
    """A line a cell, then what each choice is, which say nothing, and the notes."""
    out = [f"## {name} under other choices of scoring: {markdown_text(table.title)}", ""]
    out += ["| method | column | ours | published | closest | lowest | highest |", "|---|---|---:|---:|---|---|---|"]
    labels = {(column.dataset, column.metric): column.label for column in table.columns}
    rows = {row.label: row for row in table.rows}
    for cell in cells:
        line = cell.line
        ours = markdown_link(_figure(line, line.ours), first_page(rows[line.row], line.dataset, pages))
        published = "-" if line.reference is None else _figure(line, line.reference)
        found = [_shown(line, outcome) for outcome in (cell.closest, cell.lowest, cell.highest)]
        texts = map(markdown_text, (line.row, labels[line.dataset, line.metric]))
        out.append("| " + " | ".join([*texts, ours, published, *map(markdown_text, found)]) + " |")
    found = [outcome for cell in cells for outcome in cell.outcomes]
    used = {o.choice: f"{o.text} ({o.used_by})" for o in found if o.used_by}
    others = {o.choice: o.text for o in found if not o.used_by}
    out += ["", *(f"- `{choice}`: {markdown_text(text)}." for choice, text in used.items())]
    if others:
        out += ["", "Nobody is known to score so, and lowest, highest and closest leave these out:", ""]
        out += [f"- `{choice}`: {markdown_text(text)}." for choice, text in others.items()]
    out += ["", *_few(cells, labels), *_silences(cells), *(f"- {markdown_text(note)}" for note in notes)]
    return "\n".join(out).rstrip() + "\n"


def _few(cells: Sequence[CellChoices], labels: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Columns that fewer code bases score otherwise than a table of choices should have."""
    most: dict[tuple[str, str], int] = {}
    for cell in cells:
        column = cell.line.dataset, cell.line.metric
        most[column] = max(most.get(column, 0), len(cell.used))
    columns: dict[int, list[str]] = {}
    for column, count in most.items():
        if count < _ENOUGH:
            columns.setdefault(count, []).append(labels[column])
    for count, names in columns.items():
        known = "No choice" if not count else f"Not more than {count} choice{'s' if count > 1 else ''}"
        yield markdown_text(
            f"- {known} of other code concern{'s' if count < 2 else ''} these results in {', '.join(names)}."
        )


def _silences(cells: Sequence[CellChoices]) -> Iterator[str]:
    """Which choices say nothing, by the reason; rows that share these on a dataset share a line."""
    rows: dict[tuple[str, str], list[str]] = {}
    for (row, dataset), silent in {(c.line.row, c.line.dataset): c.silent for c in cells}.items():
        reasons: dict[str, list[str]] = {}
        for choice, reason in silent.items():
            reasons.setdefault(reason, []).append(f"`{choice}`")
        if found := "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items()):
            rows.setdefault((dataset, found), []).append(row)
    for (dataset, found), names in rows.items():
        yield markdown_text(f"- On {dataset}, nothing is said by {found}. Rows: {listed(names)}.")


def _figure(line: Line, value: float) -> str:
    return f"{value:.{line.digits}f}"


def _shown(line: Line, outcome: Outcome | None) -> str:
    return "-" if outcome is None else f"{_figure(line, outcome.value)} ({outcome.choice})"
