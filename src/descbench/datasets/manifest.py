"""The manifest: the uniform list of a dataset's images, one CSV whatever the official format was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.config.base import ROLES
from descbench.errors import DataError
from descbench.io.csvfiles import read_csv, read_csv_part, write_csv
from descbench.io.digests import digest_of
from descbench.io.kinds import shorten

_REQUIRED = ("image_id", "path", "role")
_BOX = ("x1", "y1", "x2", "y2")
_OPTIONAL = (*_BOX, "easting", "northing", "cluster", "content")


@dataclass(frozen=True)
class ManifestRow:
    """One image of a dataset.

    Attributes:
        image_id: position of the image in the official list of its role, from 0.
        path: file path relative to the dataset's image root, POSIX separators.
        role: one of :data:`descbench.config.base.ROLES`.
        box: crop ``(x1, y1, x2, y2)`` in pixels of the whole image, or None for the whole image.
        easting, northing: position in metres (UTM), where the dataset has one.
        cluster: 3-D model (SfM-120k) the image belongs to, where the dataset has one.
        content: hash of the image file, in datasets of the user's own.
    """

    image_id: int
    path: str
    role: str
    box: tuple[float, float, float, float] | None = None
    easting: float | None = None
    northing: float | None = None
    cluster: int | None = None
    content: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Rows in official order; ``image_id`` counts from 0 within each role."""

    rows: tuple[ManifestRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def of_role(self, role: str) -> Manifest:
        """The rows of one role, in order."""
        return Manifest(tuple(row for row in self.rows if row.role == role))

    def slice(self, start: int, stop: int | None) -> Manifest:
        """Rows ``start:stop`` (None: to the end): a shard."""
        return Manifest(self.rows[start:stop])

    def digest(self) -> str:
        """SHA-256 of what decides the content of features: ids, paths, roles, boxes, and contents that are known."""
        known = ([r.image_id, r.path, r.role, r.box] + ([r.content] if r.content else []) for r in self.rows)
        return digest_of(list(known))


def write_manifest(manifest: Manifest, path: str | os.PathLike[str]) -> None:
    """Write a manifest as CSV with a checksum beside it, atomically; columns that no row fills are omitted."""
    columns = list(_REQUIRED)
    columns += [c for c in _OPTIONAL if any(_cell(row, c) != "" for row in manifest.rows)]
    write_csv(path, columns, ([_cell(row, column) for column in columns] for row in manifest.rows))


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest CSV.

    Raises:
        DataError: the file is not a manifest, damaged or edited, or its ids do not count from 0 within each role.
    """
    columns, records = read_csv(path, "manifest")
    missing = [c for c in _REQUIRED if c not in columns]
    if missing:
        raise DataError(f"{path}: not a manifest, column(s) {', '.join(missing)} missing; rebuild it.")
    rows = tuple(_row(record, Path(path)) for record in records)
    _check_ids(rows, Path(path))
    return Manifest(rows)


def read_manifest_part(path: str | os.PathLike[str], role: str, start: int, stop: int | None) -> Manifest:
    """Rows ``start:stop`` (None: to the end) of one role: quicker than :func:`read_manifest`, whose errors it has."""
    records = read_csv_part(path, "manifest", "role", role, start, stop)
    rows = tuple(_row(record, Path(path)) for record in records)
    _check_ids(rows, Path(path), {role: start})
    return Manifest(rows)


def check_counts(manifest: Manifest, counts: dict[str, int], source: str) -> None:
    """Compare the number of images of each role with the official one.

    Raises:
        DataError: a count differs; the message names ``source`` and both numbers.
    """
    for role, expected in counts.items():
        found = sum(row.role == role for row in manifest.rows)
        if found != expected:
            raise DataError(
                f"{source}: {found} {role} images, but this dataset has {expected}; "
                "the list is not the official one or was cut short: fetch it again."
            )


def missing_files(manifest: Manifest, root: str | os.PathLike[str]) -> list[str]:
    """Relative paths of the manifest that are not files below ``root``, in order."""
    base = Path(root)
    return [row.path for row in manifest.rows if not (base / row.path).is_file()]


def rows_of(role: str, paths: Sequence[str], boxes: Sequence[Sequence[float]] | None = None) -> list[ManifestRow]:
    """Number ``paths`` from 0 as rows of one role, with one box each where ``boxes`` is given."""
    crops = [None] * len(paths) if boxes is None else [tuple(float(v) for v in box) for box in boxes]
    return [ManifestRow(i, path, role, crop) for i, (path, crop) in enumerate(zip(paths, crops, strict=True))]


def _cell(row: ManifestRow, column: str) -> str:
    if column in _BOX:
        return "" if row.box is None else repr(float(row.box[_BOX.index(column)]))
    value = getattr(row, column)
    return "" if value is None else str(value)


def _row(record: dict[str, str], path: Path) -> ManifestRow:
    try:
        box = tuple(float(record[c]) for c in _BOX) if record.get("x1") else None
        return ManifestRow(
            image_id=int(record["image_id"]),
            path=record["path"],
            role=record["role"],
            box=box,
            easting=_optional(record, "easting", float),
            northing=_optional(record, "northing", float),
            cluster=_optional(record, "cluster", int),
            content=_optional(record, "content", str),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: row {shorten(record)} is not a manifest row ({shorten(error)}); rebuild the manifest."
        ) from error


def _optional(record: dict[str, str], column: str, kind: type) -> float | int | str | None:
    return kind(record[column]) if record.get(column) else None


def _check_ids(rows: tuple[ManifestRow, ...], path: Path, first: Mapping[str, int] | None = None) -> None:
    following = dict(first or {})
    for row in rows:
        if row.role not in ROLES:
            raise DataError(f"{path}: role {shorten(row.role)} is none of {', '.join(ROLES)}.")
        if row.image_id != following.get(row.role, 0):
            raise DataError(f"{path}: image_id {shorten(row.image_id)} of role {row.role} is out of order; rebuild it.")
        following[row.role] = row.image_id + 1
