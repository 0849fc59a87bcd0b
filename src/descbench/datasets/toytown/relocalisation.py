"""A square of a drawn town in the layout of Aachen Day-Night: a map with true poses, and day and dusk queries.

Cameras stand on an arc around the building at the corner of four, and look at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from descbench.config.toytown import Relocalisation
from descbench.datasets.toytown.geometry import Camera, look_at
from descbench.datasets.toytown.layouts import encode_jpeg, write_file
from descbench.datasets.toytown.render import Atlas
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.town import PITCH, Town
from descbench.datasets.toytown.views import photograph

BUILDINGS = 4
CONDITIONS = ("day", "dusk")
# Where the first building stands in both directions, metres; how far from it cameras do, and between which angles from
# the south, radians to the east: there the square is open.
_MIDDLE, _AWAY = -PITCH / 2, 17.0
_FIRST, _LAST = -0.75, 0.55
_REACH = 13.0
_NEIGHBOURS = 6


@dataclass(frozen=True)
class Place:
    """One photograph to take.

    Attributes:
        number: from 0 within its kind.
        condition: of a query; empty for a map image.
        share: of the arc, 0 to 1 from west to east.
    """

    number: int
    condition: str
    share: float

    @property
    def name(self) -> str:
        """Path below the folder of images."""
        return f"query/{self.condition}/q{self.number:03d}.jpg" if self.condition else f"db/{self.number:04d}.jpg"


def plan_relocalisation(settings: Relocalisation, seed: int) -> tuple[list[Place], list[Place]]:
    """Map images at even steps of the arc, and queries at random ones."""
    maps = [Place(n, "", n / (settings.map - 1)) for n in range(settings.map)]
    queries = []
    for condition, count in zip(CONDITIONS, (settings.day, settings.dusk), strict=True):
        rng = rng_for(seed, "relocalisation", condition)
        queries += [Place(n, condition, float(rng.uniform(0.06, 0.94))) for n in range(count)]
    return maps, queries


def camera_at(place: Place, settings: Relocalisation, seed: int) -> Camera:
    """Where a photograph is taken from."""
    rng = rng_for(seed, "relocalisation camera", place.condition, place.number)
    angle = _FIRST + place.share * (_LAST - _FIRST) + rng.uniform(-0.02, 0.02)
    away = _AWAY + rng.uniform(-1.0, 1.0)
    eye = np.array([_MIDDLE + away * np.sin(angle), _MIDDLE - away * np.cos(angle), rng.uniform(1.5, 2.1)])
    target = np.array([_MIDDLE + rng.uniform(-1, 1), _MIDDLE, 5.5 + rng.uniform(-0.5, 0.5)])
    fov = np.deg2rad(62.0 if not place.condition else rng.uniform(58, 66))
    return look_at(eye, target, fov, settings.width, settings.height, rng.normal(0, 0.02))


def take_photograph(place: Place, town: Town, atlas: Atlas, settings: Relocalisation, seed: int) -> np.ndarray:
    """The photograph: (H, W, 3) uint8."""
    rng = rng_for(seed, "relocalisation view", place.condition, place.number)
    camera = camera_at(place, settings, seed)
    return photograph(town, atlas, camera, rng, reach=_REACH, dusk=place.condition == "dusk", calm=True)[0]


def write_relocalisation(
    folder: Path,
    maps: Sequence[Place],
    queries: Sequence[Place],
    photographs: Mapping[Place, np.ndarray],
    settings: Relocalisation,
    seed: int,
) -> list[Path]:
    """Both layouts of Aachen: a COLMAP text model, and an NVM file with intrinsics. Returns the files."""
    cameras = {place: camera_at(place, settings, seed) for place in (*maps, *queries)}
    texts = {
        "3D-models/model/cameras.txt": _lines(f"{place.number + 1} {_intrinsics(cameras[place])}" for place in maps),
        "3D-models/model/images.txt": _lines(
            f"{place.number + 1} {_pose(cameras[place])} {place.number + 1} {place.name}\n" for place in maps
        ),
        "3D-models/model/points3D.txt": "",
        "3D-models/toytown.nvm": _nvm(maps, cameras),
        "3D-models/database_intrinsics.txt": _listed(maps, cameras),
        "queries/poses.txt": _lines(f"{place.name} {_pose(cameras[place])}" for place in queries),
        "image_pairs.txt": _pairs(maps, queries),
    }
    for condition in CONDITIONS:
        chosen = [place for place in queries if place.condition == condition]
        texts[f"queries/{condition}_time_queries_with_intrinsics.txt"] = _listed(chosen, cameras)
    files = [write_file(folder / name, text.encode()) for name, text in texts.items()]
    images = ((folder / "images_upright" / place.name, photographs[place]) for place in (*maps, *queries))
    return files + [write_file(path, encode_jpeg(pixels)) for path, pixels in images]


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _intrinsics(camera: Camera) -> str:
    """As a list of queries has them: pinhole cameras of one focal length, without distortion."""
    focal, x, y = (float(camera.K[place]) for place in ((0, 0), (0, 2), (1, 2)))
    return f"SIMPLE_RADIAL {camera.width} {camera.height} {focal!r} {x!r} {y!r} 0.0"


def _quaternion(camera: Camera) -> str:
    """``qw qx qy qz``."""
    return " ".join(map(repr, Rotation.from_matrix(camera.R).as_quat(scalar_first=True).tolist()))


def _pose(camera: Camera) -> str:
    """``qw qx qy qz tx ty tz``."""
    return f"{_quaternion(camera)} {' '.join(map(repr, camera.t.tolist()))}"


def _listed(places: Sequence[Place], cameras: Mapping[Place, Camera]) -> str:
    return _lines(f"{place.name} {_intrinsics(cameras[place])}" for place in places)


def _nvm(places: Sequence[Place], cameras: Mapping[Place, Camera]) -> str:
    rows = []
    for place in places:
        camera = cameras[place]
        centre = " ".join(map(repr, camera.centre.tolist()))
        rows.append(f"{place.name} {float(camera.K[0, 0])!r} {_quaternion(camera)} {centre} 0.0 0")
    return f"NVM_V3\n\n{len(rows)}\n{_lines(rows)}\n0\n"


def _pairs(maps: Sequence[Place], queries: Sequence[Place]) -> str:
    """Each image with the map images nearest to it on the arc."""
    rows = []
    for place in (*maps, *queries):
        others = sorted((other for other in maps if other != place), key=lambda other: abs(other.share - place.share))
        rows += [f"{place.name} {other.name}" for other in others[:_NEIGHBOURS]]
    return _lines(rows)
