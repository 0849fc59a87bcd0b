"""Aachen Day-Night in its official layouts: a map of database images, and queries.

Definition: docs/protocols/localization.md, Aachen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from descbench.config.posed_datasets import AachenDataset
from descbench.datasets.cameras import Camera, Pose
from descbench.datasets.colmap_model import read_colmap_model
from descbench.datasets.manifest import Manifest, rows_of
from descbench.datasets.nvm import read_intrinsics, read_nvm_poses
from descbench.datasets.pose_files import read_poses
from descbench.datasets.pose_labels import Ids, PoseLabels
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines


def read_aachen(dataset: AachenDataset, datasets_dir: Path) -> tuple[Manifest, PoseLabels]:
    """Database images as the map, in the order of names; queries in the order of their lists.

    Raises:
        DataError: a file is absent or damaged, an image has no intrinsics, a query has no pose where poses are listed,
            no condition or two, or a pair names an image that is not there.
    """
    cameras, poses = _map_of(dataset, datasets_dir)
    names, queries = sorted(poses), _queries(dataset, datasets_dir)
    if both := sorted(set(queries) & set(names)):
        raise DataError(f"{datasets_dir / dataset.queries[0]}: {shorten(both[0])} is an image of the map too.")
    pairs = _pairs(dataset, datasets_dir, names, list(queries))
    labels = PoseLabels(
        tuple(cameras[name] for name in names),
        tuple(queries.values()),
        tuple(poses[name] for name in names),
        _true_poses(dataset, datasets_dir, list(queries)),
        tuple(_condition(name, dataset, datasets_dir) for name in queries) if dataset.conditions else (),
        *pairs,
    )
    folder = dataset.images.rstrip("/")
    rows = {role: [f"{folder}/{name}" for name in found] for role, found in (("map", names), ("query", queries))}
    return Manifest((*rows_of("map", rows["map"]), *rows_of("query", rows["query"]))), labels


def _map_of(dataset: AachenDataset, datasets_dir: Path) -> tuple[Mapping[str, Camera], Mapping[str, Pose]]:
    """Cameras and poses of the database images by name."""
    if dataset.model is not None:
        model = read_colmap_model(datasets_dir / dataset.model)
        cameras = {image.name: model.cameras[image.camera_id] for image in model.images}
        return cameras, {image.name: image.pose for image in model.images}
    path = datasets_dir / dataset.intrinsics
    cameras, poses = read_intrinsics(path), read_nvm_poses(datasets_dir / dataset.nvm)
    for name in poses:
        if name not in cameras:
            raise DataError(f"{path}: no intrinsics of {shorten(name)}, which {dataset.nvm} has a pose of.")
    return cameras, poses


def _queries(dataset: AachenDataset, datasets_dir: Path) -> dict[str, Camera]:
    found: dict[str, Camera] = {}
    for path in (datasets_dir / name for name in dataset.queries):
        for name, camera in read_intrinsics(path).items():
            if name in found:
                raise DataError(f"{path}: query {shorten(name)} is in another list too.")
            found[name] = camera
    return found


def _condition(name: str, dataset: AachenDataset, datasets_dir: Path) -> str:
    found = [condition for condition in dataset.conditions if condition in name.split("/")[:-1]]
    if len(found) != 1:
        raise DataError(
            f"{datasets_dir / dataset.queries[0]}: query {shorten(name)} is in {len(found)} of the folders "
            f"{', '.join(dataset.conditions)}, which `conditions` names."
        )
    return found[0]


def _true_poses(dataset: AachenDataset, datasets_dir: Path, queries: Sequence[str]) -> tuple[Pose, ...]:
    if dataset.poses is None:
        return ()
    path = datasets_dir / dataset.poses
    poses = read_poses(path)
    for name in queries:
        if name not in poses:
            raise DataError(f"{path}: no pose of query {shorten(name)}.")
    return tuple(poses[name] for name in queries)


def _pairs(
    dataset: AachenDataset, datasets_dir: Path, maps: Sequence[str], queries: Sequence[str]
) -> tuple[tuple[Ids, ...], tuple[Ids, ...]]:
    """Pairs of map images, the smaller id first, and of queries with map images; each once, in order."""
    if dataset.pairs is None:
        return (), ()
    path = datasets_dir / dataset.pairs
    ids = {name: ("map", i) for i, name in enumerate(maps)} | {name: ("query", i) for i, name in enumerate(queries)}
    found: dict[str, dict[Ids, None]] = {"map": {}, "query": {}}
    for first, second in read_pair_names(path):
        for name in (first, second):
            if name not in ids:
                raise DataError(f"{path}: {shorten(name)} is not an image of this dataset.")
        (role, one), (other_role, other) = sorted((ids[first], ids[second]), reverse=True)
        if other_role != "map" or first == second:
            raise DataError(f"{path}: {shorten(first)} and {shorten(second)} are not a pair with an image of the map.")
        found[role][(one, other) if role == "query" else (min(one, other), max(one, other))] = None
    return tuple(found["map"]), tuple(found["query"])


def read_pair_names(path: Path) -> Iterator[tuple[str, str]]:
    """Two names a line, as hloc and COLMAP have them.

    Raises:
        DataError: the file is absent, or a line has another number of names.
    """
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file of pairs.") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            if len(words) != 2:
                raise DataError(f"{path}: line {number}: {len(words)} names, a pair has two.")
            yield words[0], words[1]
