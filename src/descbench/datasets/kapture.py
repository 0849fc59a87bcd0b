"""Kapture folders: the camera records of one, in kapture's order (docs/protocols/kapture.md, Image order).

Light on purpose: the workflow lists the folder when it plans the shards.
"""

from __future__ import annotations

import re
from pathlib import Path

from descbench.config.datasets import KaptureDataset
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

_VERSION = re.compile(r"#\s*kapture format:\s*(\d+)\.(\d+)")
_NEWEST = (1, 1)


def kapture_root(dataset: KaptureDataset) -> Path:
    """Folder that the manifest's paths are relative to."""
    return dataset.folder / "sensors" / "records_data"


def list_records(dataset: KaptureDataset) -> list[str]:
    """Image paths of all camera records: an image recorded twice comes twice.

    Order: timestamps as they first appear in ``records_camera.txt``, within one the devices as they first
    appear. Rows of devices that are no camera in ``sensors.txt`` are left out; of two rows with the same
    timestamp and device the later one counts, in the place of the first.

    Raises:
        DataError: a table is absent, malformed or of a newer format, or there is no image in it.
    """
    sensors, records = (dataset.folder / "sensors" / name for name in ("sensors.txt", "records_camera.txt"))
    cameras = _cameras(sensors)
    found: dict[int, dict[str, str]] = {}
    for number, row in _rows(records):
        if len(row) != 3:
            raise DataError(f"{records}: line {number} has {len(row)} fields, not timestamp, device_id, image_path.")
        try:
            timestamp = int(row[0])
        except ValueError:
            raise DataError(
                f"{records}: line {number}: {shorten(row[0])!r} is no whole number of a timestamp."
            ) from None
        if row[1] in cameras:
            found.setdefault(timestamp, {})[row[1]] = safe_relative(row[2], records)
    images = [image for devices in found.values() for image in devices.values()]
    if not images:
        raise DataError(f"{records}: no image of a camera that {sensors.name} names.")
    return images


def read_kapture(dataset: KaptureDataset) -> Manifest:
    """All camera records as database images."""
    return Manifest(tuple(rows_of("database", list_records(dataset))))


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
