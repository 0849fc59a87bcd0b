"""Kapture folders: the camera records of one, in kapture's order (docs/protocols/kapture.md, Image order).

Light on purpose: the workflow lists the folder when it plans the shards.
"""

from __future__ import annotations

import re
from pathlib import Path

from descbench.config.datasets import KaptureDataset
from descbench.datasets.cameras import Camera, Pose, parse_camera, parse_number
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.datasets.photographs import LeftOut
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

_VERSION = re.compile(r"#\s*kapture format:\s*(\d+)\.(\d+)")
_NEWEST = (1, 1)


def kapture_root(dataset: KaptureDataset) -> Path:
    """Folder that the manifest's paths are relative to."""
    return records_data(dataset.folder)


def records_data(folder: Path) -> Path:
    """Folder of the images of a kapture folder."""
    return folder / "sensors" / "records_data"


def list_records(dataset: KaptureDataset) -> list[str]:
    """Image paths of all camera records: an image recorded twice comes twice.

    Order: timestamps as they first appear in ``records_camera.txt``, within one the devices as they first
    appear. Rows of devices that are not a camera in ``sensors.txt`` are left out; of two rows with the same
    timestamp and device the later one counts, in the place of the first.

    Raises:
        DataError: a table is absent, malformed or of a newer format, or there is no image in it.
    """
    return [image for _, _, image in _records(dataset.folder)[0]]


def _records(folder: Path) -> tuple[list[tuple[int, str, str]], list[LeftOut]]:
    """Timestamp, device and image path of all camera records, as :func:`list_records` orders them; other rows."""
    sensors, records = (folder / "sensors" / name for name in ("sensors.txt", "records_camera.txt"))
    cameras = _cameras(sensors)
    found: dict[int, dict[str, str]] = {}
    left_out: list[LeftOut] = []
    for number, row in _rows(records):
        if len(row) != 3:
            raise DataError(f"{records}: line {number} has {len(row)} fields, not timestamp, device_id, image_path.")
        try:
            timestamp = int(row[0])
        except ValueError:
            raise DataError(
                f"{records}: line {number}: {shorten(row[0])!r} is not a whole number of a timestamp."
            ) from None
        device, image = row[1], safe_relative(row[2], records)
        if device not in cameras:
            left_out.append(LeftOut(image, f"{records}, line {number}: {device} is not a camera of {sensors.name}"))
            continue
        of_time = found.setdefault(timestamp, {})
        if of_time.get(device, image) != image:
            reason = f"{records}, line {number}: another image has the same timestamp and device"
            left_out.append(LeftOut(of_time[device], reason))
        of_time[device] = image
    images = [(time, device, image) for time, devices in found.items() for device, image in devices.items()]
    if not images:
        raise DataError(f"{records}: no image of a camera that {sensors.name} names.")
    return images, left_out


def read_kapture(dataset: KaptureDataset) -> tuple[Manifest, tuple[LeftOut, ...]]:
    """All camera records as database images, in the order of :func:`list_records`; and rows that are none of them."""
    images, left_out = _records(dataset.folder)
    return Manifest(tuple(rows_of("database", [image for _, _, image in images]))), tuple(left_out)


def read_posed_records(folder: Path) -> tuple[list[tuple[str, Camera, Pose | None]], list[LeftOut]]:
    """Image path, intrinsics and pose of all camera records, in their order; no pose where none is known.

    Rows that are left out, as by :func:`list_records`, are the second list.

    Raises:
        DataError: as :func:`list_records`; or a camera whose intrinsics are unknown, a trajectory that is malformed, or
            rigs, whose poses are not read.
    """
    cameras, poses = _intrinsics(folder / "sensors" / "sensors.txt"), _trajectories(folder)
    images, left_out = _records(folder)
    return [(image, cameras[device], poses.get((time, device))) for time, device, image in images], left_out


def _intrinsics(path: Path) -> dict[str, Camera]:
    """Cameras by id of their sensor."""
    found = {}
    for number, row in _rows(path):
        if len(row) > 2 and row[2] == "camera":
            try:
                found[row[0]] = parse_camera(row[3:])
            except (ValueError, OverflowError) as error:
                raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
    return found


def _trajectories(folder: Path) -> dict[tuple[int, str], Pose]:
    """Poses by timestamp and device, world to device; rows with empty fields are unknown."""
    path, rigs = (folder / "sensors" / f"{name}.txt" for name in ("trajectories", "rigs"))
    if rigs.is_file() and _rows(rigs):
        raise DataError(f"{rigs}: poses of rigs are not read; write trajectories of the cameras themselves.")
    found: dict[tuple[int, str], Pose] = {}
    for number, row in _rows(path) if path.is_file() else ():
        try:
            if len(row) != 9:
                raise ValueError("a trajectory is timestamp, device_id, qw, qx, qy, qz, tx, ty, tz")
            if "" in row[2:]:
                continue
            values = tuple(map(parse_number, row[2:]))
            pose = Pose(values[:4], values[4:])
            if not pose.is_unit:
                raise ValueError("a quaternion that is not of length 1, which is not a rotation")
            place = int(row[0]), row[1]
            if found.setdefault(place, pose) != pose:
                raise ValueError(f"timestamp {place[0]} of {place[1]} has another pose in a line before; keep one")
        except ValueError as error:
            raise DataError(f"{path}: line {number}: {shorten(error)}.") from None
    return found


def _cameras(path: Path) -> set[str]:
    """Ids of the sensors of type camera.

    Raises:
        DataError: no format version in the first line, or one that is not known.
    """
    version = _VERSION.search(_lines(path)[0]) if _lines(path) else None
    if version is None:
        raise DataError(f"{path}: the first line does not say `# kapture format: 1.1`; not a kapture folder?")
    if tuple(map(int, version.groups())) > _NEWEST:
        raise DataError(f"{path}: kapture format {version[1]}.{version[2]} is newer than 1.1, the newest known.")
    cameras = set()
    for number, row in _rows(path):
        if len(row) < 3:
            raise DataError(f"{path}: line {number} has {len(row)} fields, not sensor_id, name, sensor_type, ...")
        if row[2] == "camera":
            cameras.add(row[0])
    return cameras


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Numbered rows of a table. A line is a comment when its first character is `#`; nothing is quoted."""
    lines = enumerate(_lines(path), start=1)
    return [(n, [f.strip() for f in line.split(",")]) for n, line in lines if line.strip() and line[0] != "#"]


def _lines(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; a kapture folder has sensors/{path.name}.") from None
    except NotADirectoryError:
        raise DataError(f"{path}: cannot be read, a folder of its path is a file; name the kapture folder.") from None
