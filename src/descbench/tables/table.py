"""Tables: scores of ours beside published figures, tidy (CSV) and in the paper's own shape (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from descbench.config.posed_datasets import MEDIANS
from descbench.config.tables import Column, ReferenceResult, Table, TableRow
from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.listing import listed
from descbench.metrics.poses import NOBODY
from descbench.metrics.remarks import why_missing
from descbench.metrics.scores import Metric, read_scores
from descbench.tables.notes import NONE, Cell, Restricted, table_notes
from descbench.tables.text import csv_text, markdown_link, markdown_text

COLUMNS = (
    "table",
    "row",
    "dataset",
    "metric",
    "ours",
    "low",
    "high",
    "paper",
    "released",
    "difference",
    "tolerance",
    "verdict",
    "provenance",
    "source",
    "confidence",
)
# A table of drawn images has nothing published beside it, but what a random order would score.
SYNTHETIC_COLUMNS = ("table", "row", "dataset", "metric", "ours", "low", "high", "chance", "provenance")
CHANCE = "chance (a random order)"
T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One cell of a table, in the unit that tables show (fractions in percent); None where nothing is known.

    ``low`` and ``high`` are the 95 % interval of ours (docs/protocols/intervals.md). A row of several seeds has their
    mean, ``spread`` is their standard deviation, and ``low`` and ``high`` are the mean less and plus it.
    ``source`` says where the published figures were read, and ``pending`` which file of poses waits for its server.
    """

    table: str
    row: str
    dataset: str
    metric: str
    ours: float | None
    low: float | None
    high: float | None
    paper: float | None
    released: float | None
    tolerance: float
    chance: float | None
    provenance: str | None
    source: str | None
    other_engine: bool = False
    spread: float | None = None
    pending: str | None = None

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return shown_digits(self.metric)

    @property
    def reference(self) -> float | None:
        """The figure ours is compared with: that of the released weights, else the paper's."""
        return self.paper if self.released is None else self.released

    @property
    def difference(self) -> float | None:
        """Ours minus the reference."""
        if self.ours is None or self.reference is None:
            return None
        return round(self.ours - self.reference, 2)

    @property
    def verdict(self) -> str:
        """``match`` within the tolerance, ``within noise`` where our interval holds the reference, else ``off``;
        ``other engine`` where the published figure is of an engine that nobody can run;
        ``no reference`` where nothing is published, ``no value`` where ours is missing.
        """
        return self.verdict_against(self.reference)

    def verdict_against(self, figure: float | None) -> str:
        """The :attr:`verdict` where ours is compared with that figure, the paper's for example."""
        if figure is None:
            return "no reference"
        if self.ours is None:
            return "no value"
        if self.other_engine:
            return "other engine"
        if abs(round(self.ours - figure, 2)) <= self.tolerance:
            return "match"
        within = self.low is not None and self.low <= figure <= self.high
        return "within noise" if within else "off"

    @property
    def confidence(self) -> str | None:
        """Whether other queries could have given another verdict (docs/protocols/intervals.md, Confidence).

        ``clear`` where every value of our interval has the verdict, ``unclear`` where only some have; None where
        nothing is judged, or ours has no interval.
        """
        if self.low is None or self.verdict not in ("match", "within noise", "off"):
            return None
        nearest, farthest = self.reference - self.tolerance, self.reference + self.tolerance
        if self.verdict == "match":
            return "clear" if nearest <= self.low and self.high <= farthest else "unclear"
        return "clear" if self.high < nearest or farthest < self.low else "unclear"


