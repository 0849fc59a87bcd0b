"""Cameras and poses of a dataset: one JSON file in the place of a ground truth.

Definition: docs/protocols/localization.md, Labels.

Light on purpose, as :mod:`descbench.datasets.cameras`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from descbench.datasets.cameras import Camera, Pose
from descbench.datasets.manifest import Manifest
from descbench.errors import DataError
from descbench.io.jsonfiles import as_record, read_json, write_checked_json

Ids = tuple[int, int]


@dataclass(frozen=True)
class PoseLabels:
    """What is known of the images of a localisation dataset, each list in the order of the manifest's role.

    Attributes:
        map_cameras, query_cameras: intrinsics of each image.
        map_poses: pose of each map image.
        query_poses: true pose of each query; empty where a server keeps them.
        conditions: name of each query's condition, such as ``night``; empty where there are none.
        map_pairs, query_pairs: official pairs of map images, and of a query and a map image, by their ids; empty where
            none are listed.
    """

    map_cameras: tuple[Camera, ...]
    query_cameras: tuple[Camera, ...]
    map_poses: tuple[Pose, ...]
    query_poses: tuple[Pose, ...] = ()
    conditions: tuple[str, ...] = ()
    map_pairs: tuple[Ids, ...] = ()
    query_pairs: tuple[Ids, ...] = ()

    def plain(self) -> list[Any]:
        """Content as plain values, for digests."""
        return ["poses", {key: _plain(item) for key, item in vars(self).items()}]


def check_pose_labels(source: str, labels: PoseLabels, manifest: Manifest) -> None:
    """Refuse labels that do not fit the images of their dataset, which errors name as ``source``; DataError."""
    maps, queries = len(manifest.of_role("map")), len(manifest.of_role("query"))
    if not maps or not queries:
        raise DataError(f"{source}: {maps} map images and {queries} queries; both are needed.")
    lengths = {
        "cameras of the map": (labels.map_cameras, maps),
        "cameras of the queries": (labels.query_cameras, queries),
        "poses of the map": (labels.map_poses, maps),
        "poses of the queries": (labels.query_poses, queries if labels.query_poses else 0),
        "conditions": (labels.conditions, queries if labels.conditions else 0),
    }
    for what, (found, wanted) in lengths.items():
        if len(found) != wanted:
            raise DataError(f"{source}: {len(found)} {what} for {wanted} images.")
    _check_ids(source, labels.map_pairs, maps, maps)
    _check_ids(source, labels.query_pairs, queries, maps)


def _check_ids(source: str, pairs: Sequence[Ids], first: int, second: int) -> None:
    for a, b in pairs:
        if not (0 <= a < first and 0 <= b < second):
            raise DataError(f"{source}: a pair of images {a} and {b}, of {first} and {second}.")


def write_pose_labels(labels: PoseLabels, path: str | os.PathLike[str]) -> None:
    """Write labels as JSON, atomically."""
    protocol, value = labels.plain()
    write_checked_json(path, {"protocol": protocol, **value}, indent=None)


def read_pose_labels(path: str | os.PathLike[str]) -> PoseLabels:
    """Read what :func:`write_pose_labels` wrote.

    Raises:
        DataError: the file is damaged, or holds no poses.
    """
    value = read_json(path, "file of poses")
    if value.get("protocol") != "poses":
        raise DataError(f"{path}: holds no poses; a dataset to localise in has a map with poses.")
    return parse_pose_labels(value, path)


def parse_pose_labels(value: dict[str, Any], path: str | os.PathLike[str]) -> PoseLabels:
    """Labels from the content of their file.

    Raises:
        DataError: other keys than those of this version, values of another type, or lists of other lengths.
    """
    fields = {key: item for key, item in value.items() if key != "protocol"}
    found = as_record(PoseLabels, fields, path, "file of poses")
    queries, maps = len(found.query_cameras), len(found.map_cameras)
    fitting = len(found.map_poses) == maps and len(found.query_poses) in (0, queries)
    if not fitting or len(found.conditions) not in (0, queries) or not maps or not queries:
        raise DataError(f"{path}: cameras and poses that do not belong together; delete it and rerun.")
    for pairs, first in ((found.map_pairs, maps), (found.query_pairs, queries)):
        if any(not (0 <= a < first and 0 <= b < maps) for a, b in pairs):
            raise DataError(f"{path}: pairs of images that are not there; delete it and rerun.")
    return found


def _plain(item: Any) -> Any:
    if isinstance(item, Camera | Pose):
        return vars(item)
    return [_plain(part) for part in item] if isinstance(item, tuple) else item
