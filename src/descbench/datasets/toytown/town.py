"""A town from a seed: buildings on a grid of streets, with roofs, trees and street furniture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descbench.datasets.toytown import textures
from descbench.datasets.toytown.geometry import GROUND, Mesh, MeshBuilder
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.textures import TEXELS

PITCH = 27.0
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Building:
    """One building.

    Attributes:
        owner: number of its faces in the mesh, from 1.
        centre: (x, y) metres.
        size: width, depth and height of the walls in metres.
        yaw: direction of its front, radians: the front looks along (sin yaw, -cos yaw).
    """

    owner: int
    centre: tuple[float, float]
    size: tuple[float, float, float]
    yaw: float

    @property
    def front(self) -> np.ndarray:
        """(2,) unit vector that the front looks along."""
        return np.array([np.sin(self.yaw), -np.cos(self.yaw)])


@dataclass(frozen=True)
class Town:
    """Buildings, their mesh and the textures it refers to."""

    buildings: tuple[Building, ...]
    mesh: Mesh
    atlas: tuple[np.ndarray, ...]
    trees: tuple[int, ...]
    people: tuple[int, ...]
    paints: tuple[int, ...]

    def inside(self, point: np.ndarray, margin: float) -> bool:
        """Whether a point (x, y) lies in a building or closer to one than ``margin`` metres."""
        return any(_depth_inside(building, point) > -margin for building in self.buildings)


def build_town(seed: int, name: str, count: int) -> Town:
    """Draw a town of ``count`` buildings on a square grid; neighbouring plots differ in size and style."""
    atlas: list[np.ndarray] = [textures.paving(rng_for(seed, name, "paving"))]
    builder = MeshBuilder()
    side = int(np.ceil(np.sqrt(count)))
    buildings = []
    for number in range(count):
        rng = rng_for(seed, name, "building", number)
        place = np.array([number % side, number // side]) - (side - 1) / 2
        centre = place * PITCH + rng.uniform(-2, 2, 2)
        size = (rng.uniform(9, 15), rng.uniform(8, 12), rng.uniform(6, 15))
        yaw = rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.uniform(-0.12, 0.12)
        building = Building(number + 1, (float(centre[0]), float(centre[1])), size, float(yaw))
        _add_building(builder, building, atlas, rng)
        buildings.append(building)
    _add_ground(builder, side)
    extras = {kind: [] for kind in ("trees", "people", "paints")}
    for number in range(5):
        rng = rng_for(seed, name, "props", number)
        paint = tuple(rng.uniform(0.1, 0.85, 3))
        for kind, texture in (
            ("trees", textures.foliage(rng)),
            ("people", textures.person(rng)),
            ("paints", textures.plain(paint, rng)),
        ):
            extras[kind].append(len(atlas))
            atlas.append(texture)
    return Town(tuple(buildings), builder.build(), tuple(atlas), **{k: tuple(v) for k, v in extras.items()})


def add_box(
    builder: MeshBuilder, low: tuple[float, float, float], high: tuple[float, float, float], numbers: list[int]
) -> None:
    """Four walls and a flat top; ``numbers`` are the textures of front, right, back, left and top."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    walls = (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0)))
    for (start, end), number in zip(walls, numbers[:4], strict=True):
        a, b = np.array([*start, z0]), np.array([*end, z0])
        along = (b - a) / np.linalg.norm(b - a)
        corners = np.array([a, b, [*end, z1], [*start, z1]])
        builder.add(corners, number, np.array([*start, z1]), along * TEXELS, -UP * TEXELS)
    top = np.array([[x0, y0, z1], [x1, y0, z1], [x1, y1, z1], [x0, y1, z1]])
    builder.add(top, numbers[4], top[3], np.array([TEXELS, 0, 0]), np.array([0, -TEXELS, 0]))


