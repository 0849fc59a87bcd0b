"""Which matches of map images one geometry explains: of each pair's own, or that of the known poses.

Definition: docs/protocols/localization.md, Map of points.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap

from descbench.datasets.cameras import OTHER_CONVENTIONS
from descbench.errors import DataError
from descbench.localization.colmap import (
    PosedImages,
    number_of,
    refusing_errors,
    to_camera,
    to_rigid,
    write_database,
)

Verification = Literal["two_view", "known_poses"]
Matched = Mapping[tuple[int, int], np.ndarray]
# Pixels that the median match of verified pairs may be off its epipolar line: more is no noise of a detector.
MOST_EPIPOLAR = 8.0
_ENOUGH_MATCHES = 30
_ENOUGH_PAIRS = 3
_CHECKED_PAIRS = 20

_log = logging.getLogger(__name__)


def verify_pairs(
    images: PosedImages,
    matches: Matched,
    database: Path,
    *,
    verification: Verification = "two_view",
    verify_error: float = 4.0,
    min_inliers: int = 15,
    seed: int = 0,
) -> dict[tuple[int, int], np.ndarray]:
    """Write a database of matches, verify them, and give the inliers by pair, which stand in the database too.

    Args:
        images: of the map.
        matches: (m, 2) keypoints, by positions of the two images.
        database: the file to write.
        verification: ``two_view``: by the geometry that RANSAC finds for each pair; ``known_poses``: by the epipolar
            geometry of the known poses (hloc).
        verify_error: pixels that a keypoint may be off its epipolar line.
        min_inliers: fewest of a verified pair.
        seed: of RANSAC.

    Returns:
        (m, 2) int64 keypoints by positions of the two images, the smaller first; nothing where no pair has enough.
    """
    given = _write_matches(images, matches, database)
    if verification == "known_poses":
        _verify_by_poses(images, matches, database, verify_error, min_inliers)
    else:
        _verify_by_ransac(database, verify_error, min_inliers, seed)
    found = _read_inliers(database)
    if not found:
        geometry = "the known poses explain" if verification == "known_poses" else "one geometry explains"
        _log.warning(
            "none of %d matched pairs of map images has %d matches that %s, so there is nothing to triangulate: "
            "match other features, or with other settings",
            given,
            min_inliers,
            geometry,
        )
    return found


def _write_matches(images: PosedImages, matches: Matched, database: Path) -> int:
    """Write a database of the images and their matches; the number of pairs that have any."""
    listed = zip(images.names, images.cameras, strict=True)
    numbered = {number_of(i): image for i, image in enumerate(listed)}
    keypoints = {number_of(i): points for i, points in enumerate(images.keypoints)}
    given = {(number_of(a), number_of(b)): found for (a, b), found in sorted(matches.items()) if len(found)}
    write_database(database, numbered, keypoints, given)
    return len(given)


def _verify_by_ransac(database: Path, verify_error: float, min_inliers: int, seed: int) -> None:
    """COLMAP's verification, by one thread."""
    options = pycolmap.TwoViewGeometryOptions(min_num_inliers=min_inliers)
    options.ransac.max_error, options.ransac.random_seed = verify_error, seed
    with refusing_errors(str(database)):
        pycolmap.set_random_seed(seed)
        pycolmap.geometric_verification(
            database,
            verifier_options=pycolmap.GeometricVerifierOptions(num_threads=1),
            two_view_geometry_options=options,
        )


def _verify_by_poses(
    images: PosedImages, matches: Matched, database: Path, verify_error: float, min_inliers: int
) -> None:
    """Write the matches of each pair that the known poses explain, in both images."""
    with refusing_errors(str(database)), pycolmap.Database.open(database) as opened:
        for (first, second), rows in sorted(matches.items()):
            pair, ordered = ((first, second), rows) if first < second else ((second, first), rows[:, ::-1])
            close = ordered[(epipolar_errors(images, pair, ordered) <= verify_error).all(axis=1)]
            if len(close) >= min_inliers:
                geometry = pycolmap.TwoViewGeometry(
                    config=pycolmap.TwoViewGeometryConfiguration.CALIBRATED,
                    inlier_matches=np.ascontiguousarray(close, np.uint32),
                )
                opened.write_two_view_geometry(*map(number_of, pair), geometry)


