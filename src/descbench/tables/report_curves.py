"""Curves of the rows of a table: recall over N, matching accuracy over thresholds, scores against what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from descbench.metrics.mma import THRESHOLDS
from descbench.metrics.places import DEPTHS
from descbench.metrics.scores import FAMILIES, Scores
from descbench.tables.costs import Cost, costs_of, frontier
from descbench.tables.drawings import draw_svg
from descbench.tables.mma_curves import PUBLISHED_PAIRS, published_runs
from descbench.tables.notes import Cell
from descbench.tables.patch_curves import patch_curves
from descbench.tables.results import Basis, Evidence
from descbench.tables.row_drawings import EM, GREY, HEIGHT, PANEL, Drawing, legend_of, stroke_of
from descbench.tables.shown import ShownTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS = 4
_DECADE = 10.0
_PATCHES = FAMILIES["patches"]


@dataclass(frozen=True)
class _Axis:
    """Metrics of one name at several values of ``x``."""

    prefix: str
    values: tuple[int, ...]
    label: str
    title: str
    logarithmic: bool


_AXES = {
    "places": _Axis("recall@", DEPTHS, "N", "Recall@N (%)", True),
    "homographies": _Axis("mma@", THRESHOLDS, "threshold (pixels)", "MMA (%)", False),
}


def table_drawings(table: ShownTable, bases: Mapping[Cell, Basis], evidence: Evidence) -> Iterator[Drawing]:
    """Drawings of the rows of a table that have values of ours; of several seeds, the first.

    Args:
        table: as shown.
        bases: what was measured, by method and dataset.
        evidence: what else is known: published curves, times and sizes.
    """
    known = _known(table, bases)
    for protocol, axis in _AXES.items():
        if panels := {name: rows for name, rows in known.items() if _protocol(rows) == protocol}:
            yield _curves(table, axis, panels, evidence)
    yield from patch_curves(table, {name: rows for name, rows in known.items() if _protocol(rows) in _PATCHES})
    yield from _costs(table, bases, evidence)


def _known(table: ShownTable, bases: Mapping[Cell, Basis]) -> dict[str, dict[int, Scores]]:
    """Scores by dataset and by number of the row, of the columns of a table."""
    found: dict[str, dict[int, Scores]] = {}
    for number, row in enumerate(table.rows):
        for cell in row.cells:
            if cell.opens is not None:
                methods, dataset = cell.key
                found.setdefault(dataset, {})[number] = bases[methods[0], dataset].scores
    return found


def _protocol(rows: Mapping[int, Scores]) -> str:
    return next(iter(rows.values())).protocol


def _curves(table: ShownTable, axis: _Axis, panels: Mapping[str, Mapping[int, Scores]], evidence: Evidence) -> Drawing:
    shown = dict(list(panels.items())[:_MOST_PANELS])
    runs = {name: _published(rows, evidence.figures.get(name, ())) for name, rows in shown.items()}

    def draw(figure: Figure) -> None:
        for number, (name, rows) in enumerate(shown.items(), start=1):
            axes = figure.add_subplot(1, len(shown), number)
            for run in runs[name]:
                axes.plot(axis.values, run, color=GREY, linewidth=0.6, alpha=0.7)
            for row, scores in rows.items():
                _curve(axes, axis, scores, row)
            axes.set(title=name, xlabel=axis.label, ylabel=axis.title if number == 1 else "")
            if axis.logarithmic:
                axes.set_xscale("log")
                axes.minorticks_off()
            axes.set_xticks(axis.values, [str(value) for value in axis.values])

    what = f"{axis.title} of {table.name} by {axis.label}, on {', '.join(shown)}, with 95 % intervals."
    if left := list(panels)[_MOST_PANELS:]:
        what += f" Not drawn: {', '.join(left)}."
    if any(runs.values()):
        number = sum(map(len, runs.values()))
        what += f" Thin grey lines: published runs on the same pairs ({number}), of other settings each."
    name = f"{table.name}-curves-{axis.prefix.strip('@')}"
    size = (PANEL * len(shown), HEIGHT)
    rows = sorted({row for found in shown.values() for row in found})
    return Drawing(name, what, draw_svg(name, what, size, draw), legend_of(table.rows, rows), EM * size[0])


def _published(rows: Mapping[int, Scores], figures: Sequence[Mapping[str, object]]) -> list[tuple[float, ...]]:
    """Published curves of the mean of all pairs, where ours are of the same pairs."""
    first = next(iter(rows.values()))
    alike = first.num_queries == PUBLISHED_PAIRS and first.facts.get("pixels") == "original"
    return [run.curves[""] for run in published_runs(figures if alike else ())[0]]


def _curve(axes: Axes, axis: _Axis, scores: Scores, row: int) -> None:
    metrics = {value: scores.metrics.get(f"{axis.prefix}{value}") for value in axis.values}
    points = {value: metric for value, metric in metrics.items() if metric is not None and metric.value is not None}
    stroke = stroke_of(row)
    axes.plot(
        list(points),
        [100 * metric.value for metric in points.values()],
        color=stroke[0],
        dashes=stroke[1] or (None, None),
        marker="o",
        markersize=2.5,
        linewidth=1.5,
    )
    banded = {value: metric for value, metric in points.items() if metric.low is not None}
    low, high = ([100 * getattr(metric, key) for metric in banded.values()] for key in ("low", "high"))
    axes.fill_between(list(banded), low, high, color=stroke[0], alpha=0.15, linewidth=0)


def _costs(table: ShownTable, bases: Mapping[Cell, Basis], evidence: Evidence) -> Iterator[Drawing]:
    """One drawing of the first column of each dataset of rankings, where times or sizes are known."""
    seen = set()
    for place, column in enumerate(table.block.columns):
        if column.dataset in seen:
            continue
        seen.add(column.dataset)
        points = {}
        for number, row in enumerate(table.rows):
            cell = row.cells[place]
            if cell.opens is not None and (cost := costs_of(bases[cell.key[0][0], cell.key[1]], evidence)):
                points[number] = (cell.line.ours, cost)
        if len(points) > 1:
            yield _pareto(table, column.label, f"{table.name}-costs-{len(seen)}", points)


def _pareto(table: ShownTable, heading: str, name: str, points: Mapping[int, tuple[float, Cost]]) -> Drawing:
    kinds = {
        "search_seconds": "seconds of search a query",
        "cpu_seconds": "CPU seconds of search a query",
        "image_bytes": "bytes read an image",
    }
    shown = {key: label for key, label in kinds.items() if any(getattr(c, key) is not None for _, c in points.values())}

    def draw(figure: Figure) -> None:
        for number, (key, label) in enumerate(shown.items(), start=1):
            axes = figure.add_subplot(1, len(shown), number)
            known = [(getattr(c, key), ours) for ours, c in points.values() if getattr(c, key) is not None]
            axes.plot(*zip(*frontier(known), strict=True), color=GREY, linewidth=0.8, linestyle=":")
            for row, (ours, cost) in points.items():
                if (value := getattr(cost, key)) is not None:
                    axes.plot([value], [ours], "o", color=stroke_of(row)[0], markersize=6)
                    axes.annotate(str(row + 1), (value, ours), textcoords="offset points", xytext=(6, 3))
            axes.set(xlabel=label, ylabel="score in the unit of the table" if number == 1 else "")
            axes.margins(0.15)
            scale_costs(axes, [value for value, _ in known])

    what = (
        f"{table.name}, {heading}: score against what a search costs, numbers as in the list of rows. Times are those "
        "of the jobs that rank, without the start of Python; describing the queries is not in them. Bytes are those of "
        "the files that are searched. Dotted: the rows that no other beats in both."
    )
    size = (PANEL * len(shown), HEIGHT)
    return Drawing(
        name, what, draw_svg(name, what, size, draw), legend_of(table.rows, sorted(points), numbered=True), EM * size[0]
    )


def scale_costs(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where costs differ by a decade; within one the labels of such an axis would lie on one another."""
    if 0 < _DECADE * min(values) <= max(values):
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
