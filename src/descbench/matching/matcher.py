"""Matches of two images: features whose descriptors are each other's nearest ones.

Definition: docs/protocols/hpatches_sequences.md, Matching.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np

from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.neighbours.nearest import NearestProducts

_SHORTEST = 1e-12  # a shorter descriptor is divided by this, as the original does
_KEPT_IMAGES = 8  # the first image of a sequence is in five pairs


@dataclass(frozen=True)
class MatchSettings:
    """How two images are matched.

    Attributes:
        n: strongest features of an image that take part; None: all.
        mutual: whether each must be the other's nearest.
        ratio: largest distance of the nearest, over that of the second nearest, exclusive; with ``mutual`` it is asked
            of both images. None: no such test.
        max_distance: largest distance, inclusive; None: any.
        distance: what these two are measured in: ``euclidean`` distance of descriptors of length 1, or the ``angle``
            between them in radians.
        normalise: whether descriptors are divided by their lengths first. COLMAP's are not: bytes over 512 are about 1
            long, and products above 1 count as 1.
    """

    n: int | None = None
    mutual: bool = True
    ratio: float | None = None
    max_distance: float | None = None
    distance: Literal["euclidean", "angle"] = "euclidean"
    normalise: bool = True


@dataclass(frozen=True)
class PairMatches:
    """Matches of two images.

    Attributes:
        indices: (M, 2) int32, features of the first image (strictly ascending) and of the second.
        scores: (M,) float32, inner products of descriptors of length 1, in -1..1; the largest is the best.
        counts: features of both images that took part.
    """

    indices: np.ndarray
    scores: np.ndarray
    counts: tuple[int, int]


class DescribedImages(Protocol):
    """Descriptors of images, such as :class:`descbench.features.image_features.ImageFeatures`."""

    def descriptors(self, image_id: int, n: int | None = None) -> np.ndarray:
        """(N, D) float32 of an image, strongest first, at most ``n``; N may be 0."""
        ...


def match_pairs(
    first: DescribedImages,
    second: DescribedImages,
    pairs: Iterable[tuple[int, int]],
    settings: MatchSettings,
    *,
    threads: int | None = None,
) -> Iterator[PairMatches]:
    """Match the two images of each pair, in order; what is held of images does not grow with the pairs.

    Args:
        first, second: where the first and the second image of a pair have their descriptors; they may be the same.
        pairs: their ids.
        settings: how.
        threads: None = all processors. The result does not depend on it.

    Raises:
        ValueError: descriptors of two images do not fit each other, or hold NaN or infinity.
    """

    @lru_cache(maxsize=_KEPT_IMAGES)
    def of_first(image: int) -> np.ndarray:
        return _prepared(first.descriptors(image, settings.n), settings)

    for image_a, image_b in pairs:
        others = _prepared(second.descriptors(image_b, settings.n), settings)
        yield _match(of_first(image_a), others, settings, threads)


def match_descriptors(
    first: np.ndarray, second: np.ndarray, settings: MatchSettings | None = None, *, threads: int | None = None
) -> PairMatches:
    """Match two images.

    Args:
        first, second: (N, D) and (M, D), finite. N and M may be 0.
        settings: how; None: mutual nearest neighbours, nothing else.
        threads: None = all processors.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity.
    """
    settings = settings or MatchSettings()
    return _match(_prepared(first, settings), _prepared(second, settings), settings, threads)


def normalised(descriptors: np.ndarray) -> np.ndarray:
    """(N, D) float32, each divided by its length; one of zeros stays."""
    rows = np.asarray(descriptors, np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return (rows / np.maximum(lengths, _SHORTEST)[:, None]).astype(np.float32)


def _prepared(descriptors: np.ndarray, settings: MatchSettings) -> np.ndarray:
    return normalised(descriptors) if settings.normalise else np.asarray(descriptors, np.float32)


def _match(a: np.ndarray, b: np.ndarray, settings: MatchSettings, threads: int | None) -> PairMatches:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"descriptors of {a.shape[1]} and of {b.shape[1]} dimensions")
    counts = len(a), len(b)
    if not all(counts):
        return PairMatches(np.zeros((0, 2), np.int32), np.zeros(0, np.float32), counts)
    if settings.mutual and settings.ratio is None:
        pairs, products = mutual_nearest_neighbours(a, b, threads=threads)
    else:
        pairs, products = _by_ratio(a, b, settings, threads)
    if settings.max_distance is not None:
        near = distance_of(products, settings.distance) <= settings.max_distance
        pairs, products = pairs[near], products[near]
    return PairMatches(pairs.astype(np.int32), np.clip(products, -1, 1).astype(np.float32), counts)


def distance_of(products: np.ndarray, distance: str) -> np.ndarray:
    """Distances of descriptors of length 1 with these inner products, float64."""
    if distance == "angle":
        return np.arccos(np.clip(products, -1.0, 1.0))
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * products))


def _by_ratio(
    a: np.ndarray, b: np.ndarray, settings: MatchSettings, threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (P, 2) and their products, each direction tested by itself."""
    nearest, products, passed = _one_way(a, b, settings, threads)
    if settings.mutual:
        back, _, passed_back = _one_way(b, a, settings, threads)
        passed &= passed_back[nearest] & (back[nearest] == np.arange(len(a)))
    rows = np.flatnonzero(passed)
    return np.stack([rows, nearest[rows]], axis=1), products[rows]


def _one_way(
    a: np.ndarray, b: np.ndarray, settings: MatchSettings, threads: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest row of b of each row of a, their product, and whether they pass the ratio test."""
    wanted = 1 if settings.ratio is None else 2
    ids, products = NearestProducts(b, threads).search(a, min(wanted, len(b)), threads)
    passed = np.ones(len(a), bool)
    if settings.ratio is not None and len(b) > 1:  # an only neighbour has no rival
        distances = distance_of(products, settings.distance)
        passed = distances[:, 0] < settings.ratio * distances[:, 1]
    return ids[:, 0], products[:, 0], passed
