"""The map of a localisation result, seen from above: cameras of the map, and true and estimated cameras of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from descbench.config.posed_datasets import THRESHOLDS
from descbench.datasets.cameras import Pose
from descbench.tables.drawings import draw_svg
from descbench.tables.places_map import thin_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches of the longer side and of what stands around the map.
_SIDE, _AROUND = 6.4, 1.2
_GREY, _TRUE, _UNKNOWN = "#8d97a4", "#5b6673", "#0072b2"
# Of more queries than these, those that would cover each other are drawn once.
_MOST_QUERIES = 1500
# Below this length of the mean, the cameras' own upward directions cancel out.
_AGREE = 0.5


@dataclass(frozen=True)
class PoseBin:
    """Queries within a threshold, and not within one before it, and how the map shows them."""

    label: str
    colour: str
    mark: str


BINS = (
    *(
        PoseBin(f"within {metres:g} m, {degrees:g} deg", colour, mark)
        for (metres, degrees), colour, mark in zip(
            THRESHOLDS, ("#0072b2", "#009e73", "#e69f00"), ("o", "s", "^"), strict=True
        )
    ),
    PoseBin("further off", "#d55e00", "X"),
)


@dataclass(frozen=True)
class PosesMap:
    """A map for a page: an ``<svg>`` element, and what it shows in words."""

    drawing: Markup
    caption: str


def bin_errors(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Position in ``BINS`` of queries by their errors in metres and degrees, which may be infinite: (Q,) int64."""
    within = [(positions <= metres) & (rotations <= degrees) for metres, degrees in THRESHOLDS]
    return np.where(np.any(within, axis=0), np.argmax(within, axis=0), len(THRESHOLDS))


def plane_from_above(poses: Sequence[Pose]) -> np.ndarray:
    """(2, 3) float64: unit vectors of the world that point right and up on a map seen from above.

    Up in the world is the mean of the cameras' own upward directions, since photographs are mostly upright; where these
    cancel out, it is the direction in which the cameras are spread least. Right is the axis of the world that lies
    flattest: x if it is within 60 degrees of the plane, or else y.
    """
    upward = -np.array([pose.matrix[1] for pose in poses]).mean(axis=0)
    if np.linalg.norm(upward) < _AGREE:
        centres = np.array([pose.centre for pose in poses])
        upward = np.linalg.svd(centres - centres.mean(axis=0))[2][-1]
        # Either sign of it would do: the one that points along the world's own axis.
        upward = upward * np.sign(upward[np.argmax(np.abs(upward))])
    upward = upward / np.linalg.norm(upward)
    axis = np.eye(3)[0 if abs(upward[0]) <= np.sqrt(3) / 2 else 1]
    right = axis - upward * upward.dot(axis)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(upward, right)])


def draw_poses(
    mapped: Sequence[Pose], estimated: Sequence[Pose | None], true: Sequence[Pose], bins: np.ndarray
) -> PosesMap:
    """Cameras of the map in grey, estimated cameras by their errors, and lines to where the queries truly are.

    Args:
        mapped: poses of the map's images.
        estimated: of each query; None: not localised.
        true: of each query; empty where they are not known, and estimates have one colour.
        bins: (Q,) from :func:`bin_errors`; not looked at where true poses are not known.
    """
    plane = plane_from_above(mapped)
    known = np.array([pose is not None for pose in estimated], bool)
    view = _View.around(plane, mapped, true or [pose for pose in estimated if pose is not None])
    cameras = view.cameras(mapped)
    found = view.cameras([pose for pose in estimated if pose is not None])
    truth = view.cameras(true)
    outside = int((~view.shows(found)).sum())
    kept = thin_out(cameras[:, :2], view.cell)
    # Positions among all queries, and among those that were localised.
    asked = _thinned(truth, view) if len(true) else np.zeros(0, np.int64)
    placed = np.flatnonzero(np.isin(np.flatnonzero(known), asked)) if len(true) else _thinned(found, view)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        view.frame(axes)
        _arrows(axes, cameras[kept], _GREY, ".", f"map: {len(mapped)}", view.tick)
        if len(true):
            _arrows(axes, truth[asked], _TRUE, "1", f"true: {len(true)}", view.tick)
            for ends in zip(truth[known][placed, :2], found[placed, :2], strict=True):
                axes.plot(*np.array(ends).T, color=_TRUE, linewidth=0.7)
            for number, found_bin in enumerate(BINS):
                chosen = bins[known] == number
                label = f"{found_bin.label}: {int(chosen.sum())}"
                _arrows(axes, found[placed[chosen[placed]]], found_bin.colour, found_bin.mark, label, view.tick)
        else:
            _arrows(axes, found[placed], _UNKNOWN, "o", f"estimated: {len(found)}", view.tick)
        figure.legend(loc="outside right upper", frameon=False, title="cameras", alignment="left")

    label = _label(len(mapped), estimated, bins if len(true) else None)
    caption = _caption(len(kept), len(mapped), len(true) > 0, int((~known).sum()), outside)
    if (drawn := len(asked if len(true) else placed)) < (queries := len(true) or len(found)):
        caption += f" {drawn} of {queries} queries are drawn, those that would cover each other once."
    return PosesMap(draw_svg("map", label, view.size, draw), caption)


