"""Pittsburgh and Tokyo as published with NetVLAD: a .mat file with ``dbStruct``.

Definition: docs/protocols/places.md, Lists.

The files are untrusted: every field is checked before it is used.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from descbench.config.datasets import DbStructDataset
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, ManifestRow
from descbench.datasets.places import PlaceLabels
from descbench.datasets.positions import RADIUS, TRAINING_RADIUS, Positions, label_places
from descbench.errors import DataError
from descbench.io.matfiles import read_mat

_LISTS = ("dbImageFns", "utmDb", "qImageFns", "utmQ")
_NUMBERS = ("numImages", "numQueries", "posDistThr", "posDistSqThr", "nonTrivPosDistSqThr")
_PITTSBURGH = ("whichSet", *_LISTS, *_NUMBERS)
_TOKYO_TM = ("whichSet", "dbImageFns", "utmDb", "dbTimeStamp", "qImageFns", "utmQ", "qTimeStamp", *_NUMBERS)
# The largest official list takes about 30 MB.
_LARGEST = 1 << 30


def read_dbstruct(dataset: DbStructDataset, datasets_dir: Path) -> tuple[Manifest, PlaceLabels]:
    """Manifest (database, then queries, in the order of the lists, with positions) and labels.

    Raises:
        DataError: no .mat file with ``dbStruct``, or its lists are damaged or contradict each other.
    """
    path = datasets_dir / dataset.struct
    fields = _read_fields(path)
    database, queries = _names(fields, "dbImageFns", path), _names(fields, "qImageFns", path)
    for key, names in (("numImages", database), ("numQueries", queries)):
        if key in fields and _number(fields, key, path) != len(names):
            raise DataError(f"{path}: {key} is {_number(fields, key, path):g}, but there are {len(names)} names.")
    timed = dataset.exclude_same_time or dataset.positives == "matlab"
    positions = Positions(
        _positions(fields, "utmDb", len(database), path),
        _positions(fields, "utmQ", len(queries), path),
        str(path),
        _times(fields, "dbTimeStamp", len(database), path) if timed else None,
        _times(fields, "qTimeStamp", len(queries), path) if timed else None,
    )
    radius, training_squared = _limits(fields, path)
    labels = label_places(positions, dataset, radius=radius, training_squared=training_squared)
    rows = _rows("database", [_file(dataset, name) for name in database], positions.database)
    rows += _rows("query", [f"{dataset.queries}/{name}" for name in queries], positions.queries)
    return Manifest(tuple(rows)), labels


def _rows(role: str, files: list[str], places: np.ndarray) -> list[ManifestRow]:
    numbered = enumerate(zip(files, places.tolist(), strict=True))
    return [ManifestRow(i, file, role, easting=east, northing=north) for i, (file, (east, north)) in numbered]


def _file(dataset: DbStructDataset, name: str) -> str:
    """Path of a database image below the datasets, with the suffix that the files have."""
    if dataset.suffix is not None:
        folder, slash, file = name.rpartition("/")
        name = f"{folder}{slash}{file.rsplit('.', 1)[0]}{dataset.suffix}"
    return f"{dataset.images}/{name}"


# --- fields ------------------------------------------------------------------------------------


def _read_fields(path: Path) -> Mapping[str, Any]:
    """Fields of ``dbStruct`` by the names that MATLAB's code uses, whatever the file calls them."""
    record = read_mat(path, "dbStruct", largest=_LARGEST)
    if not isinstance(record, dict):
        raise DataError(f"{path}: dbStruct is not a struct; this is not a NetVLAD dataset specification.")
    if set(_LISTS) <= set(record):
        return record
    # pytorch-NetVlad reads by position only, so files with other names exist.
    order = {len(_PITTSBURGH): _PITTSBURGH, len(_TOKYO_TM): _TOKYO_TM}.get(len(record))
    if order is None:
        raise DataError(f"{path}: dbStruct has fields {', '.join(record)}; {', '.join(_LISTS)} are needed.")
    logging.warning("%s: fields of dbStruct have other names (%s); read by position.", path, ", ".join(record))
    return dict(zip(order, record.values(), strict=True))


def _names(fields: Mapping[str, Any], key: str, path: Path) -> list[str]:
    """Image names of a cell column, each once."""
    cells = fields[key]
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.size != max(cells.shape, default=0):
        raise DataError(f"{path}: {key} is not a cell column of names.")
    names: dict[str, None] = {}
    for number, cell in enumerate(cells.ravel()):
        if not isinstance(cell, str):
            raise DataError(f"{path}: {key}: cell {number} is not a name.")
        name = safe_relative(cell, path)
        if name in names:
            raise DataError(f"{path}: {key} names {name!r} twice; the list is damaged.")
        names[name] = None
    if not names:
        raise DataError(f"{path}: {key} names no image.")
    return list(names)


def _numbers(fields: Mapping[str, Any], key: str, path: Path) -> np.ndarray:
    """A real, finite array as float64."""
    values = fields[key]
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        raise DataError(f"{path}: {key} holds no real numbers.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {key} holds NaN or infinity; the list is damaged.")
    return values


def _positions(fields: Mapping[str, Any], key: str, images: int, path: Path) -> np.ndarray:
    """Positions (images, 2) in metres from an array (2, images)."""
    values = _numbers(fields, key, path)
    if values.shape != (2, images):
        raise DataError(f"{path}: {key} is {' x '.join(map(str, values.shape))}, but {images} names need 2 x {images}.")
    return np.ascontiguousarray(values.T)


def _times(fields: Mapping[str, Any], key: str, images: int, path: Path) -> np.ndarray | None:
    """Time stamps (images,); None where there are none (Pittsburgh)."""
    if key not in fields:
        return None
    values = _numbers(fields, key, path)
    if values.size != images:
        raise DataError(f"{path}: {key} holds {values.size} time stamps for {images} names.")
    return values.ravel()


def _number(fields: Mapping[str, Any], key: str, path: Path) -> float:
    values = _numbers(fields, key, path)
    if values.size != 1:
        raise DataError(f"{path}: {key} is not a single number.")
    return float(values.item())


def _limits(fields: Mapping[str, Any], path: Path) -> tuple[float, float]:
    """Radius in metres of what is right, and squared radius of training's positives."""
    known = {key: _number(fields, key, path) for key in _NUMBERS[2:] if key in fields}
    wrong = next((key for key, value in known.items() if value <= 0), None)
    if wrong is not None:
        raise DataError(f"{path}: {wrong} is {known[wrong]:g}; a distance above 0 is needed.")
    radius = known.get("posDistThr", math.sqrt(known.get("posDistSqThr", RADIUS**2)))
    if not math.isclose(known.get("posDistSqThr", radius**2), radius**2, rel_tol=1e-6):
        raise DataError(f"{path}: posDistSqThr {known['posDistSqThr']:g} is not the square of posDistThr {radius:g}.")
    return radius, known.get("nonTrivPosDistSqThr", TRAINING_RADIUS**2)
