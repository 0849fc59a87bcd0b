"""Keypoints, descriptors and matches of kapture folders (docs/interop.md, kapture's files).

``reconstruction/keypoints/<type>/keypoints.txt`` says type and columns, ``<image>.kpt`` beside it has the rows,
little-endian and without a head; descriptors alike in ``<image>.desc``.
``reconstruction/matches/<type>/<image>.overlapping/<other image>.matches`` has float64 rows of two features and a
score, the image that comes first in the alphabet first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.interop.exchanged import ExchangedFeatures, ExchangedMatches
from descbench.io.atomic import atomic_path, write_text
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

_FORMAT = "# kapture format: 1.1"
_DTYPES = {"float": "<f8", "float16": "<f2", "float32": "<f4", "float64": "<f8", "uint8": "<u1", "int": "<i8"}
_MOST_COLUMNS = 65_536
# Columns of a keypoint behind x and y.
_SCALE, _ORIENTATION, _AFFINE = 3, 4, 6


@dataclass(frozen=True)
class KaptureKind:
    """What a text beside binary files says of them.

    Attributes:
        name: of the kind, for information.
        dtype: of a number, such as ``float32``.
        dsize: numbers of a row.
        keypoints_type: folder of the keypoints that are described; descriptors only.
        metric_type: what descriptors are compared by, for information; descriptors only.
    """

    name: str
    dtype: str
    dsize: int
    keypoints_type: str = ""
    metric_type: str = ""

    @property
    def stored(self) -> np.dtype:
        """As numpy has it."""
        return np.dtype(_DTYPES[self.dtype])


def keypoints_folder(kapture: Path, kind: str) -> Path:
    """Folder of keypoints of a kind."""
    return kapture / "reconstruction" / "keypoints" / kind


def descriptors_folder(kapture: Path, kind: str) -> Path:
    """Folder of descriptors of a kind."""
    return kapture / "reconstruction" / "descriptors" / kind


def matches_file(kapture: Path, kind: str, first: str, second: str) -> Path:
    """File of the matches of two images, the first in the alphabet given first."""
    return kapture / "reconstruction" / "matches" / kind / f"{first}.overlapping" / f"{second}.matches"


def read_kind(path: Path) -> KaptureKind:
    """Read ``keypoints.txt`` or ``descriptors.txt``.

    Raises:
        DataError: it is absent, or no such text; names the line.
    """
    fields = 5 if path.name == "descriptors.txt" else 3
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file; name the kapture folder and a kind of features that it has.") from None
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and line[0] != "#"]
    if len(rows) != 1:
        raise DataError(f"{path}: {len(rows)} lines of content, where one says what the files beside it hold.")
    number, row = rows[0][0], [field.strip() for field in rows[0][1].split(",")]
    if len(row) != fields or not row[2].isascii() or not row[2].isdigit():
        raise DataError(
            f"{path}: line {number}: {shorten(rows[0][1])!r} is not name, dtype, dsize{', ...' * (fields > 3)}."
        )
    if row[1] not in _DTYPES:
        raise DataError(f"{path}: line {number}: numbers of type {shorten(row[1])!r}; {', '.join(_DTYPES)} are read.")
    if len(row[2]) > 6 or not 1 <= int(row[2]) <= _MOST_COLUMNS:
        raise DataError(f"{path}: line {number}: rows of {shorten(row[2])} numbers; 1 to {_MOST_COLUMNS} are read.")
    return KaptureKind(row[0], row[1], int(row[2]), *row[3:])


def write_kind(kind: KaptureKind, path: Path) -> None:
    """Write ``keypoints.txt`` or ``descriptors.txt``.

    Raises:
        DataError: a text with a comma, or the disk is full.
    """
    row = [kind.name, kind.dtype, str(kind.dsize)]
    columns = ["name", "dtype", "dsize"]
    if path.name == "descriptors.txt":
        row += [kind.keypoints_type, kind.metric_type]
        columns += ["keypoints_type", "metric_type"]
    _check_commas(row, path)
    write_text(path, f"{_FORMAT}\n# {', '.join(columns)}\n{', '.join(row)}\n")


def read_rows(path: Path, dtype: np.dtype, dsize: int) -> np.ndarray:
    """(N, dsize) numbers of a binary file, finite.

    Raises:
        DataError: it is absent, cut off within a row, or holds NaN or infinity.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); a kapture folder has one for each image."
        ) from None
    row_bytes = dtype.itemsize * dsize
    if len(content) % row_bytes:
        raise DataError(f"{path}: {len(content)} bytes are not whole number of rows of {row_bytes}; it was cut off.")
    rows = np.frombuffer(content, dtype).reshape(-1, dsize)
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: holds NaN or infinity.")
    return rows


