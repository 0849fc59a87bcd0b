"""HPatches matching: the nearest patch of another image for each of the first.

Definition: docs/protocols/hpatches_patches.md, Matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from descbench.metrics.hpatches_curves import ap_terms, precision_terms
from descbench.metrics.hpatches_distances import IMAGES, NOISES, nearest, prepared, view_of


@dataclass(frozen=True)
class MatchingResult:
    """Of S sequences, 3 noises and images 1 to 5; arrays are (S, 3, 5) float64.

    Attributes:
        sequences: names.
        ap: area under precision over recall, which ends at the share of right matches.
        success: that share.
        matlab_ap: the MATLAB benchmark's sum of precisions at each right match over the patches.
    """

    sequences: tuple[str, ...]
    ap: np.ndarray
    success: np.ndarray
    matlab_ap: np.ndarray


def score_matching(
    descriptors: Mapping[str, np.ndarray], sequences: Sequence[str], distance: str = "L2"
) -> MatchingResult:
    """Match the reference patches of each sequence with each of its images.

    Arguments and errors as in :func:`descbench.metrics.hpatches_verification.score_verification`.
    """
    descriptors = prepared({name: descriptors[name] for name in sequences}, distance)
    found = np.array(
        [
            [[_score(views, view_of(noise, image), distance) for image in range(1, IMAGES + 1)] for noise in NOISES]
            for views in descriptors.values()
        ]
    )
    return MatchingResult(tuple(sequences), found[..., 0], found[..., 1], found[..., 2])


def _score(views: np.ndarray, view: int, distance: str) -> tuple[float, float, float]:
    """AP, share of right matches and MATLAB's AP of matching the reference with a view."""
    count = views.shape[1]
    rows, distances = nearest(views[0], views[view], distance)
    right = (rows == np.arange(count))[np.argsort(distances, kind="stable")]
    places = np.flatnonzero(right)
    before = places - np.arange(len(places))
    return ap_terms(before).sum() / count, len(places) / count, precision_terms(before).sum() / count
