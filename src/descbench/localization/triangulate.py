"""A map of 3-D points from images whose poses are known.

Definition: docs/protocols/localization.md, Map of points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from descbench.io.atomic import work_folder
from descbench.localization.colmap import PosedImages, reference_model, refusing_errors
from descbench.localization.verify_pairs import Verification, check_convention, check_poses, verify_pairs


@dataclass(frozen=True)
class TriangulationSettings:
    """How a map of points is made; pixels of the original images.

    Attributes:
        verification: what verifies matches (:func:`descbench.localization.verify_pairs.verify_pairs`).
        verify_error: of a match from its epipolar line, when a pair is verified.
        min_inliers: fewest inliers of a verified pair.
        reprojection_error: most of a point in an image.
        min_angle: least angle in degrees between two rays to a point.
        two_view_points: whether points that only two images see are kept; COLMAP's own default leaves them out.
        seed: of everything random.
    """

    verification: Verification = "two_view"
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

    One thread and fixed seeds: the same input gives the same points. Where no pair is verified, the model has none.

    Args:
        images: of the map.
        matches: (m, 2) keypoints, by positions of the two images.
        output: folder that the model is written to, in COLMAP's binary format.
        settings: None: the defaults.

    Raises:
        DataError: the matches contradict the poses, as those of the other convention do.
    """
    settings = settings or TriangulationSettings()
    output.mkdir(parents=True, exist_ok=True)
    with work_folder(output) as folder:
        database, nowhere = folder / "database.db", folder / "images"
        nowhere.mkdir()
        limits = {"verify_error": settings.verify_error, "seed": settings.seed}
        if settings.verification == "known_poses":
            check_poses(images, matches, folder / "checked.db", **limits)
        how = {"verification": settings.verification, "min_inliers": settings.min_inliers, **limits}
        verified = verify_pairs(images, matches, database, **how)
        if not verified:
            return _write_without_points(images, output)
        if settings.verification == "two_view":
            check_convention(images, verified)
        with refusing_errors(str(output)):
            pycolmap.set_random_seed(settings.seed)
            # Colours are not read, so that no image has to be there.
            return pycolmap.triangulate_points(
                reference_model(images), database, nowhere, output, options=_pipeline(settings)
            )


def _write_without_points(images: PosedImages, output: Path) -> pycolmap.Reconstruction:
    model = reference_model(images)
    with refusing_errors(str(output)):
        model.write_binary(output)
    return model


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
