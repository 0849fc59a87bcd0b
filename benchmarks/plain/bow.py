"""Bags of words and spatial verification written down as plainly as possible (docs/protocols/oxford_bow.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Postings = Mapping[int, Sequence[tuple[int, float]]]


def search(
    query: Mapping[int, float], postings: Postings, idf: Sequence[float], lengths: Mapping[int, float], top_k: int
) -> list[tuple[int, float]]:
    """The best images and their scores for counts of words, those with no word in common left out."""
    length = np.sqrt(sum((count * idf[word]) ** 2 for word, count in query.items()))
    scores: dict[int, float] = {}
    for word, count in query.items():
        for image, other in postings.get(word, ()):
            scores[image] = scores.get(image, 0.0) + count * other * idf[word] ** 2
    found = [(image, value / (length * lengths[image])) for image, value in scores.items()]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top_k]


def correspondences(query_words: Sequence[int], words: Sequence[int], most: int = 16) -> list[tuple[int, int]]:
    """Features with the same word, but for words with more than ``most`` pairs; by the image's feature."""
    of_word: dict[int, list[int]] = {}
    for feature, word in enumerate(query_words):
        of_word.setdefault(word, []).append(feature)
    there: dict[int, int] = {}
    for word in words:
        there[word] = there.get(word, 0) + 1
    pairs = []
    for feature, word in enumerate(words):
        if len(of_word.get(word, ())) * there[word] <= most:
            pairs += [(other, feature) for other in of_word.get(word, ())]
    return pairs


def inliers(first, second, pairs: Sequence[tuple[int, int]], error: float) -> list[tuple[int, int]]:
    """What the best transform explains; features are (points (n, 2), sizes (n,), angles (n,)) in float64."""
    if not pairs:
        return []
    a, b = np.array(pairs).T
    x, y = first[0][a], second[0][b]
    best, votes = None, 0
    for tried in np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), 128)).astype(int)):
        scale = second[1][b[tried]] / first[1][a[tried]]
        turn = second[2][b[tried]] - first[2][a[tried]]
        if not 0.1 < scale < 10:
            continue
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        close = np.linalg.norm(x @ matrix.T + (y[tried] - matrix @ x[tried]) - y, axis=1) <= error
        if close.sum() > votes:
            best, votes = close, close.sum()
    if best is None:
        return []
    for _ in range(3):
        if best.sum() < 4:
            break
        ones = np.column_stack([x, np.ones(len(x))])
        affine = np.linalg.lstsq(ones[best], y[best], rcond=None)[0].T
        explained = np.linalg.norm(ones @ affine.T - y, axis=1) <= error
        large, small = np.linalg.svd(affine[:, :2], compute_uv=False)
        sensible = np.linalg.det(affine[:, :2]) > 0 and large < 10 and small > 0.1 and large < 4 * small
        if not sensible or explained.sum() < best.sum():
            break
        grew, best = explained.sum() > best.sum(), explained
        if not grew:
            break
    kept: list[tuple[int, int]] = []
    seen: set[int] = set()
    for pair in (pairs[i] for i in np.flatnonzero(best)):
        if pair[1] not in seen:
            seen.add(pair[1])
            kept.append(pair)
    seen, found = set(), []
    for pair in kept:
        if pair[0] not in seen:
            seen.add(pair[0])
            found.append(pair)
    return found
