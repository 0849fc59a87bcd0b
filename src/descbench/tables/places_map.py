"""The map of a place-recognition result: database and queries in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from descbench.tables.drawings import draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches of the longer side and of what stands around the map.
_SIDE, _AROUND = 6.4, 1.2
# No more marks of a kind than these, so that the drawing stays small whatever the dataset.
_MOST = 1500
_GREY = "#8d97a4"


@dataclass(frozen=True)
class RankBin:
    """Queries whose first right image has a rank up to ``last``, and how the map shows them.

    Attributes:
        label: as the legend has it.
        last: highest rank; None: later ranks and queries that found nothing, or for which nothing is right.
        colour: of the mark; told apart with most kinds of colour blindness.
        mark: Matplotlib's marker, of another shape for every bin.
    """

    label: str
    last: int | None
    colour: str
    mark: str


BINS = (
    RankBin("1", 1, "#0072b2", "o"),
    RankBin("2 to 5", 5, "#009e73", "s"),
    RankBin("6 to 20", 20, "#e69f00", "^"),
    RankBin("later or none", None, "#d55e00", "X"),
    RankBin("nothing is right", None, "#777777", "1"),
)
NOTHING_RIGHT = -1


@dataclass(frozen=True)
class PlacesMap:
    """A map for a page: an ``<svg>`` element, and what it shows in words."""

    drawing: Markup
    caption: str


def bin_queries(ranks: np.ndarray) -> np.ndarray:
    """Position in ``BINS`` for the rank of each query's first right image: (Q,) int64.

    Ranks are from 1; 0: it found none; ``NOTHING_RIGHT``: there is none.
    """
    limits = [found.last for found in BINS if found.last is not None]
    found = np.where(ranks == 0, len(limits), np.searchsorted(limits, ranks))
    return np.where(ranks == NOTHING_RIGHT, len(BINS) - 1, found)


def draw_map(database: np.ndarray, queries: np.ndarray, ranks: np.ndarray) -> PlacesMap:
    """The database in grey and the queries by the rank of their first right image; north is up.

    Args:
        database: (N, 2) east and north in metres.
        queries: (Q, 2) likewise.
        ranks: (Q,), as :func:`bin_queries` has them.
    """
    plane = _Plane.around(np.concatenate([database, queries]))
    bins = bin_queries(ranks)
    binned = [queries[bins == number] for number in range(len(BINS))]
    marks = [plane.thinned(database), *map(plane.thinned, binned)]
    counts = [len(places) for places in binned]
    spoken = ", ".join(f"{found.label}: {count}" for found, count in zip(BINS, counts, strict=True))
    west, south = plane.corner
    caption = (
        "Where the queries were taken, by the rank of the first right image. Axes in metres from "
        f"{west:.0f} east, {south:.0f} north. Marks that would cover each other are drawn once ({len(marks[0])} of "
        f"{len(database)} database images, {sum(map(len, marks[1:]))} of {len(queries)} queries)."
    )
    label = f"Map of {len(queries)} queries by the rank of the first right image: {spoken}"

    def draw(figure: Figure) -> None:
        _draw(figure.add_subplot(), plane, marks, counts)
        figure.legend(loc="outside right upper", frameon=False, title="rank: queries", alignment="left")

    return PlacesMap(draw_svg("map", label, plane.size, draw), caption)


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
    """The part of the plane that is shown: ``extent`` (2,) metres east and north of its south-west ``corner``."""

    corner: tuple[float, float]
    extent: np.ndarray

    @classmethod
    def around(cls, places: np.ndarray) -> _Plane:
        low, high = places.min(0), places.max(0)
        extent = np.maximum(high - low, 1.0)
        # A single street would be too flat to be seen.
        return cls((float(low[0]), float(low[1])), np.maximum(extent, extent.max() / 8))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing in inches."""
        width, height = self.extent / self.extent.max() * _SIDE + _AROUND
        return float(width) + _AROUND, float(height)

    def thinned(self, places: np.ndarray) -> np.ndarray:
        """Places (m, 2) that are drawn, in metres from the corner."""
        return places[thin_out(places, float(self.extent.max()) / 400)] - np.array(self.corner)


def _draw(axes: Axes, plane: _Plane, marks: Sequence[np.ndarray], counts: Sequence[int]) -> None:
    """The worst queries come last, on top."""
    margin = 0.02 * plane.extent.max()
    axes.set(xlim=(-margin, plane.extent[0] + margin), ylim=(-margin, plane.extent[1] + margin), aspect="equal")
    axes.set(xlabel="metres east", ylabel="metres north")
    axes.plot(*marks[0].T, ".", color=_GREY, markersize=5, markeredgewidth=0, label="database", gid="database")
    for found, places, count in zip(BINS, marks[1:], counts, strict=True):
        style = {"color": found.colour, "markersize": 6, "markeredgewidth": 1 if found.mark == "1" else 0}
        axes.plot(*places.T, found.mark, label=f"{found.label}: {count}", **style)
