"""Distances between descriptors of patches, in float64, and PCA with power law (docs/protocols/hpatches_patches.md).

Descriptors of a sequence are (16, N, D), float32 as extracted, a view in the order of ``STRIPS`` each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.spatial.distance import cdist

from descbench.datasets.hpatches_patches import STRIPS
from descbench.errors import DataError
from descbench.neighbours.nearest import NearestCentroids, measure_pairs

NOISES: Mapping[str, str] = {"easy": "e", "hard": "h", "tough": "t"}
IMAGES = 5  # of each noise
_BLOCK = 1 << 15  # numbers of a block of pairs, which stays in the cache


def view_of(noise: str, image: int) -> int:
    """Index in ``STRIPS`` of image 1 to 5 at ``easy``, ``hard`` or ``tough``; image 0 is the reference."""
    return STRIPS.index(f"{NOISES[noise]}{image}") if image else 0


def euclidean(differences: np.ndarray) -> np.ndarray:
    """Lengths (n,) of differences (n, D)."""
    return np.sqrt(np.vecdot(differences, differences))


def cityblock(differences: np.ndarray) -> np.ndarray:
    """Sums (n,) of absolute differences (n, D)."""
    return np.abs(differences).sum(axis=1)


# How the difference of two descriptors becomes their distance.
DISTANCES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "L2": euclidean,
    "L1": cityblock,
    "masked_L1": cityblock,
}


def prepared(descriptors: Mapping[str, np.ndarray], distance: str) -> dict[str, np.ndarray]:
    """Descriptors as their distance is taken; with ``masked_L1`` the second half of the numbers masks the first.

    Raises:
        DataError: the distance is unknown, or descriptors of an odd number of dimensions hold no mask.
    """
    if distance not in DISTANCES:
        raise DataError(f"distance {distance!r} is unknown; use one of {', '.join(DISTANCES)}.")
    if distance != "masked_L1":
        return dict(descriptors)
    return {name: _masked(array, name) for name, array in descriptors.items()}


def pair_distances(
    descriptors: np.ndarray,
    first: np.ndarray,
    seconds: Sequence[np.ndarray],
    distance: str,
    others: np.ndarray | None = None,
) -> np.ndarray:
    """Distances of rows ``first`` (n,) of descriptors (M, D) to rows of it, or of ``others``.

    Args:
        descriptors: float32 or float64.
        first: rows.
        seconds: K times (n,) rows.
        distance: key of ``DISTANCES``.
        others: (M', D); None: descriptors.

    Returns:
        (K, n) float64.
    """
    others = descriptors if others is None else others
    if distance == "L2" and descriptors.dtype == others.dtype == np.float32:  # what the kernels are exact for
        return np.sqrt([measure_pairs(descriptors, first, others, second) for second in seconds])
    measure, dim = DISTANCES[distance], descriptors.shape[1]
    found, rows = np.empty((len(seconds), len(first))), max(1, _BLOCK // dim)
    gathered, asked, differences = np.empty((rows, dim), descriptors.dtype), *np.empty((2, rows, dim))
    for start in range(0, len(first), rows):
        stop = min(start + rows, len(first))
        block, part = slice(start, stop), slice(0, stop - start)
        asked[part] = descriptors.take(first[block], axis=0, out=gathered[part], mode="clip")
        for number, second in enumerate(seconds):
            others.take(second[block], axis=0, out=gathered[part], mode="clip")
            np.subtract(asked[part], gathered[part], out=differences[part])
            found[number, block] = measure(differences[part])
    return found


def nearest(queries: np.ndarray, others: np.ndarray, distance: str) -> tuple[np.ndarray, np.ndarray]:
    """Nearest row of others (M, D) for each query (N, D), the first of equal ones: rows (N,) and distances (N,)."""
    if distance == "L2" and queries.dtype == others.dtype == np.float32:  # what the kernels are exact for
        rows, squares = NearestCentroids(others).measure(queries, 1)
        return rows[:, 0], np.sqrt(squares[:, 0])
    distances = cdist(queries.astype(float), others.astype(float), DISTANCES[distance].__name__)
    rows = distances.argmin(axis=1)
    return rows, distances[np.arange(len(rows)), rows]


def _masked(array: np.ndarray, name: str) -> np.ndarray:
    if array.shape[-1] % 2:
        raise DataError(f"{name}: descriptors of {array.shape[-1]} dimensions are not descriptors with a mask each.")
    half = array.shape[-1] // 2
    return array[..., :half] * array[..., half:]