def build_table(
    name: str,
    table: Table,
    scores: Mapping[Cell, Path],
    provenance: Mapping[Cell, str],
    csv_path: Path,
    markdown_path: Path,
    restricted: Restricted = NONE,
    pages: Mapping[Cell, str] | None = None,
) -> None:
    """Write a table as tidy CSV and as Markdown.

    Args:
        name: name of the table, such as ``table2``.
        table: rows, columns and published figures.
        scores: scores file of every ``(method, dataset)`` the table shows; those of a `on_demand` column may
            be absent, its cells are then empty.
        provenance: path written into the provenance column, by ``(method, dataset)``.
        csv_path, markdown_path: files to write.
        restricted: weights that allow no commercial use (:func:`descbench.tables.notes.licence_notes`).
        pages: address of the page of pictures of each ``(method, dataset)`` that has one, for links of the Markdown.

    Raises:
        DataError: a scores file lacks a metric that the table shows.
    """
    lines = table_lines(name, table, scores, provenance)
    write_lines(lines, SYNTHETIC_COLUMNS if table.synthetic else COLUMNS, csv_path)
    notes = table_notes(table, scores, restricted)
    write_text(markdown_path, render_markdown(name, table, lines, notes, pages or {}))


def table_lines(
    name: str, table: Table, scores: Mapping[Cell, Path], provenance: Mapping[Cell, str] | None = None
) -> list[Line]:
    """All cells of a table, row by row; arguments and errors as of :func:`build_table`."""
    return [
        _line(name, table, row, column, _of(scores, row, column), _of(provenance or {}, row, column, absent=True))
        for row in table.rows
        for column in table.columns
    ]


def render_markdown(
    name: str, table: Table, lines: list[Line], notes: Sequence[str] = (), pages: Mapping[Cell, str] | None = None
) -> str:
    """The table in the paper's shape: one row a method, ours with the reference in brackets, then the notes.

    Ours leads to its page of pictures; that of a row of several trainings to the first page that there is.
    """
    by_cell = {(line.row, line.dataset, line.metric): line for line in lines}
    out = [f"## {name}: {markdown_text(table.title)}", ""]
    out.append("| method | " + " | ".join(markdown_text(column.label) for column in table.columns) + " |")
    out.append("|---|" + "---:|" * len(table.columns))
    for row in table.rows:
        cells = [
            _text(by_cell[row.label, column.dataset, column.metric], first_page(row, column.dataset, pages or {}))
            for column in table.columns
        ]
        out.append(f"| {markdown_text(row.label)} | " + " | ".join(cells) + " |")
    if table.synthetic and (chance := chance_row(table, lines)):
        out.append(f"| {CHANCE} | " + " | ".join(chance) + " |")
    out.append("")
    if any(line.paper is not None or line.released is not None for line in lines):
        out.append(
            "Ours with its 95 % interval, and in brackets the published figure (released weights where stated, else "
            "the paper's)."
        )
    else:
        out.append("Each with its 95 % interval.")
    if table.note:
        out.append(markdown_text(table.note))
    if notes and out[-1]:
        out.append("")
    out += [f"- {markdown_text(note)}" for note in notes]
    return "\n".join(out).rstrip() + "\n"


def first_page(row: TableRow, dataset: str, pages: Mapping[Cell, str]) -> str | None:
    """Address of the first page of the methods of a row on a dataset; None where there is none."""
    cells = ((method, dataset) for method in row.methods_on(dataset))
    return next((pages[cell] for cell in cells if cell in pages), None)


def chance_row(table: Table, lines: Sequence[Line]) -> list[str]:
    """What a random order would score in each column, as text; nothing where it is known of none."""
    known = {(line.dataset, line.metric): line.chance for line in lines if line.chance is not None}
    if not known:
        return []
    values = [known.get((column.dataset, column.metric)) for column in table.columns]
    return ["-" if value is None else f"{value:.1f}" for value in values]


def _line(
    name: str, table: Table, row: TableRow, column: Column, scores: Sequence[Path], provenance: Sequence[str]
) -> Line:
    figure = _figure(row, column)
    return Line(
        table=name,
        row=row.label,
        dataset=column.dataset,
        metric=column.metric,
        **_measured(
            scores, column.metric, [f"{method} on {column.dataset}" for method in row.methods_on(column.dataset)]
        ),
        paper=figure.paper if figure else None,
        released=figure.released if figure else None,
        tolerance=table.tolerance if figure is None or figure.tolerance is None else figure.tolerance,
        provenance=listed(provenance, separator="; ") or None,
        source=figure.source if figure else None,
        other_engine=table.other_engine,
        pending=_pending(scores),
    )


