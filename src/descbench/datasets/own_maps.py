"""The user's own maps: a COLMAP model with its images, or kapture folders with trajectories.

Definition: docs/protocols/localization.md, Own maps. Light on purpose, as :mod:`descbench.datasets.cameras`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from descbench.config.posed_datasets import ColmapDataset, KaptureMapDataset
from descbench.datasets.cameras import Camera, Pose
from descbench.datasets.colmap_model import read_colmap_model
from descbench.datasets.kapture import read_posed_records, records_data
from descbench.datasets.manifest import Manifest, rows_of
from descbench.datasets.photographs import LeftOut
from descbench.datasets.pose_labels import PoseLabels
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

Posed = tuple[str, Camera, Pose | None]


def colmap_root(dataset: ColmapDataset) -> Path:
    """Folder that the manifest's paths are relative to."""
    return dataset.images


def read_colmap_map(dataset: ColmapDataset) -> tuple[Manifest, PoseLabels]:
    """Images in the order of their names, each of the map or a query.

    Raises:
        DataError: the model is absent or damaged, names an image that is not there, or the list of queries names
            others.
    """
    model = read_colmap_model(dataset.model)
    images = sorted(model.images, key=lambda image: image.name)
    for image in images:
        if not (dataset.images / image.name).is_file():
            raise DataError(
                f"{dataset.images}: image {shorten(image.name)} is not there, which the model {dataset.model} has a "
                "pose of; put it there, or take it out of the model."
            )
    posed: list[Posed] = [(image.name, model.cameras[image.camera_id], image.pose) for image in images]
    if dataset.query_list is None:
        return _split(posed[::2], posed[1::2], str(dataset.model))
    wanted = _listed(dataset.query_list, {image.name for image in images}, "the model")
    maps = [image for image in posed if image[0] not in wanted]
    return _split(maps, [image for image in posed if image[0] in wanted], str(dataset.query_list))


def _listed(path: Path, known: set[str], source: str) -> set[str]:
    """Names of a list of queries, all of them known."""
    try:
        names = [line.strip() for line in read_lines(path) if line.strip()]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such list of queries.") from None
    for name in names:
        if name not in known:
            raise DataError(f"{path}: {shorten(name)} is not an image of {source}.")
    return set(names)


def kapture_map_root(dataset: KaptureMapDataset) -> Path:
    """Folder that the manifest's paths are relative to: the one above both folders of images."""
    if dataset.queries is None:
        return records_data(dataset.map)
    return Path(os.path.commonpath([records_data(folder).resolve() for folder in (dataset.map, dataset.queries)]))


def read_kapture_map(dataset: KaptureMapDataset) -> tuple[Manifest, PoseLabels, tuple[LeftOut, ...]]:
    """Camera records in kapture's order; those without a pose are not part of the map, and are left out.

    Raises:
        DataError: a table is absent or malformed, or some queries have a pose and others none.
    """
    listed, left_out = read_posed_records(dataset.map)
    if dataset.queries is None:
        maps, queries = _asking(listed, dataset)
    else:
        maps, (queries, others) = listed, read_posed_records(dataset.queries)
        if dataset.query_list is not None:
            wanted = _listed(dataset.query_list, {image[0] for image in queries}, str(dataset.queries))
            left_out += [
                LeftOut(image[0], f"not in {dataset.query_list}") for image in queries if image[0] not in wanted
            ]
            queries = [image for image in queries if image[0] in wanted]
        left_out += others
    left_out += [LeftOut(name, f"no pose of it in {dataset.map}") for name, _, pose in maps if pose is None]
    maps = _below(dataset, dataset.map, [image for image in maps if image[2] is not None])
    queries = _below(dataset, dataset.queries or dataset.map, queries)
    source = dataset.query_list or dataset.queries or dataset.map
    return *_split(maps, queries, str(source)), tuple(left_out)


def _asking(listed: Sequence[Posed], dataset: KaptureMapDataset) -> tuple[list[Posed], list[Posed]]:
    """Images of one folder that are the map, and those that ask."""
    if dataset.query_list is None:
        posed = [image for image in listed if image[2] is not None]
        unknown = [image for image in listed if image[2] is None]
        return [*posed[::2], *unknown], posed[1::2]
    wanted = _listed(dataset.query_list, {image[0] for image in listed}, str(dataset.map))
    return (
        [image for image in listed if image[0] not in wanted],
        [image for image in listed if image[0] in wanted],
    )


def _below(dataset: KaptureMapDataset, folder: Path, images: Sequence[Posed]) -> list[Posed]:
    """Records of a kapture folder, with paths relative to the root above all images."""
    root = kapture_map_root(dataset).resolve()
    inner = Path(os.path.relpath(records_data(folder).resolve(), root)).as_posix()
    head = "" if inner == "." else f"{inner}/"
    return [(head + name, camera, pose) for name, camera, pose in images]


def _split(maps: Sequence[Posed], queries: Sequence[Posed], source: str) -> tuple[Manifest, PoseLabels]:
    """Manifest and labels of a map and queries."""
    if not maps or not queries:
        raise DataError(
            f"{source}: {len(maps)} images with poses for the map and {len(queries)} queries; both are needed."
        )
    names = Counter(image[0] for image in (*maps, *queries))
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"{source}: image {shorten(twice)} is there twice, in map or queries; poses of one name can't be told "
            "apart."
        )
    known = [pose for _, _, pose in queries if pose is not None]
    if known and len(known) != len(queries):
        raise DataError(f"{source}: {len(known)} of {len(queries)} queries have a pose; give all of them one, or none.")
    labels = PoseLabels(
        tuple(camera for _, camera, _ in maps),
        tuple(camera for _, camera, _ in queries),
        tuple(pose for _, _, pose in maps if pose is not None),
        tuple(known),
    )
    rows = (rows_of(role, [image[0] for image in images]) for role, images in (("map", maps), ("query", queries)))
    return Manifest(tuple(row for part in rows for row in part)), labels
