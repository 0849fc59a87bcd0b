"""Files of estimated poses: the benchmark's text, and beside it what the poses were made of.

``<dataset>.txt`` has a line ``name qw qx qy qz tx ty tz`` for each query that was localised, as visuallocalization.net
wants it (docs/protocols/localization.md, Pose files); ``<dataset>.txt.json`` has the SHA-256 of that text.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from descbench.datasets.cameras import Pose, parse_number
from descbench.errors import DataError, StaleFileError
from descbench.io.atomic import write_text
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import as_record, read_json, write_checked_json
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines


@dataclass(frozen=True)
class PoseRecord:
    """What stands beside a file of poses.

    Attributes:
        sha256: of the text.
        cell: method and dataset.
        reconstruction: digest of the map of points.
        num_queries: of the dataset.
        correspondences, inliers: of each query, 2-D to 3-D; 0 inliers: it was not localised.
    """

    sha256: str
    cell: str
    reconstruction: str
    num_queries: int
    correspondences: list[int]
    inliers: list[int]


def record_path(poses: str | os.PathLike[str]) -> str:
    """The file beside a file of poses."""
    return f"{os.fspath(poses)}.json"


def pose_names(images: Sequence[str]) -> list[str]:
    """Names of images in a file of poses: the last part of their paths, or the paths where two share it."""
    short = [PurePosixPath(image).name for image in images]
    return list(images) if max(Counter(short).values(), default=0) > 1 else short


def write_poses(poses: Mapping[str, Pose], path: Path) -> None:
    """Write poses by name, in order, numbers in as many digits as they need.

    Raises:
        DataError: a name that holds a blank, which the format has no way to write.
    """
    lines = []
    for name, pose in poses.items():
        if not name or len(name.split()) != 1:
            raise DataError(
                f"{path}: a pose of {shorten(name)!r}: names with blanks can't be written; rename the file."
            )
        lines.append(" ".join([name, *map(repr, map(float, (*pose.rotation, *pose.translation)))]))
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_poses(path: Path) -> dict[str, Pose]:
    """Read poses by name, in order; lines that begin with ``#`` are comments.

    Raises:
        DataError: the file is absent, a line is no pose, a quaternion is no rotation, or a name is there twice.
    """
    found: dict[str, Pose] = {}
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file of poses.") from None
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) != 8:
                raise ValueError("a pose is `name qw qx qy qz tx ty tz`")
            values = tuple(map(parse_number, words[1:]))
            pose = Pose(values[:4], values[4:])
        except ValueError as error:
            raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
        if not pose.is_unit:
            raise DataError(f"{path}: line {number}: a quaternion that is not of length 1, which is no rotation.")
        if words[0] in found:
            raise DataError(f"{path}: line {number}: {shorten(words[0])} is there twice.")
        found[words[0]] = pose
    return found


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
    if len(poses) != sum(count > 0 for count in record.inliers):
        raise DataError(f"{path}: {len(poses)} poses, but others were localised; delete it and rerun.")
    return poses, record
