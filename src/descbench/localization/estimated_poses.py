"""Estimated poses of a dataset's queries: the benchmark's text file, and beside it what the poses were made of.

``<dataset>.txt`` is a file of :mod:`descbench.datasets.pose_files`; ``<dataset>.txt.json`` has its SHA-256.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from descbench.datasets.cameras import Pose
from descbench.datasets.pose_files import read_poses
from descbench.errors import DataError, StaleFileError
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import as_record, read_json, write_checked_json
from descbench.io.records import record_path


@dataclass(frozen=True)
class PoseRecord:
    """What stands beside a file of poses.

    Attributes:
        sha256: of the text.
        cell: method and dataset.
        reconstruction: digest of the map of points.
        map_points: how many it has.
        num_queries: of the dataset.
        correspondences, inliers: of each query, 2-D to 3-D; 0 inliers: it was not localised.
        filled: queries that were not localised, and have the pose of their first map image instead.
    """

    sha256: str
    cell: str
    reconstruction: str
    map_points: int
    num_queries: int
    correspondences: list[int]
    inliers: list[int]
    filled: list[int] = field(default_factory=list)


def write_record(record: PoseRecord, path: Path) -> None:
    """Write what stands beside a file of poses, whose SHA-256 is filled in here."""
    write_checked_json(record_path(path), {**asdict(record), "sha256": sha256_file(path)})


def read_estimated(path: Path, cell: str | None = None) -> tuple[dict[str, Pose], PoseRecord]:
    """Read poses of the workflow, and what stands beside them.

    Raises:
        StaleFileError: they are of another method or dataset.
        DataError: a file is absent or damaged, or the text was edited.
    """
    value: dict[str, Any] = read_json(record_path(path), "record of poses")
    record = as_record(PoseRecord, value, record_path(path), "record of poses")
    if cell is not None and record.cell != cell:
        raise StaleFileError(f"{path}: poses of {record.cell}, not of {cell}; delete it and rerun.")
    if not path.is_file() or sha256_file(path) != record.sha256:
        raise DataError(f"{path}: absent, damaged or edited by hand: not what {record_path(path)} says; delete both.")
    counts = (len(record.correspondences), len(record.inliers))
    if counts != (record.num_queries,) * 2 or min([*record.inliers, *record.correspondences, 0]) < 0:
        raise DataError(f"{record_path(path)}: counts that are not one a query; delete it and rerun.")
    poses = read_poses(path)
    localised = [query for query, count in enumerate(record.inliers) if count]
    if not set(record.filled) <= set(range(record.num_queries)) - set(localised):
        raise DataError(f"{record_path(path)}: queries that were localised and were not; delete it and rerun.")
    if len(poses) != len(localised) + len(record.filled):
        raise DataError(f"{path}: {len(poses)} poses, but others were localised; delete it and rerun.")
    return poses, record
