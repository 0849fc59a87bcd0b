"""Hamming embedding on arrays: binary signatures of descriptors within their words, and the search that compares them.

Definition: docs/protocols/oxford_bow.md, Hamming embedding. No files here; the stages
are in ``search_hamming.py`` and ``expand_hamming.py``.

A signature has ``bits`` bits, the first in the most significant place of the first byte, padded with zeros to whole
32-bit words, as the codes of ``asmk.py``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from descbench.retrieval.asmk import Aggregated, InvertedFile, code_bytes

Weighting = Literal["gaussian", "none"]
# Points that are projected at a time, and entries that are compared at a time.
_POINTS = 1 << 17
_ENTRIES = 1 << 20


class Embedding(NamedTuple):
    """What signatures are made with.

    Attributes:
        projection: (B, D) float32 with orthonormal rows.
        thresholds: (K, B) float32, medians of the projected descriptors of each word.
    """

    projection: np.ndarray
    thresholds: np.ndarray


class Signed(NamedTuple):
    """Words of the features of an image, each with a signature.

    Attributes:
        words: (m,) int64.
        codes: (m, 4 * ceil(B / 32)) uint8.
    """

    words: np.ndarray
    codes: np.ndarray


def draw_projection(bits: int, dim: int, seed: int) -> np.ndarray:
    """(bits, dim) float32: the first rows of a random rotation; the same for a seed on every machine but for rounding.

    Raises:
        ValueError: more bits than dimensions.
    """
    if bits > dim:
        raise ValueError(f"{bits} bits of descriptors of {dim} dimensions; there can be no more bits than dimensions")
    orthogonal, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return (orthogonal * np.sign(np.diag(triangle))).T[:bits].astype(np.float32)


def learn_embedding(points: np.ndarray, words: np.ndarray, centroids: np.ndarray, *, bits: int, seed: int) -> Embedding:
    """Thresholds that halve the descriptors of each word in every projected dimension.

    Args:
        points: (N, D) training descriptors.
        words: (N,) word of each.
        centroids: (K, D); a word without points has its projected centroid for thresholds.
        bits: B.
        seed: of the projection.

    Raises:
        ValueError: more bits than dimensions.
    """
    projection = draw_projection(bits, centroids.shape[1], seed)
    thresholds = _project(centroids, projection).astype(np.float32)
    order = np.argsort(words, kind="stable")
    edges = np.searchsorted(words[order], np.arange(len(centroids) + 1))
    low = 0
    while low < len(centroids):
        high = max(low + 1, int(np.searchsorted(edges, edges[low] + _POINTS, side="right")) - 1)
        projected = _project(points[order[edges[low] : edges[high]]], projection)
        for word, (start, stop) in enumerate(pairwise(edges[low : high + 1] - edges[low]), low):
            if stop > start:
                thresholds[word] = np.median(projected[start:stop], axis=0)
        low = high
    return Embedding(projection, thresholds)


def sign(descriptors: np.ndarray, words: np.ndarray, embedding: Embedding) -> np.ndarray:
    """Signatures (N, A, 4 * ceil(B / 32)) uint8 of descriptors (N, D) in their words (N, A)."""
    above = _project(descriptors, embedding.projection)[:, None] > embedding.thresholds[words]
    codes = np.packbits(above, axis=-1)
    padding = code_bytes(len(embedding.projection)) - codes.shape[-1]
    return np.pad(codes, ((0, 0), (0, 0), (0, padding)))


def _project(descriptors: np.ndarray, projection: np.ndarray) -> np.ndarray:
    # In float64, so that the order of sums, which is the processor's, decides next to no bit.
    return np.asarray(descriptors, np.float64) @ projection.astype(np.float64).T


def distances(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Hamming distances (m,) int64 of pairs of signatures (m, W) uint8."""
    different = np.ascontiguousarray(codes).view(np.uint32) ^ np.ascontiguousarray(others).view(np.uint32)
    return np.bitwise_count(different).sum(1, dtype=np.int64)


def weights_of(bits: int, threshold: int, weighting: Weighting) -> np.ndarray:
    """(bits + 1,) float64: what a match at each distance counts; 0 beyond the threshold."""
    apart = np.arange(bits + 1)
    values = np.exp(-((apart / (bits / 4)) ** 2)) if weighting == "gaussian" else np.ones(bits + 1)
    return np.where(apart <= threshold, values, 0.0)


