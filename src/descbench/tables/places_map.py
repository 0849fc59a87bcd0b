"""The map of a place-recognition result: database and queries in the plane, as an inline SVG drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_SIDE, _MARGIN, _LEGEND = 640.0, 52.0, 150.0
# No more marks of a kind than these, so that the drawing stays small whatever the dataset.
_MOST = 1500
_DOT = "h0"


@dataclass(frozen=True)
class RankBin:
    """Queries whose first right image has a rank up to ``last``, and how the map shows them.

    Attributes:
        label: as the legend has it.
        last: highest rank; None: later ranks, and queries without any right image.
        colour: of the mark; told apart with most kinds of colour blindness.
        mark: SVG path around a point, of another shape for every bin.
    """

    label: str
    last: int | None
    colour: str
    mark: str


BINS = (
    RankBin("1", 1, "#0072b2", "m-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z"),
    RankBin("2 to 5", 5, "#009e73", "m-3.2,-3.2h6.4v6.4h-6.4z"),
    RankBin("6 to 20", 20, "#e69f00", "m0,-4.4l4.2,7.2h-8.4z"),
    RankBin("later or none", None, "#d55e00", "m-3,-5l3,3 3,-3 2,2 -3,3 3,3 -2,2 -3,-3 -3,3 -2,-2 3,-3 -3,-3z"),
)


def bin_queries(ranks: np.ndarray) -> np.ndarray:
    """Position in ``BINS`` for the rank (from 1; 0 for none) of each query's first right image: (Q,) int64."""
    limits = [found.last for found in BINS if found.last is not None]
    return np.where(ranks == 0, len(limits), np.searchsorted(limits, ranks))


def draw_map(database: np.ndarray, queries: np.ndarray, ranks: np.ndarray) -> str:
    """A figure with the database in grey and the queries by the rank of their first right image.

    Args:
        database: (N, 2) east and north in metres.
        queries: (Q, 2) likewise.
        ranks: (Q,) ranks from 1, 0 for none.
    """
    plane = _Plane.around(np.concatenate([database, queries]))
    shown = thin_out(database, plane.span / 400)
    marks = [f'<path class="database" d="{plane.path(database[shown], _DOT)}"/>']
    bins, drawn = bin_queries(ranks), 0
    # The worst come last, on top.
    for number, found in enumerate(BINS):
        places = queries[bins == number]
        kept = thin_out(places, plane.span / 400)
        drawn += len(kept)
        if len(kept):
            marks.append(f'<path fill="{found.colour}" d="{plane.path(places[kept], found.mark)}"/>')
    counts = np.bincount(bins, minlength=len(BINS)).tolist()
    spoken = ", ".join(f"{count} at rank {found.label}" for found, count in zip(BINS, counts, strict=True))
    thinned = (
        f" Marks that would cover each other are drawn once ({len(shown)} of {len(database)} database images, "
        f"{drawn} of {len(queries)} queries)."
    )
    west, south = plane.corner
    return (
        '<figure id="map"><svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {plane.width + 2 * _MARGIN + _LEGEND:.0f} {plane.height + 2 * _MARGIN:.0f}" '
        f'aria-label="Map of {len(queries)} queries by the rank of the first right image: {spoken}">'
        f"{_axes(plane)}{''.join(marks)}{_legend(plane, counts)}</svg>"
        "<figcaption>Where the queries were taken, by the rank of the first right image. Axes in metres from "
        f"{west:.0f} east, {south:.0f} north.{thinned}</figcaption></figure>"
    )


def thin_out(places: np.ndarray, cell: float) -> np.ndarray:
    """Which of the places (n, 2) are drawn: the first in every square cell of so many metres, 1500 at most.

    Returns:
        (m,) int64 row numbers, ascending. Where too many are left the cells are doubled.
    """
    while True:
        _, first = np.unique(np.floor(places / cell), axis=0, return_index=True)
        if len(first) <= _MOST:
            return np.sort(first)
        cell *= 2


@dataclass(frozen=True)
class _Plane:
    """How metres become units of the drawing: ``corner`` is its south-west, ``scale`` units a metre."""

    corner: tuple[float, float]
    width: float
    height: float
    scale: float

    @classmethod
    def around(cls, places: np.ndarray) -> _Plane:
        low, high = places.min(0), places.max(0)
        extent = np.maximum(high - low, 1.0)
        scale = _SIDE / extent.max()
        # A single street would be too flat to be seen.
        width, height = np.maximum(extent * scale, _SIDE / 8)
        return cls((float(low[0]), float(low[1])), float(width), float(height), float(scale))

    @property
    def span(self) -> float:
        """Longer side in metres."""
        return _SIDE / self.scale

    def points(self, places: np.ndarray) -> np.ndarray:
        """Places (n, 2) in the drawing, whose y axis points down."""
        x, y = ((places - np.array(self.corner)) * self.scale).T
        return np.stack([_MARGIN + x, _MARGIN + self.height - y], axis=1)

    def path(self, places: np.ndarray, mark: str) -> str:
        return "".join(f"M{x:.1f},{y:.1f}{mark}" for x, y in self.points(places).tolist())


def _axes(plane: _Plane) -> str:
    """A frame with ticks at round numbers of metres."""
    step = _round_step(plane.span)
    bottom, right = _MARGIN + plane.height, _MARGIN + plane.width
    size = f'width="{plane.width:.1f}" height="{plane.height:.1f}"'
    parts = [f'<rect class="frame" x="{_MARGIN:.0f}" y="{_MARGIN:.0f}" {size}/>']
    for metres in np.arange(0, plane.width / plane.scale + 1e-6, step).tolist():
        x = _MARGIN + metres * plane.scale
        parts.append(f'<path class="frame" d="M{x:.1f},{bottom:.1f}v5"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 19:.1f}" text-anchor="middle">{metres:g}</text>')
    for metres in np.arange(0, plane.height / plane.scale + 1e-6, step).tolist():
        y = bottom - metres * plane.scale
        parts.append(f'<path class="frame" d="M{_MARGIN:.1f},{y:.1f}h-5"/>')
        parts.append(f'<text x="{_MARGIN - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{metres:g}</text>')
    parts.append(f'<text x="{right:.1f}" y="{bottom + 38:.1f}" text-anchor="end">metres east</text>')
    parts.append(f'<text x="{_MARGIN:.1f}" y="{_MARGIN - 12:.1f}">metres north</text>')
    return "".join(parts)


def _round_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides the span about five times."""
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _legend(plane: _Plane, counts: list[int]) -> str:
    x = _MARGIN + plane.width + 24
    lines = [f'<text x="{x:.0f}" y="{_MARGIN + 4:.0f}">rank: queries</text>']
    for number, (found, count) in enumerate(zip(BINS, counts, strict=True)):
        y = _MARGIN + 24 + 20 * number
        lines.append(f'<path fill="{found.colour}" d="M{x + 4:.0f},{y:.0f}{found.mark}"/>')
        lines.append(f'<text x="{x + 16:.0f}" y="{y + 4:.0f}">{found.label}: {count}</text>')
    y = _MARGIN + 24 + 20 * len(BINS)
    lines.append(f'<path class="database" d="M{x + 4:.0f},{y:.0f}{_DOT}"/>')
    lines.append(f'<text x="{x + 16:.0f}" y="{y + 4:.0f}">database</text>')
    return "".join(lines)