def write_rows(rows: np.ndarray, dtype: np.dtype, path: Path) -> None:
    """Write rows as a binary file.

    Raises:
        DataError: the disk is full.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(np.ascontiguousarray(rows, dtype).tobytes())


def write_kapture_features(features: Iterable[tuple[str, ExchangedFeatures]], kapture: Path, kind: str) -> int:
    """Write keypoints and descriptors of images into a kapture folder; the texts that make them valid come last.

    Keypoints have the columns x, y, scale and orientation, or as many of them as all images have.

    Args:
        features: name of each image, below ``records_data``, and what it has.
        kapture: the folder.
        kind: name of the features in it.

    Returns:
        number of images.

    Raises:
        DataError: names with commas, that leave the folder or come twice, images of which one lacks what the others
            have, none at all, or a full disk.
    """
    points, described = keypoints_folder(kapture, kind), descriptors_folder(kapture, kind)
    _check_commas([kind], kapture)
    found_sizes: set[tuple[int, int]] = set()
    names: set[str] = set()
    for name, found in features:
        _check_commas([safe_relative(name, kapture)], kapture)
        if name in names:
            raise DataError(f"{kapture}: image {shorten(name)!r} comes twice.")
        names.add(name)
        columns = _columns(found)
        # An image without features has no columns of its own.
        if len(columns):
            found_sizes.add((columns.shape[1], found.descriptors.shape[1]))
        if len(found_sizes) > 1:
            raise DataError(f"{kapture}: image {shorten(name)!r} has other columns or dimensions than those before it.")
        write_rows(columns, np.dtype("<f4"), points / f"{name}.kpt")
        write_rows(found.descriptors, np.dtype("<f4"), described / f"{name}.desc")
    if not found_sizes:
        raise DataError(f"{kapture}: no image has any features to write.")
    dsize, dim = found_sizes.pop()
    write_kind(KaptureKind(kind, "float32", dsize), points / "keypoints.txt")
    write_kind(KaptureKind(kind, "float32", dim, kind, "L2"), described / "descriptors.txt")
    return len(names)


def _columns(found: ExchangedFeatures) -> np.ndarray:
    more = [] if found.scales is None else [found.scales]
    more += [found.orientations] if more and found.orientations is not None else []
    return np.column_stack([found.keypoints, *more]).astype(np.float32)


def read_kapture_features(kapture: Path, kind: str, names: Iterable[str]) -> dict[str, ExchangedFeatures]:
    """Features of images by name, in the order of their files.

    Scale and orientation are taken from three or four columns, or from the affine shape that COLMAP's six have; further
    columns are passed over. kapture has no scores of features.

    Raises:
        DataError: a file is absent, cut off or holds NaN, a name leaves the folder, or keypoints and descriptors of an
            image are not equally many.
    """
    points, described = keypoints_folder(kapture, kind), descriptors_folder(kapture, kind)
    shape, form = read_kind(points / "keypoints.txt"), read_kind(described / "descriptors.txt")
    if shape.dsize < 2:
        raise DataError(f"{points / 'keypoints.txt'}: keypoints of one number; x and y are two.")
    if form.keypoints_type != kind:
        raise DataError(
            f"{described / 'descriptors.txt'}: of keypoints {shorten(form.keypoints_type)!r}, not {kind!r}."
        )
    found = {}
    for name in names:
        place = points / f"{safe_relative(name, kapture)}.kpt"
        rows = read_rows(place, shape.stored, shape.dsize).astype(np.float32)
        descriptors = read_rows(described / f"{name}.desc", form.stored, form.dsize).astype(np.float32)
        scales, orientations = _shape(rows)
        try:
            found[name] = ExchangedFeatures(rows[:, :2], descriptors, scales=scales, orientations=orientations)
        except ValueError as error:
            raise DataError(f"{place}: does not fit its descriptors ({error}).") from None
        if len(descriptors) != len(rows):
            raise DataError(f"{place}: {len(rows)} keypoints, {len(descriptors)} descriptors; extract the image again.")
    return found


def _shape(rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Scale and orientation of keypoints, as far as their columns have them."""
    columns = rows.shape[1]
    if columns == _AFFINE:
        a, b, c, d = rows[:, 2:].T  # rows of a matrix
        return np.sqrt(np.abs(a * d - b * c)), np.arctan2(c, a)
    named = columns in (_SCALE, _ORIENTATION)
    return rows[:, 2] if named else None, rows[:, 3] if columns == _ORIENTATION else None


def read_kapture_matches(kapture: Path, kind: str, first: str, second: str) -> ExchangedMatches:
    """Matches of two images in the order of the file, whichever of them comes first in the alphabet.

    Raises:
        DataError: a file that is absent, cut off or holds NaN, numbers of features that are none, or names that leave
            the folder.
    """
    names = sorted((safe_relative(first, kapture), safe_relative(second, kapture)))
    path = matches_file(kapture, kind, *names)
    rows = read_rows(path, np.dtype("<f8"), 3)
    features = rows[:, :2]
    if ((features < 0) | (features >= 2**31) | (features != np.floor(features))).any():
        raise DataError(f"{path}: numbers of features that are not whole numbers from 0 on.")
    found = ExchangedMatches(features.astype(np.int64), rows[:, 2].copy())
    return found if names[0] == first else ExchangedMatches(found.indices[:, ::-1].copy(), found.scores)


def write_kapture_matches(kapture: Path, kind: str, first: str, second: str, found: ExchangedMatches) -> Path:
    """Write the matches of two images, in their order; returns the file.

    Raises:
        DataError: an image with itself, names that leave the folder or hold a comma, or a full disk.
    """
    _check_commas([kind, first, second], kapture)
    names = sorted((safe_relative(first, kapture), safe_relative(second, kapture)))
    if first == second:
        raise DataError(f"{kapture}: matches of {shorten(first)!r} with itself.")
    indices = found.indices if names[0] == first else found.indices[:, ::-1]
    path = matches_file(kapture, kind, *names)
    write_rows(np.column_stack([indices, found.scores]), np.dtype("<f8"), path)
    return path


def _check_commas(texts: Iterable[str], where: Path) -> None:
    for text in texts:
        if any(sign in text for sign in ",\n\r"):
            raise DataError(
                f"{where}: {shorten(text)!r} holds a comma or an end of line, which kapture's texts cannot."
            )
