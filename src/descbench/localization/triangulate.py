"""A map of 3-D points from images whose poses are known.

Definition: docs/protocols/localization.md, Map of points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from descbench.errors import DataError
from descbench.io.atomic import work_folder
from descbench.localization.colmap import (
    PosedImages,
    number_of,
    reference_model,
    refusing_errors,
    to_camera,
    to_rigid,
    write_database,
)

# Pixels that the median match of verified pairs may be off its epipolar line: more is no noise of a detector.
MOST_EPIPOLAR = 8.0
_ENOUGH_MATCHES = 30


@dataclass(frozen=True)
class TriangulationSettings:
    """How a map of points is made; pixels of the original images.

    Attributes:
        verify_error: of a match from its epipolar line, when a pair is verified.
        min_inliers: fewest inliers of a verified pair.
        reprojection_error: most of a point in an image.
        min_angle: least angle in degrees between two rays to a point.
        two_view_points: whether points that only two images see are kept; COLMAP's own default leaves them out.
        seed: of everything random.
    """

    verify_error: float = 4.0
    min_inliers: int = 15
    reprojection_error: float = 4.0
    min_angle: float = 1.5
    two_view_points: bool = True
    seed: int = 0


def triangulate_points(
    images: PosedImages,
    matches: Mapping[tuple[int, int], np.ndarray],
    output: Path,
    settings: TriangulationSettings | None = None,
) -> pycolmap.Reconstruction:
    """Verify matches of map images, and triangulate points from them; poses and intrinsics stay as they are.

    One thread and fixed seeds: the same input gives the same points.

    Args:
        images: of the map.
        matches: (m, 2) keypoints, by positions of the two images.
        output: folder that the model is written to, in COLMAP's binary format.
        settings: None: the defaults.

    Raises:
        DataError: no pair is verified, or the matches contradict the poses, as those of the other convention do.
    """
    settings = settings or TriangulationSettings()
    output.mkdir(parents=True, exist_ok=True)
    with work_folder(output) as folder:
        database, nowhere = folder / "database.db", folder / "images"
        nowhere.mkdir()
        verified = verify_pairs(images, matches, database, settings)
        check_convention(images, verified)
        with refusing_errors(str(output)):
            pycolmap.set_random_seed(settings.seed)
            # Colours are not read, so that no image has to be there.
            return pycolmap.triangulate_points(
                reference_model(images), database, nowhere, output, options=_pipeline(settings)
            )


def verify_pairs(
    images: PosedImages, matches: Mapping[tuple[int, int], np.ndarray], database: Path, settings: TriangulationSettings
) -> dict[tuple[int, int], np.ndarray]:
    """Write a database of matches, verify them by two-view geometry, and give the inliers by pair.

    Returns:
        (m, 2) int64 keypoints by positions of the two images, the smaller first.

    Raises:
        DataError: no pair has enough inliers.
    """
    listed = zip(images.names, images.cameras, strict=True)
    numbered = {number_of(i): image for i, image in enumerate(listed)}
    keypoints = {number_of(i): points for i, points in enumerate(images.keypoints)}
    given = {(number_of(a), number_of(b)): found for (a, b), found in sorted(matches.items()) if len(found)}
    write_database(database, numbered, keypoints, given)
    options = pycolmap.TwoViewGeometryOptions(min_num_inliers=settings.min_inliers)
    options.ransac.max_error, options.ransac.random_seed = settings.verify_error, settings.seed
    with refusing_errors(str(database)):
        pycolmap.set_random_seed(settings.seed)
        pycolmap.geometric_verification(
            database,
            verifier_options=pycolmap.GeometricVerifierOptions(num_threads=1),
            two_view_geometry_options=options,
        )
        with pycolmap.Database.open(database) as opened:
            pair_ids, geometries = opened.read_two_view_geometries()
    found = {}
    for pair_id, geometry in sorted(zip(pair_ids, geometries, strict=True), key=lambda item: item[0]):
        first, second = pycolmap.pair_id_to_image_pair(pair_id)
        if len(geometry.inlier_matches):
            found[first - 1, second - 1] = np.asarray(geometry.inlier_matches, np.int64)
    if not found:
        raise DataError(
            f"none of {len(given)} matched pairs of map images has {settings.min_inliers} matches that one geometry "
            "explains, so there is nothing to triangulate: match other features, or with other settings."
        )
    return found


def check_convention(images: PosedImages, verified: Mapping[tuple[int, int], np.ndarray]) -> None:
    """Refuse poses that verified matches contradict.

    Raises:
        DataError: the median match is further than :data:`MOST_EPIPOLAR` pixels from its epipolar line; the message
            says so where the inverse of the poses fits better.
    """
    found = [_epipolar_errors(images, pair, rows, inverse=False) for pair, rows in verified.items()]
    errors = np.concatenate(found)
    if len(errors) < _ENOUGH_MATCHES or np.median(errors) <= MOST_EPIPOLAR:
        return
    inverse = np.concatenate([_epipolar_errors(images, pair, rows, inverse=True) for pair, rows in verified.items()])
    message = (
        f"the poses of the map contradict {len(errors)} verified matches: the median match is {np.median(errors):.1f} "
        f"pixels from its epipolar line, where noise explains at most {MOST_EPIPOLAR:g}."
    )
    if np.median(inverse) < np.median(errors) / 2:
        raise DataError(
            f"{message} With the poses inverted it is {np.median(inverse):.1f}: they seem to be camera to world, and "
            "world to camera is needed (R^T and -R^T t of each)."
        )
    raise DataError(f"{message} Intrinsics, names or poses are of other images.")


def _epipolar_errors(images: PosedImages, pair: tuple[int, int], rows: np.ndarray, *, inverse: bool) -> np.ndarray:
    """(m,) distances in pixels of the second keypoints from the epipolar lines of the first, float64."""
    rays, focal = [], 1.0
    for side, image in enumerate(pair):
        camera = to_camera(images.cameras[image], 1)
        plane = camera.cam_from_img(np.asarray(images.keypoints[image], np.float64)[rows[:, side]])
        rays.append(np.column_stack([plane, np.ones(len(plane))]))
        focal = camera.mean_focal_length()
    poses = [to_rigid(images.poses[image]) for image in pair]
    if inverse:
        poses = [pose.inverse() for pose in poses]
    relative = poses[1] * poses[0].inverse()
    x, y, z = relative.translation
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    lines = rays[0] @ (cross @ relative.rotation.matrix()).T
    lengths = np.maximum(np.linalg.norm(lines[:, :2], axis=1), 1e-300)
    return focal * np.abs(np.einsum("ij,ij->i", rays[1], lines)) / lengths


def _pipeline(settings: TriangulationSettings) -> pycolmap.IncrementalPipelineOptions:
    """COLMAP's options of a triangulation with known poses."""
    options = pycolmap.IncrementalPipelineOptions(
        min_num_matches=settings.min_inliers,
        num_threads=1,
        random_seed=settings.seed,
        extract_colors=False,
        ba_refine_focal_length=False,
        ba_refine_principal_point=False,
        ba_refine_extra_params=False,
    )
    options.mapper.filter_max_reproj_error = settings.reprojection_error
    options.mapper.filter_min_tri_angle = settings.min_angle
    options.mapper.random_seed = options.triangulation.random_seed = settings.seed
    options.mapper.num_threads = 1
    options.triangulation.min_angle = settings.min_angle
    # Of a small map they are most.
    options.triangulation.ignore_two_view_tracks = not settings.two_view_points
    return options