def _add_building(builder: MeshBuilder, building: Building, atlas: list, rng: np.random.Generator) -> None:
    width, depth, height = building.size
    style = textures.draw_style(rng)
    first = len(atlas)
    for side in range(4):
        atlas.append(textures.facade(style, width if side % 2 == 0 else depth, height, side == 0, rng))
    atlas.append(textures.roof(rng))
    atlas.append(textures.plain(style.trim, rng))
    builder.place(building.owner, building.yaw, building.centre)
    walls = [first, first + 1, first + 2, first + 3]
    low, high = (-width / 2, -depth / 2, 0.0), (width / 2, depth / 2, height)
    add_box(builder, low, high, [*walls, first + 4])
    kind = rng.choice(["flat", "gable", "hip", "tower"], p=[0.25, 0.3, 0.25, 0.2])
    if kind == "flat":
        _add_parapet(builder, low, high, first + 5)
    else:
        _add_pitched(builder, low, high, rng.uniform(2.0, 3.8), kind != "gable", first + 4, walls[1])
    if kind == "tower":
        side = rng.uniform(2.8, 3.8)
        offset = rng.uniform(-0.3, 0.3) * width
        tower_low = (offset - side / 2, -depth / 2 - 0.4, 0.0)
        tower_high = (offset + side / 2, -depth / 2 - 0.4 + side, height + rng.uniform(4, 7))
        number = len(atlas)
        atlas.append(textures.facade(style, side, tower_high[2], False, rng))
        add_box(builder, tower_low, tower_high, [number] * 4 + [first + 4])
        _add_pitched(builder, tower_low, tower_high, rng.uniform(3, 6), True, first + 4, number, peak=True)


def _add_parapet(builder: MeshBuilder, low: tuple, high: tuple, number: int) -> None:
    grown_low = (low[0] - 0.3, low[1] - 0.3, high[2] - 0.2)
    add_box(builder, grown_low, (high[0] + 0.3, high[1] + 0.3, high[2] + 0.6), [number] * 5)


def _add_pitched(
    builder: MeshBuilder, low: tuple, high: tuple, rise: float, hip: bool, tiles: int, wall: int, peak: bool = False
) -> None:
    """Gabled, hipped or pyramid roof over a box."""
    x0, x1, y0, y1, z = low[0] - 0.4, high[0] + 0.4, low[1] - 0.4, high[1] + 0.4, high[2]
    inset = (x1 - x0) / 2 if peak else (min(x1 - x0, y1 - y0) / 2 if hip else 0.0)
    middle = (y0 + y1) / 2
    ridge = np.array([[x0 + inset, middle, z + rise], [x1 - inset, middle, z + rise]])
    eaves = [np.array(p) for p in ([x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z])]
    slopes = [(eaves[0], eaves[1], ridge[1], ridge[0]), (eaves[2], eaves[3], ridge[0], ridge[1])]
    ends = [(eaves[1], eaves[2], ridge[1]), (eaves[3], eaves[0], ridge[0])]
    for corners, number in [(c, tiles) for c in slopes] + [(c, tiles if hip else wall) for c in ends]:
        face = np.array(corners)
        along = (face[1] - face[0]) / np.linalg.norm(face[1] - face[0])
        down = np.cross(along, _unit(np.cross(along, face[2] - face[0])))
        builder.add(face, number, face[0], along * TEXELS, down * TEXELS)


def _add_ground(builder: MeshBuilder, side: int) -> None:
    """Paving in tiles, so that each is small enough to be clipped and shaded on its own."""
    builder.place(GROUND, 0.0, (0.0, 0.0))
    reach = int(np.ceil(side * PITCH / 2 / 40) + 2)
    for i in range(-reach, reach):
        for j in range(-reach, reach):
            x, y = 40.0 * i, 40.0 * j
            corners = np.array([[x, y, 0], [x + 40, y, 0], [x + 40, y + 40, 0], [x, y + 40, 0]])
            builder.add(corners, 0, np.zeros(3), np.array([TEXELS, 0, 0]), np.array([0, -TEXELS, 0]))


def _depth_inside(building: Building, point: np.ndarray) -> float:
    """Distance of a point to the walls, positive inside."""
    cos, sin = np.cos(building.yaw), np.sin(building.yaw)
    x, y = np.asarray(point) - building.centre
    local = np.abs([cos * x + sin * y, cos * y - sin * x])
    return float(np.min(np.array(building.size[:2]) / 2 - local))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
