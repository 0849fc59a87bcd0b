"""Poses of an NVM file and intrinsics in a text file, as Aachen Day-Night has them.

Definition: docs/protocols/localization.md, NVM and intrinsics.
"""

from __future__ import annotations

from pathlib import Path

from descbench.datasets.cameras import Camera, Pose, parse_camera, parse_number, pose_at
from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines


def read_intrinsics(path: Path) -> dict[str, Camera]:
    """Cameras by image name, in the order of the file: ``name MODEL width height params...`` a line.

    Raises:
        DataError: the file is absent or malformed, or a name is there twice.
    """
    found: dict[str, Camera] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        try:
            camera = parse_camera(words[1:])
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
        _add(found, words[0], camera, path, number)
    if not found:
        raise DataError(f"{path}: no image; a line is `name MODEL width height params...`.")
    return found


def read_nvm_poses(path: Path) -> dict[str, Pose]:
    """Poses by image name, in the order of the file; quaternions as they are written, t = -R c.

    Raises:
        DataError: the file is absent, no NVM file, ends early, or a name is there twice.
    """
    lines = _lines(path)
    if not lines[0].startswith("NVM_V3"):
        raise DataError(f"{path}: does not begin with NVM_V3; not an NVM file?")
    rest = iter(enumerate(lines[1:], start=2))
    number, head = next(((n, line) for n, line in rest if line.strip()), (0, ""))
    count = int(head) if head.strip().isdecimal() and len(head) < 12 else 0
    if not 0 < count <= len(lines):
        raise DataError(f"{path}: line {number}: {shorten(head)!r} is not a number of cameras that the file has.")
    found: dict[str, Pose] = {}
    for number, line in rest:
        if len(found) == count:
            break
        words = line.split()
        try:
            if len(words) < 9:
                raise ValueError("a camera is `name focal qw qx qy qz cx cy cz distortion 0`")
            values = tuple(map(parse_number, words[2:9]))
            pose = pose_at(values[:4], values[4:])
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
        _add(found, words[0], pose, path, number)
    if len(found) < count:
        raise DataError(f"{path}: ends after {len(found)} of {count} cameras; fetch it again.")
    return found


def _add(found: dict[str, Camera] | dict[str, Pose], name: str, value: Camera | Pose, path: Path, line: int) -> None:
    if name in found:
        raise DataError(f"{path}: line {line}: image {shorten(name)} is there twice.")
    found[safe_relative(name, path)] = value


def _lines(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file; the official archive has it.") from None
