"""Images that carry their position in their names: ``@utm_east@utm_north@...@.jpg``.

Definition: docs/protocols/places.md, Positions in names.

Light on purpose: the workflow lists the folders when it plans the shards.
"""

from __future__ import annotations

import re
from pathlib import Path

from descbench.config.datasets import FolderDataset, UtmNamesDataset
from descbench.datasets.folder import Listing, folder_root, list_folder
from descbench.datasets.manifest import Manifest, ManifestRow
from descbench.errors import DataError

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_ZONE = re.compile(r"\d{1,2}")
_LETTER = re.compile(r"[C-HJ-NP-X]")


def utm_root(dataset: UtmNamesDataset) -> Path:
    """Folder that the manifest's paths are relative to: the one above database and queries."""
    return folder_root(_folders(dataset))


def list_utm_names(dataset: UtmNamesDataset) -> Listing:
    """Images by role, as POSIX paths relative to :func:`utm_root`, in order of their path.

    Raises:
        DataError: as :func:`descbench.datasets.folder.list_folder`.
    """
    return list_folder(_folders(dataset))


def read_utm_names(listing: Listing) -> Manifest:
    """Manifest with positions: the database, then the queries.

    Raises:
        DataError: a name without position, or positions of two UTM zones.
    """
    listed = listing.images
    rows = []
    for role in ("database", "query"):
        for number, path in enumerate(listed[role]):
            easting, northing = position_of(path)
            rows.append(ManifestRow(number, path, role, easting=easting, northing=northing))
    _check_zones([row.path for row in rows])
    return Manifest(tuple(rows))


def position_of(path: str) -> tuple[float, float]:
    """Easting and northing in metres from the name of a file.

    Raises:
        DataError: the name holds no two numbers behind ``@``.
    """
    fields = path.rsplit("/", 1)[-1].split("@")
    # What stands behind the last @ is the suffix.
    if len(fields) < 4 or not all(_NUMBER.fullmatch(field) for field in fields[1:3]):
        raise DataError(f"{path}: no position in this name; @utm_east@utm_north@...@.jpg is needed (metres).")
    return float(fields[1]), float(fields[2])


def _check_zones(paths: list[str]) -> None:
    """Refuse positions of two zones: each counts from an origin of its own, so distances would be wrong."""
    first: tuple[str, str] | None = None
    for path in paths:
        zone = path.rsplit("/", 1)[-1].split("@")[3:5]
        if len(zone) < 2 or not (_ZONE.fullmatch(zone[0]) and _LETTER.fullmatch(zone[1])):
            continue
        if first is not None and first[0] != zone[0]:
            raise DataError(
                f"{path}: UTM zone {zone[0]}, but {first[1]} is of zone {first[0]}; distances between zones mean "
                "nothing, so make a dataset of each."
            )
        first = first or (zone[0], path)


def _folders(dataset: UtmNamesDataset) -> FolderDataset:
    places = {"database": dataset.database, "queries": dataset.queries, "on_bad_file": dataset.on_bad_file}
    return FolderDataset(format="folder", **places)
