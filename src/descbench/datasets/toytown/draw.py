"""Draw toytown: towns, photographs, and the official layouts around them."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from descbench.config.toytown import Toytown
from descbench.datasets.toytown import phototour, relocalisation
from descbench.datasets.toytown.layouts import write_city, write_sfm, write_streets
from descbench.datasets.toytown.phototour import BuildingShot, plan_phototour, take_points, write_phototour
from descbench.datasets.toytown.relocalisation import Place, plan_relocalisation, write_relocalisation
from descbench.datasets.toytown.render import Atlas
from descbench.datasets.toytown.seeds import rng_for
from descbench.datasets.toytown.sequences import (
    SequenceImage,
    plan_sequences,
    take_sequence_image,
    write_sequences,
)
from descbench.datasets.toytown.singles import Single, SingleImage, plan_singles, take_single, write_singles
from descbench.datasets.toytown.streets import SPLITS, Standpoint, count_buildings, plan_streets, take_street_view
from descbench.datasets.toytown.strips import take_strips, write_strips
from descbench.datasets.toytown.town import Town, build_town
from descbench.datasets.toytown.views import View, take_view
from descbench.io.atomic import write_json
from descbench.io.digests import sha256_file

_TRAINING_TOWN = "school"  # seeds of what is drawn go by this word
# Share of a city's database that shows one of its landmarks; the rest are streets.
_LANDMARK_SHARE = 0.8
_TRIES = 12

_T = TypeVar("_T")
_P = TypeVar("_P")


@dataclass(frozen=True)
class _Shot:
    """One photograph to take: of building ``subject`` (None: a street), ``calm`` or not."""

    town: str
    buildings: int
    key: tuple[str | int, ...]
    subject: int | None
    calm: bool


def draw_toytown(settings: Toytown, out_dir: Path, marker: Path, *, processes: int = 1) -> None:
    """Draw the towns and write them below ``out_dir`` in official layouts.

    ``test/<city>/`` holds each city in the revisited-Oxford layout, ``train/retrieval-SfM-120k/`` the
    training images in that of SfM-120k. Where the settings have them, ``streets/`` holds the streets in the layout
    of Pittsburgh, ``sequences/`` sequences in that of HPatches, ``phototour/`` patches in that of Brown PhotoTour,
    ``strips/`` patches in that of HPatches, ``singles/`` single images in that of HNDesc's training, and
    ``relocalisation/`` a square in the layouts of Aachen Day-Night.
    The same settings give the same bytes, whatever ``processes``.

    Args:
        settings: seed and sizes.
        out_dir: folder of toytown's own; what an interrupted run left there is removed first.
        marker: JSON written last, with the number of files and a digest over all of them.
        processes: photographs are taken in so many processes.
    """
    shutil.rmtree(out_dir, ignore_errors=True)
    cities = {name: _city_shots(settings, name) for name in settings.cities}
    lessons = _school_shots(settings)
    everything = [shot for queries, database in cities.values() for shot in (*queries, *database)]
    everything += [shot for cluster in lessons for shot in cluster]
    taken = dict(zip(everything, _take_all(_take, everything, settings, processes), strict=True))
    files: list[Path] = []
    for name, (queries, database) in cities.items():
        views = [[taken[shot] for shot in shots] for shots in (queries, database)]
        files += write_city(out_dir / "test" / name, name, *views)
    clusters = [[taken[shot] for shot in cluster] for cluster in lessons]
    files += write_sfm(out_dir / "train" / "retrieval-SfM-120k", clusters, settings.seed)
    files += _draw_streets(settings, out_dir / "streets", processes)
    files += _draw_sequences(settings, out_dir / "sequences", processes)
    files += _draw_phototour(settings, out_dir / "phototour", processes)
    files += _draw_strips(settings, out_dir / "strips", processes)
    files += _draw_singles(settings, out_dir / "singles", processes)
    files += _draw_relocalisation(settings, out_dir / "relocalisation", processes)
    write_json(marker, {"files": len(files), "sha256": _digest(files, out_dir), **settings.model_dump(mode="json")})


def _draw_streets(settings: Toytown, folder: Path, processes: int) -> list[Path]:
    """Every split of the streets, none where the settings have none. Returns the files."""
    if settings.streets is None:
        return []
    plans = {split: plan_streets(settings.streets, settings.seed, split) for split in SPLITS}
    points = [point for plan in plans.values() for role in plan for point in role]
    taken = dict(zip(points, _take_all(_take_street, points, settings, processes), strict=True))
    return [file for split, plan in plans.items() for file in write_streets(folder, split, *plan, taken)]


def _draw_sequences(settings: Toytown, folder: Path, processes: int) -> list[Path]:
    """All sequences, none where the settings have none. Returns the files."""
    if settings.sequences is None:
        return []
    images = plan_sequences(settings.sequences)
    taken = dict(zip(images, _take_all(_take_sequence, images, settings, processes), strict=True))
    return write_sequences(folder, images, taken, settings.sequences, settings.seed)


def _draw_phototour(settings: Toytown, folder: Path, processes: int) -> list[Path]:
    """All parts of the patches, none where the settings have none. Returns the files."""
    if settings.phototour is None:
        return []
    shots = plan_phototour(settings.phototour)
    taken = list(zip(shots, _take_all(_take_points, shots, settings, processes), strict=True))
    files = []
    for part in settings.phototour.parts:
        points = [patches for shot, found in taken if shot.part == part for patches in found]
        rng = rng_for(settings.seed, "phototour", part, "pairs")
        files += write_phototour(folder / part, part, points, settings.phototour.pairs, rng)
    return files


def _draw_strips(settings: Toytown, folder: Path, processes: int) -> list[Path]:
    """All strips of patches, none where the settings have none. Returns the files."""
    if settings.strips is None:
        return []
    names = settings.strips.sequences()
    taken = dict(zip(names, _take_all(_take_strips, names, settings, processes), strict=True))
    return write_strips(folder, taken, settings.strips)


def _draw_singles(settings: Toytown, folder: Path, processes: int) -> list[Path]:
    """All single images, none where the settings have none. Returns the files."""
    if settings.singles is None:
        return []
    images = plan_singles(settings.singles)
    return write_singles(folder, dict(zip(images, _take_all(_take_single, images, settings, processes), strict=True)))


def _draw_relocalisation(settings: Toytown, folder: Path, processes: int) -> list[Path]:
    """The square, none where the settings have none. Returns the files."""
    if settings.relocalisation is None:
        return []
    maps, queries = plan_relocalisation(settings.relocalisation, settings.seed)
    places = [*maps, *queries]
    taken = dict(zip(places, _take_all(_take_place, places, settings, processes), strict=True))
    return write_relocalisation(folder, maps, queries, taken, settings.relocalisation, settings.seed)


def _city_shots(settings: Toytown, name: str) -> tuple[list[_Shot], list[_Shot]]:
    """Queries and database of a city; landmarks take turns."""
    landmarks = settings.landmarks_per_city
    buildings = 2 * landmarks
    # Every second plot is a landmark, so that none hides behind its like.
    subjects = [2 * i + 1 for i in range(landmarks)]
    queries = [
        _Shot(name, buildings, ("query", i), subjects[i % landmarks], True) for i in range(settings.queries_per_city)
    ]
    of_landmarks = round(settings.database_per_city * _LANDMARK_SHARE)
    database = [
        _Shot(name, buildings, ("database", i), subjects[i % landmarks], i // landmarks % 3 == 0)
        if i < of_landmarks
        else _Shot(name, buildings, ("street", i), None, False)
        for i in range(settings.database_per_city)
    ]
    return queries, database


def _school_shots(settings: Toytown) -> list[list[_Shot]]:
    """Training images: a town of its own, one cluster a building."""
    return [
        [
            _Shot(_TRAINING_TOWN, settings.clusters, ("train", cluster, i), cluster + 1, i % 3 == 0)
            for i in range(settings.images_per_cluster)
        ]
        for cluster in range(settings.clusters)
    ]


def _take_all(take: Callable[[_T, Toytown], _P], shots: Sequence[_T], settings: Toytown, processes: int) -> list[_P]:
    if processes <= 1:
        return [take(shot, settings) for shot in shots]
    # Forked: a spawned process would run the calling script once more. Each takes one run of photographs, so
    # that it builds few towns.
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        return list(pool.map(take, shots, [settings] * len(shots), chunksize=math.ceil(len(shots) / processes)))


# Photographs are taken town by town, and the textures of one take up to 200 MB.
@lru_cache(maxsize=1)
def _town(seed: int, name: str, buildings: int) -> tuple[Town, Atlas]:
    """A town without its textures, which the atlas holds."""
    town = build_town(seed, name, buildings)
    return replace(town, atlas=()), Atlas(town.atlas)


def _take_street(point: Standpoint, settings: Toytown) -> np.ndarray:
    buildings = count_buildings(getattr(settings.streets, point.split).panoramas)
    town, atlas = _town(settings.seed, f"streets of {point.split}", buildings)
    return take_street_view(point, town, atlas, settings.streets, settings.seed)


def _take_sequence(image: SequenceImage, settings: Toytown) -> np.ndarray:
    return take_sequence_image(image, settings.sequences, settings.seed)


def _take_points(shot: BuildingShot, settings: Toytown) -> list[np.ndarray]:
    name = f"phototour {shot.part}"
    town, atlas = _town(settings.seed, name, phototour.count_buildings(settings.phototour))
    rng = rng_for(settings.seed, name, shot.subject)
    return take_points(town, atlas, town.buildings[shot.subject - 1], settings.phototour, rng)


def _take_place(place: Place, settings: Toytown) -> np.ndarray:
    town, atlas = _town(settings.seed, "relocalisation", relocalisation.BUILDINGS)
    return relocalisation.take_photograph(place, town, atlas, settings.relocalisation, settings.seed)


def _take_strips(sequence: str, settings: Toytown) -> np.ndarray:
    return take_strips(sequence, settings.strips, settings.seed)


def _take_single(image: SingleImage, settings: Toytown) -> Single:
    return take_single(image, settings.singles, settings.seed)


def _take(shot: _Shot, settings: Toytown) -> View:
    """Take one photograph; of several tries the first that shows its subject well enough, else the best."""
    town, atlas = _town(settings.seed, shot.town, shot.buildings)
    subject = None if shot.subject is None else town.buildings[shot.subject - 1]
    best: View | None = None
    for attempt in range(_TRIES):
        rng = rng_for(settings.seed, shot.town, *shot.key, attempt)
        view = take_view(town, atlas, subject, settings.width, settings.height, rng, shot.calm)
        wanted = (0.12, 0.75) if shot.calm else (0.05, 0.2)
        if subject is None or (view.area >= wanted[0] and view.free >= wanted[1]):
            return view
        if best is None or view.area * view.free > best.area * best.free:
            best = view
    return best


def _digest(files: Sequence[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(root).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()
