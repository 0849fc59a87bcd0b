"""Spatial verification on arrays: which correspondences of two images one transform explains.

Definition: docs/protocols/oxford_bow.md, Spatial verification. Nothing is random: every correspondence (of many, evenly
chosen ones) gives a similarity by its places, sizes and orientations, the best is refined to an affine transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Correspondences of one word beyond this are left out: repeated structure that says nothing of places.
_MOST_OF_A_WORD = 16
_HYPOTHESES = 128
# Entries of the table that tells at a glance words that a query cannot have; a power of two that the cache holds.
_TABLE = 1 << 16
# Points that are mapped at a time, so that what is computed stays in the cache.
_POINTS = 128
_REFINEMENTS = 3
# Largest change of scale, and largest stretch of an affine transform in one direction over the other.
_MOST_SCALE = 10.0
_MOST_STRETCH = 4.0


class Frames(NamedTuple):
    """Local features of an image.

    Attributes:
        points: (n, 2) float x, y in pixels.
        sizes: (n,) float, positive.
        angles: (n,) float in radians.
    """

    points: np.ndarray
    sizes: np.ndarray
    angles: np.ndarray


@dataclass(frozen=True)
class Verified:
    """What one transform explains.

    Attributes:
        transform: (2, 3) float64, from the first image to the second.
        pairs: (m, 2) int64 features of the first and of the second image, each feature at most once.
    """

    transform: np.ndarray
    pairs: np.ndarray


class QueryWords:
    """Features of a query by word, for its correspondences with many images.

    Args:
        words: (n, A) words of each feature.
    """

    def __init__(self, words: np.ndarray) -> None:
        flat = np.asarray(words, np.int64).ravel()
        order = np.argsort(flat, kind="stable")
        self._features = order // max(words.shape[1], 1)
        self._words, self._starts, self._counts = np.unique(flat[order], return_index=True, return_counts=True)
        self._possible = np.zeros(_TABLE, bool)
        self._possible[self._words & (_TABLE - 1)] = True

    def correspondences(self, words: np.ndarray) -> np.ndarray:
        """Pairs (m, 2) int64 of features with the same word, by feature of the image (n,) words, then of the query."""
        if not len(self._words) or not len(words):
            return np.zeros((0, 2), np.int64)
        # Most words of an image are none of the query's; only the others are sought one by one.
        here = np.flatnonzero(self._possible[words & (_TABLE - 1)])
        words = np.asarray(words[here], np.int64)
        place = np.minimum(np.searchsorted(self._words, words), len(self._words) - 1)
        same = self._words[place] == words
        here, place = here[same], place[same]
        in_image = np.bincount(place, minlength=len(self._words))
        kept = (in_image * self._counts)[place] <= _MOST_OF_A_WORD
        here, place = here[kept], place[kept]
        counts = self._counts[place]
        before = np.cumsum(counts) - counts
        entries = np.arange(counts.sum()) + np.repeat(self._starts[place] - before, counts)
        return np.stack([self._features[entries], np.repeat(here, counts)], axis=1)


def verify(first: Frames, second: Frames, pairs: np.ndarray, error: float) -> Verified:
    """The transform that explains most correspondences, and these.

    Args:
        first, second: features of two images.
        pairs: (m, 2) corresponding features.
        error: largest distance in pixels of the second image between a feature and where its partner is mapped to.
    """
    none = Verified(np.eye(2, 3), np.zeros((0, 2), np.int64))
    if not len(pairs):
        return none
    a, b = pairs.T
    x, y = first.points[a].astype(np.float64), second.points[b].astype(np.float64)
    tried = _spread(len(pairs))
    transforms, scales = _proposals(first, second, pairs[tried], x[tried], y[tried])
    close = _explained(transforms, x, y, error)
    votes = np.count_nonzero(close, axis=1) * ((scales < _MOST_SCALE) & (scales > 1 / _MOST_SCALE))
    best = int(np.argmax(votes))
    if not votes[best]:
        return none
    transform, close = _refined(transforms[best], close[best], x, y, error)
    return Verified(transform, _one_to_one(pairs[close]))


def _proposals(
    first: Frames, second: Frames, pairs: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (h, 2, 3) that map one feature of each pair, at ``x`` and ``y`` (h, 2), to the other; and scales."""
    a, b = pairs.T
    scales = second.sizes[b].astype(np.float64) / first.sizes[a]
    turns = second.angles[b].astype(np.float64) - first.angles[a]
    cos, sin = scales * np.cos(turns), scales * np.sin(turns)
    transforms = np.empty((len(pairs), 2, 3))
    transforms[:, 0, 0], transforms[:, 0, 1], transforms[:, 1, 0], transforms[:, 1, 1] = cos, -sin, sin, cos
    transforms[:, 0, 2] = y[:, 0] - (cos * x[:, 0] - sin * x[:, 1])
    transforms[:, 1, 2] = y[:, 1] - (sin * x[:, 0] + cos * x[:, 1])
    return transforms, scales


def _explained(transforms: np.ndarray, x: np.ndarray, y: np.ndarray, error: float) -> np.ndarray:
    """(h, m) bool: which points ``x`` (m, 2) each transform (h, 2, 3) maps to within ``error`` of ``y``."""
    close = np.empty((len(transforms), len(x)), bool)
    for low in range(0, len(x), _POINTS):
        part = slice(low, low + _POINTS)
        places = np.vstack([x[part].T, np.ones(len(x[part]))])
        across, down = transforms[:, 0] @ places, transforms[:, 1] @ places
        across -= y[part, 0]
        down -= y[part, 1]
        across *= across
        down *= down
        across += down
        np.less_equal(across, error**2, out=close[:, part])
    return close


def _spread(count: int) -> np.ndarray:
    """Evenly spread positions of at most so many hypotheses."""
    return np.unique(np.linspace(0, count - 1, min(count, _HYPOTHESES)).astype(np.int64))


def _refined(
    transform: np.ndarray, close: np.ndarray, x: np.ndarray, y: np.ndarray, error: float
) -> tuple[np.ndarray, np.ndarray]:
    """Affine transforms fitted to what is explained, as long as they explain more."""
    ones = np.column_stack([x, np.ones(len(x))])
    for _ in range(_REFINEMENTS):
        if close.sum() < 4:
            break
        fitted = np.linalg.lstsq(ones[close], y[close], rcond=None)[0].T
        explained = ((ones @ fitted.T - y) ** 2).sum(1) <= error**2
        if not _sensible(fitted) or explained.sum() < close.sum():
            break
        grew = explained.sum() > close.sum()
        transform, close = fitted, explained
        if not grew:
            break
    return transform, close


def _sensible(transform: np.ndarray) -> bool:
    """Whether an affine transform mirrors nothing, and neither scales nor stretches too much."""
    large, small = np.linalg.svd(transform[:, :2], compute_uv=False)
    upright = np.linalg.det(transform[:, :2]) > 0
    return bool(upright and large < _MOST_SCALE and small > 1 / _MOST_SCALE and large < _MOST_STRETCH * small)


def _one_to_one(pairs: np.ndarray) -> np.ndarray:
    """The first pair of each feature of either image."""
    pairs = pairs[np.sort(np.unique(pairs[:, 1], return_index=True)[1])]
    return pairs[np.sort(np.unique(pairs[:, 0], return_index=True)[1])]
