"""Patches in the layout of Brown PhotoTour: points of buildings, cut from every photograph that shows them.

A building is photographed several times. Corners on it in the first photograph become points of the world by that
photograph's depth; they are projected into the others by the true cameras, and cut where the depth there says that
nothing stands before them. Patches of a point have about the same size in metres, up to what detectors would miss.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter

from descbench.config.toytown import PhotoTour
from descbench.datasets.phototour import COLUMNS, INFO, PAIRS, PER_BITMAP, SIDE
from descbench.datasets.toytown.geometry import Camera
from descbench.datasets.toytown.layouts import write_file
from descbench.datasets.toytown.render import Atlas
from descbench.datasets.toytown.town import Building, Town
from descbench.datasets.toytown.views import SUPERSAMPLE, photograph, stand
from descbench.errors import DataError

_METRES = 1.8  # side of a patch on a building
_SAME_DEPTH = 0.01  # share of a depth within which a point is what is seen
_NOISE = {"scale": 0.08, "angle": 0.1, "place": 0.4}  # standard deviations: log, radians, pixels


@dataclass(frozen=True)
class BuildingShot:
    """A building whose points are to be cut: number ``subject`` of the town of a part."""

    part: str
    subject: int


@dataclass(frozen=True)
class Photograph:
    """A photograph, and the finer picture that it was developed from.

    Attributes:
        grey: (H, W) float64, 0 to 255.
        camera: of the finer picture.
        owner: of its pixels, the building number.
        depth: of its pixels, metres along the optical axis.
    """

    grey: np.ndarray
    camera: Camera
    owner: np.ndarray
    depth: np.ndarray


def plan_phototour(settings: PhotoTour) -> list[BuildingShot]:
    """The buildings of each part: every second plot, so that none hides behind its like."""
    return [BuildingShot(part, 2 * i + 1) for part in settings.parts for i in range(settings.buildings)]


def count_buildings(settings: PhotoTour) -> int:
    """Buildings of the town of a part."""
    return 2 * settings.buildings


def take_points(
    town: Town, atlas: Atlas, subject: Building, settings: PhotoTour, rng: np.random.Generator
) -> list[np.ndarray]:
    """Points of a building that are seen at least twice: of each, its patches (n, 64, 64) uint8."""
    views = [_photograph(town, atlas, subject, settings, rng) for _ in range(settings.photographs)]
    found = []
    for point in _points(views[0], subject.owner):
        cut = [patch for view in views if (patch := _cut(view, point, subject.owner, rng)) is not None]
        if len(cut) > 1:
            found.append(np.stack(cut))
        if len(found) == settings.points:
            break
    return found


def write_phototour(
    folder: Path, part: str, points: Sequence[np.ndarray], pairs: int, rng: np.random.Generator
) -> list[Path]:
    """PhotoTour's layout: ``patches0000.bmp`` and so on, ``info.txt``, the list of test pairs. Returns the files.

    Args:
        folder: of the part.
        part: its name, for messages.
        points: patches (n, 64, 64) uint8 of each point.
        pairs: test pairs, half of which are patches of one point.
        rng: decides which.

    Raises:
        DataError: fewer than two points were found.
    """
    if len(points) < 2:
        raise DataError(f"toytown.phototour: {len(points)} points of {part!r} are seen twice; raise `buildings`.")
    patches, ids = np.concatenate(points), np.repeat(np.arange(len(points)), [len(point) for point in points])
    files = [
        write_file(folder / f"patches{number:04d}.bmp", _encode_bitmap(patches[start : start + PER_BITMAP]))
        for number, start in enumerate(range(0, len(patches), PER_BITMAP))
    ]
    info = "".join(f"{point} 0\n" for point in ids)
    listed = "".join(f"{a} {ids[a]} 0 {b} {ids[b]} 0 0\n" for a, b in _pairs(ids, pairs, rng))
    return [*files, write_file(folder / INFO, info.encode()), write_file(folder / PAIRS, listed.encode())]


def find_point(view: Photograph, point: np.ndarray, owner: int) -> tuple[np.ndarray, float] | None:
    """Where a photograph shows a world point (3,) of a building.

    Returns:
        x, y in the finer picture, and the depth; None where the point is outside, or something stands before it, be
        it another side of the building.
    """
    (at,), (depth,) = view.camera.project(point[None])
    if depth <= 0 or not (at >= 0).all() or not (at < (view.camera.width, view.camera.height)).all():
        return None
    column, row = at.astype(int)
    if view.owner[row, column] != owner or abs(view.depth[row, column] - depth) > _SAME_DEPTH * depth:
        return None
    return at, float(depth)


def find_corners(grey: np.ndarray, chosen: np.ndarray | bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of corners of an image (H, W) where it is chosen, the strongest first."""
    smooth = gaussian_filter(grey, 1.0)
    dy, dx = np.gradient(smooth)
    xx, xy, yy = (gaussian_filter(product, 2.0) for product in (dx * dx, dx * dy, dy * dy))
    strength = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    strength = np.where(chosen, strength, 0)
    rows, columns = np.nonzero((strength > 1.0) & (strength == maximum_filter(strength, 9)))
    order = np.argsort(-strength[rows, columns], kind="stable")
    return rows[order], columns[order]