def _thinned(cameras: np.ndarray, view: _View) -> np.ndarray:
    """Which cameras (n, 4) of queries are drawn: (m,) int64, ascending; all where they are few."""
    return np.arange(len(cameras)) if len(cameras) <= _MOST_QUERIES else thin_out(cameras[:, :2], view.cell)


@dataclass(frozen=True)
class _View:
    """The part of the plane that is shown: unit vectors (2, 3), the lower left corner (2,), and its extent (2,)."""

    plane: np.ndarray
    corner: np.ndarray
    extent: np.ndarray

    @classmethod
    def around(cls, plane: np.ndarray, mapped: Sequence[Pose], queries: Sequence[Pose]) -> _View:
        """Everything that is known; of estimates without true poses, those near the map."""
        centres = np.array([pose.centre for pose in mapped]) @ plane.T
        low, high = centres.min(axis=0), centres.max(axis=0)
        room = max(float((high - low).max()), 1e-6)
        others = np.array([pose.centre for pose in queries]).reshape(-1, 3) @ plane.T
        near = others[((others >= low - room) & (others <= high + room)).all(axis=1)]
        both = np.concatenate([centres, near])
        low, high = both.min(axis=0), both.max(axis=0)
        # Cameras in a row would be too flat to be seen.
        extent = np.maximum(high - low, max(float((high - low).max()) / 4, 1e-6))
        return cls(plane, (low + high - extent) / 2, extent)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing in inches."""
        width, height = self.extent / self.extent.max() * _SIDE + _AROUND
        return float(width) + 2 * _AROUND, float(height)

    @property
    def cell(self) -> float:
        """Cameras of the map in a square of this side are drawn once."""
        return float(self.extent.max()) / 400

    @property
    def tick(self) -> float:
        """Length of a viewing direction."""
        return float(self.extent.max()) / 30

    def cameras(self, poses: Sequence[Pose]) -> np.ndarray:
        """(n, 4): places from the corner, and viewing directions, which are shorter where cameras look up or down."""
        if not poses:
            return np.zeros((0, 4))
        centres = np.array([pose.centre for pose in poses]) @ self.plane.T - self.corner
        return np.hstack([centres, np.array([pose.matrix[2] for pose in poses]) @ self.plane.T])

    def shows(self, cameras: np.ndarray) -> np.ndarray:
        """Which cameras (n, 4) lie in the frame: (n,) bool."""
        margin = self._margin
        return ((cameras[:, :2] >= -margin) & (cameras[:, :2] <= self.extent + margin)).all(axis=1)

    def frame(self, axes: Axes) -> None:
        """Give the axes their limits and names."""
        limits = [(-self._margin, extent + self._margin) for extent in self.extent.tolist()]
        axes.set(xlim=limits[0], ylim=limits[1], aspect="equal", xlabel="metres", ylabel="metres")

    @property
    def _margin(self) -> float:
        return 0.05 * float(self.extent.max())


def _arrows(axes: Axes, cameras: np.ndarray, colour: str, mark: str, label: str, tick: float) -> None:
    """Cameras (n, 4) as marks with a line of length ``tick`` in their viewing direction."""
    ends = cameras[:, :2] + tick * cameras[:, 2:]
    gaps = np.full(len(cameras), np.nan)
    for_each = [np.column_stack([cameras[:, axis], ends[:, axis], gaps]).ravel() for axis in (0, 1)]
    axes.plot(*for_each, color=colour, linewidth=0.8)
    axes.plot(*cameras[:, :2].T, mark, color=colour, markersize=6, label=label)


def _label(mapped: int, estimated: Sequence[Pose | None], bins: np.ndarray | None) -> str:
    """What the drawing shows, in words."""
    lost = sum(pose is None for pose in estimated)
    if bins is None:
        told = "whose true poses are not known"
    else:
        told = ", ".join(f"{int((bins == number).sum())} {found.label}" for number, found in enumerate(BINS))
    return f"Map of {mapped} cameras, and {len(estimated)} queries, {lost} of them not localised: {told}"


def _caption(drawn: int, mapped: int, compared: bool, lost: int, outside: int) -> str:
    """What the reader must know of the map."""
    parts = [
        "Seen from above, with a line in the viewing direction of each camera; up is the mean upward direction of the "
        f"map's images, and the axes are metres from the lower left corner. {drawn} of {mapped} cameras of the map are "
        "drawn, those that would cover each other once."
    ]
    if compared:
        parts.append("A thin line leads from the true place of a query to the estimated one.")
    else:
        parts.append("The true poses are not known here: only estimated cameras are drawn.")
    if outside:
        parts.append(f"{outside} estimated cameras lie outside.")
    if lost:
        parts.append(f"{lost} queries were not localised.")
    return " ".join(parts)
