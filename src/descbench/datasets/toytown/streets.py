"""Streets of a drawn town, for place recognition: where cameras stand, and what they see.

A car drove along parallel streets and photographed all around, or behind itself, at even steps (the database).
Queries were taken near those points at another time, in the same directions up to a small turn; a few come from
the street at the edge, where the car never was, so that nothing in the database is right for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from descbench.config.toytown import Streets
from descbench.datasets.toytown.geometry import Camera, look_at
from descbench.datasets.toytown.render import Atlas
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.town import PITCH, Town
from descbench.datasets.toytown.views import STREET_REACH, photograph

SPLITS = ("train", "val", "test")
# Panoramas and queries are numbered through all splits, as in Pittsburgh; a folder holds a thousand.
_FOLDER = 1000
# Metres between panoramas: about four lie within 25 m of a query.
_STEP = 12.0


@dataclass(frozen=True)
class Standpoint:
    """One photograph to take.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        number: of the panorama, or of the query, counted through all splits.
        yaw: number of the viewing direction, from 1.
        place: (x, y) metres in the town.
        heading: viewing direction, radians from east to north.
        query: no view of a panorama.
    """

    split: str
    number: int
    yaw: int
    place: tuple[float, float]
    heading: float
    query: bool

    @property
    def name(self) -> str:
        """File name as Pittsburgh's lists have it."""
        return f"{self.number // _FOLDER:03d}/{self.number:06d}_pitch1_yaw{self.yaw}.jpg"


def count_buildings(panoramas: int) -> int:
    """Buildings of the smallest square town whose streets are long enough for so many panoramas."""
    side = 3
    while (side - 1) * _points_of_street(side) < panoramas:
        side += 1
    return side**2


def plan_streets(settings: Streets, seed: int, split: str) -> tuple[list[Standpoint], list[Standpoint]]:
    """Database and queries of a split, in the order of its lists."""
    sizes = getattr(settings, split)
    side = math.isqrt(count_buildings(sizes.panoramas))
    first = SPLITS.index(split) * _FOLDER
    turn = 2 * np.pi / settings.yaws
    panoramas = [_stop(side, number, rng_for(seed, split, "panorama", number)) for number in range(sizes.panoramas)]
    database = [
        Standpoint(split, first + number, yaw + 1, place, heading + (yaw + 0.5) * turn, False)
        for number, (place, heading) in enumerate(panoramas)
        for yaw in range(settings.yaws)
    ]
    visits = rng_for(seed, split, "visits").permutation(sizes.panoramas)
    unmapped = max(1, sizes.queries // 20)
    queries = []
    for number in range(sizes.queries):
        rng = rng_for(seed, split, "query", number)
        (x, y), heading = panoramas[visits[number % sizes.panoramas]]
        yaw = int(rng.integers(settings.yaws))
        heading += (yaw + 0.5) * turn + float(np.clip(rng.normal(0, 0.08), -0.2, 0.2))
        if number < sizes.queries - unmapped:
            place = _place(x + rng.uniform(-4, 4), y + rng.uniform(-1, 1))
        else:
            place = _place(x, -side * PITCH / 2 - rng.uniform(0, 1))
        queries.append(Standpoint(split, first + number, yaw + 1, place, heading, True))
    return database, queries


def take_street_view(point: Standpoint, town: Town, atlas: Atlas, settings: Streets, seed: int) -> np.ndarray:
    """The photograph from a standpoint: (H, W, 3) uint8.

    Args:
        point: where the camera stands.
        town, atlas: the town of its split.
        settings: image size.
        seed: toytown's.
    """
    rng = rng_for(seed, point.split, "query view" if point.query else "view", point.number, point.yaw)
    dusk = point.query and bool(rng.random() < 0.3)
    camera = _camera(point, settings.width, settings.height, rng)
    return photograph(town, atlas, camera, rng, reach=STREET_REACH, dusk=dusk, calm=True)[0]


def _points_of_street(side: int) -> int:
    return int(side * PITCH // _STEP)


def _stop(side: int, number: int, rng: np.random.Generator) -> tuple[tuple[float, float], float]:
    """Where the car stopped for a panorama, and its heading: street by street, from the south.

    Streets run between the rows of buildings, so no camera stands in a house.
    """
    street, along = divmod(number, _points_of_street(side))
    x = (along + 0.5 - _points_of_street(side) / 2) * _STEP + rng.uniform(-1.5, 1.5)
    y = (street + 1 - side / 2) * PITCH + rng.uniform(-0.6, 0.6)
    return _place(x, y), float(rng.uniform(-0.15, 0.15))


def _place(x: float, y: float) -> tuple[float, float]:
    return round(float(x), 2), round(float(y), 2)


def _camera(point: Standpoint, width: int, height: int, rng: np.random.Generator) -> Camera:
    """A wide view a little upwards: from the roof of a car, or from the hand."""
    eye = np.array([*point.place, rng.uniform(1.5, 2.0) if point.query else 2.4])
    fov = np.deg2rad(rng.uniform(80, 88) if point.query else 84)
    rise = rng.uniform(0.15, 0.21) if point.query else 0.18
    ahead = np.array([np.cos(point.heading), np.sin(point.heading), rise])
    roll = rng.normal(0, 0.02) if point.query else 0.0
    return look_at(eye, eye + ahead, fov, width, height, roll)
