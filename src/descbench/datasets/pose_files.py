"""Files of poses: a line ``name qw qx qy qz tx ty tz`` each, world to camera, as visuallocalization.net wants them.

Definition: docs/protocols/localization.md, Pose files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from descbench.datasets.cameras import Pose, parse_number
from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines


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
        DataError: the file is absent, a line is not a pose, a quaternion is not a rotation, or a name is there twice.
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
            raise DataError(f"{path}: line {number}: a quaternion that is not of length 1, which is not a rotation.")
        if words[0] in found:
            raise DataError(f"{path}: line {number}: {shorten(words[0])} is there twice.")
        found[words[0]] = pose
    return found
