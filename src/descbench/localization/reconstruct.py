"""Stage reconstruct: the map images of a dataset, their matches and poses become a map of 3-D points.

The model is a folder in COLMAP's binary format; ``<dataset>.json`` beside it says what it holds and was made of.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap

from descbench.datasets.cameras import Camera
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.datasets.pose_labels import read_pose_labels
from descbench.errors import DataError, StaleFileError
from descbench.features.image_features import ImageFeatures
from descbench.io.atomic import work_folder
from descbench.io.digests import digest_of, sha256_file
from descbench.io.jsonfiles import as_record, read_json, write_checked_json
from descbench.localization.colmap import PosedImages, number_of, refusing_errors
from descbench.localization.triangulate import TriangulationSettings, triangulate_points
from descbench.matching.matches import read_matches

Origin = Literal["corner", "centre"]
_MIDDLE = np.float32(0.5)
# Of sizes that programs round differently.
_SLACK = 1.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapRecord:
    """What stands beside a model.

    Attributes:
        cell: method and dataset.
        features: digest of the features of the map images.
        labels: SHA-256 of the dataset's labels.
        files: SHA-256 of the model's files, by name.
        images, points, observations: of the model; no points where no match of map images was verified.
        mean_error: reprojection error in pixels; 0 without points.
    """

    cell: str
    features: str
    labels: str
    files: dict[str, str]
    images: int
    points: int
    observations: int
    mean_error: float

    def digest(self) -> str:
        """Of all that decides the model."""
        return digest_of(asdict(self))


@dataclass(frozen=True)
class PointMap:
    """A map of points, as queries are localised in it.

    Attributes:
        record: what stands beside it.
        point_ids: per map image, (n,) int64 rows of ``points`` by keypoint; -1 for none.
        points: (P, 3) float64.
    """

    record: MapRecord
    point_ids: tuple[np.ndarray, ...]
    points: np.ndarray


def keypoints_of(features: ImageFeatures, image: int, origin: Origin) -> np.ndarray:
    """(n, 2) float32 as COLMAP has them, with the corner of the first pixel at 0, 0; or half a pixel less.

    The origin ``centre`` gives COLMAP what has the middle of the first pixel at 0, 0, as HNDesc's original does.
    """
    return features.keypoints(image) + {"corner": _MIDDLE, "centre": np.float32(0)}[origin]


def check_size(name: str, keypoints: np.ndarray, camera: Camera) -> None:
    """Refuse a camera of a smaller copy of an image, beyond whose borders keypoints lie.

    Raises:
        DataError: they lie further out than rounded sizes explain.
    """
    size = np.array([camera.width, camera.height])
    furthest = keypoints.max(axis=0, initial=0)
    if (furthest > size * _SLACK + 1).any():
        raise DataError(
            f"{name}: its camera is of {camera.width} x {camera.height} pixels, and keypoints lie at up to "
            f"{furthest[0]:.0f}, {furthest[1]:.0f}: intrinsics of another size of the image; scale them, or give the "
            "image of that size."
        )


def reconstruct(
    manifest: Path,
    labels: Path,
    features: Sequence[Path],
    matches: Path,
    output: Path,
    record: Path,
    settings: TriangulationSettings,
    *,
    origin: Origin = "corner",
    cell: str = "",
) -> None:
    """Triangulate a map and write it; the record comes last.

    A map without points is a result too: no query can be localised in it.

    Args:
        manifest, labels: of the dataset.
        features: shards of the map images.
        matches: of pairs of map images.
        output: folder of the model.
        record: the file beside it.
        settings: of the triangulation.
        origin: of keypoints, see :func:`keypoints_of`.
        cell: method and dataset.

    Raises:
        DataError: a file is damaged, poses contradict matches, or a camera is of another size than its image.
        StaleFileError: matches of other features, method or dataset.
    """
    known, rows = read_pose_labels(labels), read_manifest(manifest).of_role("map")
    with ImageFeatures(features) as images:
        found = read_matches(matches, cell=cell or None, first=images.digest, second=images.digest)
        keypoints = [keypoints_of(images, image, origin) for image in range(len(rows))]
        digest = images.digest
    posed = PosedImages(_names(rows, labels, len(known.map_poses)), known.map_cameras, known.map_poses, keypoints)
    for name, points, camera in zip(posed.names, keypoints, known.map_cameras, strict=True):
        check_size(name, points, camera)
    by_pair = {tuple(pair): found.of(number).indices for number, pair in enumerate(found.pairs.tolist())}
    with work_folder(output) as folder:
        made = folder / "model"
        model = triangulate_points(posed, by_pair, made, settings)
        if not model.num_points3D():
            _log.warning("%s: no point was triangulated from %d pairs; match other features", output, len(by_pair))
        files = {path.name: sha256_file(path) for path in sorted(made.iterdir())}
        if output.exists():
            shutil.rmtree(output)
        made.rename(output)
    counts = (model.num_images(), model.num_points3D(), model.compute_num_observations())
    error = float(model.compute_mean_reprojection_error()) if model.num_points3D() else 0.0
    made_of = MapRecord(cell, digest, sha256_file(labels), files, *map(int, counts), error)
    write_checked_json(record, asdict(made_of))


def read_point_map(folder: Path, record: Path, images: int, cell: str | None = None) -> PointMap:
    """Read what :func:`reconstruct` wrote.

    Args:
        folder, record: the two.
        images: number of map images of the dataset.
        cell: method and dataset that it must be of; None: any.

    Raises:
        StaleFileError: it is of another method or dataset.
        DataError: a file is absent, damaged, or not the one that the record names.
    """
    known = as_record(MapRecord, read_json(record, "record of a map of points"), record, "record of a map of points")
    if cell is not None and known.cell != cell:
        raise StaleFileError(f"{record}: a map of {known.cell}, not of {cell}; delete it and rerun.")
    for name, digest in known.files.items():
        path = folder / Path(name).name
        if not path.is_file() or sha256_file(path) != digest:
            raise DataError(f"{path}: absent, damaged or another one than {record} says; delete both and rerun.")
    with refusing_errors(str(folder)):
        model = pycolmap.Reconstruction(folder)
        if model.num_images() != images:
            raise DataError(f"{folder}: a map of {model.num_images()} images, not of {images}; delete it and rerun.")
        numbers = sorted(model.points3D)
        rows = {number: row for row, number in enumerate(numbers)}
        points = np.array([model.point3D(number).xyz for number in numbers]).reshape(-1, 3)
        ids = tuple(_point_ids(model.image(number_of(image)), rows) for image in range(images))
    return PointMap(known, ids, points)


def _point_ids(image: pycolmap.Image, rows: dict[int, int]) -> np.ndarray:
    found = [rows[p.point3D_id] if p.has_point3D() else -1 for p in image.points2D]
    return np.array(found, np.int64)


def _names(rows: Manifest, labels: Path, count: int) -> list[str]:
    if len(rows) != count:
        raise DataError(f"{labels}: poses of {count} map images, the manifest has {len(rows)}; rebuild both.")
    return [row.path for row in rows.rows]
