"""The pose of one query: 2-D to 3-D correspondences by its matches with map images, RANSAC, refinement.

Definition: docs/protocols/localization.md, Query poses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pycolmap

from descbench.datasets.cameras import Camera, Pose
from descbench.localization.colmap import from_rigid, refusing_errors, to_camera

_FEWEST = 4  # a pose needs three points, and one to choose among its solutions


@dataclass(frozen=True)
class LocationSettings:
    """How the pose of a query is estimated.

    Attributes:
        max_error: pixels that an inlier may be off its place.
        min_inliers: fewest inliers of a query that counts as localised.
        min_inlier_ratio: least share of inliers that RANSAC expects.
        seed: of RANSAC.
    """

    max_error: float = 12.0
    min_inliers: int = 4
    min_inlier_ratio: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Located:
    """What is found of a query.

    Attributes:
        pose: None: it was not localised.
        correspondences: 2-D to 3-D.
        inliers: of the pose.
    """

    pose: Pose | None
    correspondences: int
    inliers: int


def correspond(
    found: Iterable[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Pairs of keypoint of the query and 3-D point, each once, in the order of first appearance.

    Args:
        found: for each map image that was matched, (m, 2) keypoints of the query and of the image, and (n,) the
            number of the 3-D point of each keypoint of the image, -1 for none.

    Returns:
        (p, 2) int64.
    """
    pairs = []
    for indices, points in found:
        seen = points[indices[:, 1]]
        pairs.append(np.stack([indices[:, 0], seen], axis=1)[seen >= 0])
    joined = np.concatenate([np.zeros((0, 2), np.int64), *pairs]).astype(np.int64)
    _, first = np.unique(joined, axis=0, return_index=True)
    return joined[np.sort(first)]


def locate(
    keypoints: np.ndarray, points: np.ndarray, camera: Camera, settings: LocationSettings | None = None
) -> Located:
    """Estimate and refine the pose of a query.

    Args:
        keypoints: (p, 2) of the query, pixels; the corner of the first pixel is (0, 0).
        points: (p, 3) of the world.
        camera: intrinsics of the query, which stay as they are.
        settings: None: the defaults.
    """
    settings = settings or LocationSettings()
    count = len(keypoints)
    if count < _FEWEST:
        return Located(None, count, 0)
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error, options.ransac.random_seed = settings.max_error, settings.seed
    options.ransac.min_inlier_ratio = settings.min_inlier_ratio
    with refusing_errors("the pose of a query"):
        pycolmap.set_random_seed(settings.seed)
        found = pycolmap.estimate_and_refine_absolute_pose(
            np.asarray(keypoints, np.float64),
            np.asarray(points, np.float64),
            to_camera(camera, 1),
            estimation_options=options,
        )
    if found is None or found["num_inliers"] < settings.min_inliers:
        return Located(None, count, 0)
    return Located(from_rigid(found["cam_from_world"]), count, int(found["num_inliers"]))