def _read_inliers(database: Path) -> dict[tuple[int, int], np.ndarray]:
    with refusing_errors(str(database)), pycolmap.Database.open(database) as opened:
        pair_ids, geometries = opened.read_two_view_geometries()
    found = {}
    for pair_id, geometry in sorted(zip(pair_ids, geometries, strict=True), key=lambda item: item[0]):
        first, second = pycolmap.pair_id_to_image_pair(pair_id)
        if len(geometry.inlier_matches):
            found[first - 1, second - 1] = np.asarray(geometry.inlier_matches, np.int64)
    return found


def check_poses(images: PosedImages, matches: Matched, database: Path, *, verify_error: float, seed: int) -> None:
    """Refuse poses that contradict the pairs of the most matches, of those that one geometry of their own explains.

    Raises:
        DataError: as :func:`check_convention`.
    """
    most = sorted(matches, key=lambda pair: -len(matches[pair]))[:_CHECKED_PAIRS]
    _write_matches(images, {pair: matches[pair] for pair in most}, database)
    _verify_by_ransac(database, verify_error, _ENOUGH_MATCHES, seed)
    if found := _read_inliers(database):
        check_convention(images, found)


def check_convention(images: PosedImages, verified: Matched) -> None:
    """Refuse poses that verified matches contradict.

    A geometry of a pair may be wrong, where little is seen from far apart; those of several pairs are not wrong alike.
    Few pairs are evidence only where poses of another convention explain them; else they are warned of.

    Raises:
        DataError: the median match is further than :data:`MOST_EPIPOLAR` pixels from its epipolar line; the message
            says so where poses of another convention explain the matches.
    """
    error = _median_error(images, verified)
    count = sum(map(len, verified.values()))
    if count < _ENOUGH_MATCHES or error <= MOST_EPIPOLAR:
        return
    message = (
        f"the poses of the map contradict {count} verified matches: the median match is {error:.1f} pixels from its "
        f"epipolar line, where noise explains at most {MOST_EPIPOLAR:g}."
    )
    for convert, what, change in OTHER_CONVENTIONS:
        poses = [convert(pose) for pose in images.poses]
        if (other := _median_error(replace(images, poses=poses), verified)) <= MOST_EPIPOLAR:
            raise DataError(f"{message} It is {other:.1f} if {what}: world to camera is needed ({change}).")
    if len(verified) < _ENOUGH_PAIRS:
        _log.warning("%s That is of %d pairs, whose matches may be wrong.", message, len(verified))
        return
    raise DataError(f"{message} Intrinsics, names or poses are of other images.")


def _median_error(images: PosedImages, verified: Matched) -> float:
    """Median distance in pixels of keypoints of the second images from their epipolar lines."""
    return float(np.median(np.concatenate([epipolar_errors(images, p, rows)[:, 1] for p, rows in verified.items()])))


def epipolar_errors(images: PosedImages, pair: tuple[int, int], rows: np.ndarray) -> np.ndarray:
    """(m, 2) distances in pixels of both keypoints of matches from the epipolar lines of the other, float64.

    Distances are taken in the plane of the undistorted image, times the focal length of each camera.

    Args:
        images: with poses and intrinsics.
        pair: positions of the two images.
        rows: (m, 2) keypoints of the first and of the second image.
    """
    rays, focals = [], []
    for side, image in enumerate(pair):
        camera = to_camera(images.cameras[image], 1)
        plane = camera.cam_from_img(np.asarray(images.keypoints[image], np.float64)[rows[:, side]])
        rays.append(np.column_stack([plane, np.ones(len(plane))]))
        focals.append(camera.mean_focal_length())
    poses = [to_rigid(images.poses[image]) for image in pair]
    relative = poses[1] * poses[0].inverse()
    x, y, z = relative.translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ relative.rotation.matrix()
    lines = (rays[1] @ essential, rays[0] @ essential.T)
    products = np.abs(np.einsum("ij,ij->i", rays[1], lines[1]))
    lengths = [np.maximum(np.linalg.norm(line[:, :2], axis=1), 1e-300) for line in lines]
    return np.stack([focal * products / length for focal, length in zip(focals, lengths, strict=True)], axis=1)
