"""Hamming embedding and its query expansion written down as plainly as possible (docs/protocols/oxford_bow.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def signatures(descriptors, words, projection, thresholds) -> list[list[int]]:
    """Bits of each descriptor (N, D) in its word (N,)."""
    bits = []
    for descriptor, word in zip(descriptors, words, strict=True):
        projected = [float(np.dot(row.astype(np.float64), descriptor.astype(np.float64))) for row in projection]
        bits.append([int(value > threshold) for value, threshold in zip(projected, thresholds[word], strict=True)])
    return bits


def score(
    query: Sequence[tuple[int, Sequence[int]]],
    image: Sequence[tuple[int, Sequence[int]]],
    idf: Sequence[float],
    *,
    threshold: int,
    gaussian: bool,
    burstiness: bool,
) -> float:
    """Score of an image for a query, both a list of words with bits; ``idf`` is not squared."""
    total = 0.0
    for word, bits in query:
        votes = []
        for other, other_bits in image:
            if other != word:
                continue
            apart = sum(a != b for a, b in zip(bits, other_bits, strict=True))
            if apart <= threshold:
                weight = np.exp(-((apart / (len(bits) / 4)) ** 2)) if gaussian else 1.0
                votes.append(idf[word] ** 2 * weight)
        if votes:
            total += sum(votes) / (np.sqrt(len(votes)) if burstiness else 1.0)
    lengths = _length(query, idf) * _length(image, idf)
    return total / lengths if lengths else 0.0


def _length(features: Sequence[tuple[int, Sequence[int]]], idf: Sequence[float]) -> float:
    words = [word for word, _ in features]
    return float(np.sqrt(sum((words.count(word) * idf[word]) ** 2 for word in set(words))))


def expanded(
    query: Sequence[tuple[int, Sequence[int]]], reliable: Sequence[Sequence[tuple[int, Sequence[int]]]], growth: float
) -> dict[int, list[float]]:
    """Share of ones of each bit for each word of the expanded query."""
    own = {word for word, _ in query}
    new = {word for image in reliable for word, _ in image} - own
    features = {word: sum(other == word for image in reliable for other, _ in image) for word in new}
    images = {word: sum(any(other == word for other, _ in image) for image in reliable) for word in new}
    order = sorted(new, key=lambda word: (-images[word], -features[word], word))
    shares = {}
    for word in sorted(own | set(order[: int(growth * len(own))])):
        found = [bits for features in (query, *reliable) for other, bits in features if other == word]
        shares[word] = [sum(column) / len(found) for column in zip(*found, strict=True)]
    return shares