def _pending(paths: Sequence[Path]) -> str | None:
    """SHA-256 of a file of poses that waits for the figures of a benchmark's server; None: nothing waits."""
    facts = [read_scores(path).facts for path in paths]
    return next((found["poses"] for found in facts if found.get("scored_by") == NOBODY), None)


def _of(files: Mapping[Cell, T], row: TableRow, column: Column, *, absent: bool = False) -> list[T]:
    """Files of all methods of a row; none where a cell stays empty and, with ``absent``, where one is not there."""
    cells = [(method, column.dataset) for method in row.methods_on(column.dataset)]
    if absent or column.on_demand or column.dataset in row.leave_empty:
        cells = cells if all(cell in files for cell in cells) else []
    return [files[cell] for cell in cells]


def _figure(row: TableRow, column: Column) -> ReferenceResult | None:
    fitting = (f for f in row.reference_results if (f.dataset, f.metric) == (column.dataset, column.metric))
    return next(fitting, None)


def _measured(paths: Sequence[Path], name: str, cells: Sequence[str]) -> dict[str, float | None]:
    """``ours``, its interval, ``chance`` and ``spread``, two decimals as the originals print them; None without any."""
    known = [_metric(path, name, cell) for path, cell in zip(paths, cells, strict=False)]
    metrics = [metric for metric in known if metric is not None]
    if not metrics or len(metrics) < len(known) or (len(metrics) > 1 and any(m.value is None for m in metrics)):
        return dict.fromkeys(("ours", "low", "high", "chance", "spread"))
    first = metrics[0]
    values = {"ours": first.value, "low": first.low, "high": first.high, "chance": first.chance, "spread": None}
    if len(metrics) > 1:
        mean, spread = np.mean([m.value for m in metrics]), np.std([m.value for m in metrics], ddof=1)
        values |= {"ours": mean, "low": mean - spread, "high": mean + spread, "spread": spread}
    return {key: None if value is None else round(float(first.factor * value), 2) for key, value in values.items()}


def _metric(path: Path, name: str, cell: str) -> Metric | None:
    """A metric of a scores file; None where the database is too small for it."""
    scores = read_scores(path, cell)
    if name in scores.metrics:
        return scores.metrics[name]
    if why_missing(name, scores):
        return None
    raise DataError(f"{path}: no metric {name!r}; this file has {', '.join(sorted(scores.metrics))}.")


def write_lines(lines: Sequence[object], columns: Sequence[str], path: Path) -> None:
    """Write the attributes of objects that are named by columns as CSV; empty where a value is None."""
    cells = [[getattr(line, column) for column in columns] for line in lines]
    frame = pd.DataFrame(cells, columns=list(columns), dtype=object)
    frame = frame.map(lambda value: csv_text(value) if isinstance(value, str) else value)
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def shown_digits(metric: str) -> int:
    """Decimals of a metric in tables: medians of centimetres and degrees are often below one."""
    return 2 if metric.startswith(MEDIANS) else 1


def _text(line: Line, page: str | None) -> str:
    """Ours with its interval, and the reference in brackets; ours leads to a page."""
    if line.ours is None and line.pending is not None:
        return markdown_link(f"poses {line.pending[:12]}", page)

    def shown(value: float | None) -> str:
        return f"{value:.{line.digits}f}"

    if line.ours is None:
        return "-" if line.reference is None else f"- ({shown(line.reference)})"
    ours = markdown_link(shown(line.ours), page)
    if line.spread is not None:
        ours += f" \u00b1 {shown(line.spread)}"
    elif line.low is not None:
        ours += f" [{shown(line.low)}, {shown(line.high)}]"
    return ours if line.reference is None else f"{ours} ({shown(line.reference)})"