def sort_by_word(words: np.ndarray, codes: np.ndarray, offsets: np.ndarray) -> Aggregated:
    """Features of consecutive images as entries of an inverted file, one for each feature.

    Args:
        words: (N,) word of each feature.
        codes: (N, W) uint8 signatures.
        offsets: (I + 1,) first feature of each image.
    """
    images = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((words, images))
    return Aggregated(codes[order], words[order].astype(np.int64), np.asarray(offsets, np.int64))


class HammingSearcher:
    """Searches one inverted file of signatures.

    A query feature and a database feature of the same word match where their signatures differ in few bits. A score is
    the sum over matches of squared idf times weight, divided by the lengths of both tf-idf vectors; in float64, summed
    in the order of the query's features: 0 for images and queries without a word that has a weight.

    Args:
        lists: inverted file with one entry for each feature.
        idf: (K,) squared idf of words.
        weights: (bits + 1,) what a match counts, see :func:`weights_of`.
        burstiness: divide the matches of one query feature in one image by the root of their number.

    Raises:
        ValueError: entries that are not signatures of so many bits, or idf of another number of words.
    """

    def __init__(self, lists: InvertedFile, idf: np.ndarray, weights: np.ndarray, *, burstiness: bool) -> None:
        if not lists.binary or lists.rows.shape[1] != code_bytes(len(weights) - 1):
            raise ValueError(f"entries {lists.rows.shape}, not signatures of {len(weights) - 1} bits")
        if len(idf) != len(lists.word_offsets) - 1:
            raise ValueError(f"idf {idf.shape} of {len(lists.word_offsets) - 1} words")
        self._lists, self._idf, self._weights, self._burstiness = lists, idf.astype(np.float64), weights, burstiness
        lengths = np.sqrt(_squared_lengths(lists, self._idf))
        self._scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    def search(self, query: Signed) -> np.ndarray:
        """Scores (num_images,) float64 of all images for the features of a query."""
        scores = np.zeros(self._lists.num_images)
        starts = self._lists.word_offsets[query.words]
        lengths = self._lists.word_offsets[query.words + 1] - starts
        for low, high in pairwise(_ranges(lengths)):
            self._vote(scores, query, starts, lengths, slice(low, high))
        found, counts = np.unique(query.words, return_counts=True)
        length = np.sqrt((counts.astype(np.float64) ** 2 * self._idf[found]).sum())
        return scores * self._scale / length if length else np.zeros_like(scores)

    def _vote(self, scores: np.ndarray, query: Signed, starts: np.ndarray, lengths: np.ndarray, rows: slice) -> None:
        """Add the matches of some features of a query."""
        counts = lengths[rows]
        asking = np.repeat(np.arange(len(counts)), counts)
        entries = np.arange(counts.sum()) + np.repeat(starts[rows] - (np.cumsum(counts) - counts), counts)
        apart = distances(query.codes[rows][asking], self._lists.rows[entries])
        values = self._weights[apart] * self._idf[query.words[rows]][asking]
        near = np.flatnonzero(self._weights[apart] > 0)
        if not len(near):
            return
        asking, values = asking[near], values[near]
        images = self._lists.image_ids[entries[near]].astype(np.int64) - self._lists.first_image
        if self._burstiness:
            starts_run = np.flatnonzero(np.diff(asking, prepend=-1) | np.diff(images, prepend=-1))
            together = np.diff(starts_run, append=len(near))
            values = values / np.repeat(np.sqrt(together), together)
        np.add.at(scores, images, values)


def _ranges(lengths: np.ndarray) -> list[int]:
    """Edges of ranges of features whose lists have about ``_ENTRIES`` entries together."""
    ends, edges = np.cumsum(lengths), [0]
    while edges[-1] < len(lengths):
        before = ends[edges[-1] - 1] if edges[-1] else 0
        edges.append(max(edges[-1] + 1, int(np.searchsorted(ends, before + _ENTRIES, side="right"))))
    return edges


def _squared_lengths(lists: InvertedFile, idf: np.ndarray) -> np.ndarray:
    """(num_images,) squared length of the tf-idf vector of each image."""
    words = np.repeat(np.arange(len(idf)), lists.counts)
    images = lists.image_ids.astype(np.int64) - lists.first_image
    first = np.flatnonzero(np.diff(words, prepend=-1) | np.diff(images, prepend=-1))
    counts = np.diff(first, append=len(words)).astype(np.float64)
    return np.bincount(images[first], counts**2 * idf[words[first]], lists.num_images)
