"""Curves of descriptors of patches under their table: precision, and the false positive rate, over recall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from descbench.metrics.patch_curves import Banded, Curve, read_curves
from descbench.metrics.scores import Scores
from descbench.tables.drawings import draw_svg
from descbench.tables.row_drawings import EM, GREY, HEIGHT, PANEL, Drawing, legend_of, stroke_of
from descbench.tables.shown import ShownTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS = 6
_COLUMNS = 3
_LINEAR = 0.1  # percent: below it the axis of false positives is linear, so that it has a zero

# Curves by row of the table, of one list of pairs.
Panels = Mapping[str, Mapping[int, Curve]]


@dataclass(frozen=True)
class _Axis:
    """What stands over the recall: an attribute of a curve, its name, and whether its scale is logarithmic."""

    attribute: str
    title: str
    logarithmic: bool


_AXES = (_Axis("precision", "precision (%)", False), _Axis("false_positives", "false positive rate (%)", True))


def patch_curves(table: ShownTable, known: Mapping[str, Mapping[int, Scores]]) -> Iterator[Drawing]:
    """Two drawings of the lists of pairs of a table; none where no scores have curves.

    Args:
        table: as shown.
        known: scores by patch set and by number of the row.

    Raises:
        DataError: curves of a scores file are none.
    """
    panels: dict[str, dict[int, Curve]] = {}
    for patch_set, rows in known.items():
        for row, scores in rows.items():
            for name, curve in read_curves(scores.facts, f"scores of {scores.cell}").items():
                panels.setdefault(name if len(known) == 1 else f"{patch_set}: {name}", {})[row] = curve
    if panels:
        for axis in _AXES:
            yield _draw(table, axis, panels)


def _draw(table: ShownTable, axis: _Axis, panels: Panels) -> Drawing:
    shown = dict(list(panels.items())[:_MOST_PANELS])
    columns = min(len(shown), _COLUMNS)
    height = -(-len(shown) // columns)

    def draw(figure: Figure) -> None:
        for number, (title, curves) in enumerate(shown.items()):
            axes = figure.add_subplot(height, columns, number + 1)
            axes.axvline(95, color=GREY, linestyle=":", linewidth=0.8)
            for row, curve in curves.items():
                _line(axes, curve.recall, getattr(curve, axis.attribute), row)
            axes.set(title=title, xlabel="recall (%)", ylabel=axis.title if number % columns == 0 else "")
            axes.set(xlim=(0, 100), ylim=(0, 100 if axis.logarithmic else 102))
            if axis.logarithmic:
                axes.set_yscale("symlog", linthresh=_LINEAR)
                axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])

    what = f"{axis.title} of {table.name} over recall, on {', '.join(shown)}, with 95 % intervals; dotted: 95 % recall."
    if left := list(panels)[_MOST_PANELS:]:
        what += f" Not drawn: {', '.join(left)}."
    what = what[0].upper() + what[1:]
    name = f"{table.name}-curves-{axis.attribute.replace('_', '-')}"
    size = (PANEL * columns, HEIGHT * height)
    rows = sorted({row for curves in shown.values() for row in curves})
    return Drawing(name, what, draw_svg(name, what, size, draw), legend_of(table.rows, rows), EM * size[0])


def _line(axes: Axes, recall: list[int], values: list[Banded], row: int) -> None:
    colour, dashes = stroke_of(row)
    line, low, high = 100 * np.array(values, float).T  # NaN where there is no band
    axes.plot(recall, line, color=colour, dashes=dashes or (None, None), linewidth=1.5)
    axes.fill_between(recall, low, high, color=colour, alpha=0.15, linewidth=0)