def _photograph(
    town: Town, atlas: Atlas, subject: Building, settings: PhotoTour, rng: np.random.Generator
) -> Photograph:
    pose = stand(town, subject, settings.width, settings.height, rng, calm=True)
    reach = float(np.linalg.norm(subject.centre - pose.camera.centre[:2]))
    pixels, picture = photograph(town, atlas, pose.camera, rng, reach=reach, dusk=False, calm=True)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    return Photograph(grey, pose.camera.scaled(SUPERSAMPLE), picture.owner, picture.depth)


def _points(view: Photograph, owner: int) -> np.ndarray:
    """World points (N, 3) of corners on a building, the strongest first."""
    rows, columns = find_corners(view.grey, view.owner[::SUPERSAMPLE, ::SUPERSAMPLE] == owner)
    # The depth is that of the first of the finer pixels, so the point is its centre.
    rows, columns = SUPERSAMPLE * rows, SUPERSAMPLE * columns
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1) @ np.linalg.inv(view.camera.K).T
    local = rays * view.depth[rows, columns, None]
    return (local - view.camera.t) @ view.camera.R


def _cut(view: Photograph, point: np.ndarray, owner: int, rng: np.random.Generator) -> np.ndarray | None:
    """The patch of a point, (64, 64) uint8; None where it is hidden or reaches beyond the photograph."""
    scale, angle, *offset = rng.normal(0, (_NOISE["scale"], _NOISE["angle"], _NOISE["place"], _NOISE["place"]))
    found = find_point(view, point, owner)
    if found is None:
        return None
    at, depth = found
    centre = at / SUPERSAMPLE - 0.5 + offset
    side = _METRES * np.exp(scale) * view.camera.K[0, 0] / SUPERSAMPLE / depth
    grid = ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * side
    x, y = np.meshgrid(grid, grid)
    columns = centre[0] + np.cos(angle) * x - np.sin(angle) * y
    rows = centre[1] + np.sin(angle) * x + np.cos(angle) * y
    height, width = view.grey.shape
    if rows.min() < 0 or columns.min() < 0 or rows.max() > height - 1 or columns.max() > width - 1:
        return None
    return np.round(map_coordinates(view.grey, [rows, columns], order=1)).clip(0, 255).astype(np.uint8)


def _pairs(ids: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pairs of patches, of one point and of two in turn, each once; fewer where there are no more of a kind."""
    first, second = np.triu_indices(len(ids), 1)
    same = ids[first] == ids[second]
    half = min(-(-count // 2), same.sum(), (~same).sum())
    chosen = np.empty(2 * half, np.int64)
    for place, kind in enumerate((same, ~same)):
        chosen[place::2] = rng.permutation(np.flatnonzero(kind))[:half]
    turned = rng.random(2 * half) < 0.5
    ends = np.where(turned, (second[chosen], first[chosen]), (first[chosen], second[chosen])).T
    return [(int(a), int(b)) for a, b in ends[:count]]


def _encode_bitmap(patches: np.ndarray) -> bytes:
    """Up to 256 patches in rows of 16; what is left over is black."""
    padded = np.zeros((PER_BITMAP, SIDE, SIDE), np.uint8)
    padded[: len(patches)] = patches
    side = COLUMNS * SIDE
    pixels = padded.reshape(COLUMNS, COLUMNS, SIDE, SIDE).transpose(0, 2, 1, 3).reshape(side, side)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "BMP")
    return stream.getvalue()
