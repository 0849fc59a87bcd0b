"""Drawings of the rows of a table: a row has the same colour and dashes in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from descbench.tables.shown import ShownRow

# Seen on light and on dark ground; rows beyond them go through the dashes.
_COLOURS = ("#2f7fd0", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#7b68c8", "#5b8a9a", "#c0392b")
_DASHES = ((), (4, 2), (1, 1.5), (6, 2, 1, 2))
# Of what others published, and of lines that are not a row.
GREY = "#8c8c8c"
# Inches of a panel, and heights of the page's letters an inch.
PANEL, HEIGHT, EM = 3.6, 2.7, 6.5


@dataclass(frozen=True)
class Stroke:
    """How a row is drawn: colour, and dashes as SVG writes them (empty: none)."""

    label: str
    colour: str
    dashes: str


@dataclass(frozen=True)
class Drawing:
    """A drawing under a table.

    Attributes:
        name: id of its element.
        caption: what it shows, in words.
        svg: an ``<svg>`` element.
        legend: its rows.
        width: of the drawing on the page, in the height of its letters.
    """

    name: str
    caption: str
    svg: Markup
    legend: tuple[Stroke, ...]
    width: float


def stroke_of(row: int) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes (as Matplotlib takes them; empty: none) of a row, by its number in the table."""
    return _COLOURS[row % len(_COLOURS)], _DASHES[row // len(_COLOURS) % len(_DASHES)]


def legend_of(rows: Sequence[ShownRow], numbers: Sequence[int], *, numbered: bool = False) -> tuple[Stroke, ...]:
    """The legend of those rows of a table that are drawn."""
    strokes = ((number, *stroke_of(number)) for number in numbers)
    return tuple(
        Stroke(f"{number + 1}. {rows[number].label}" if numbered else rows[number].label, colour, _dashed(dashes))
        for number, colour, dashes in strokes
    )


def _dashed(dashes: Sequence[float]) -> str:
    return " ".join(f"{2 * dash:g}" for dash in dashes)
