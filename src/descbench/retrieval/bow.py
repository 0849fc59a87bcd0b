"""Bags of visual words on arrays: histograms, their weights, and the search of an inverted file.

Definition: docs/protocols/oxford_bow.md, Bag of words. No files here; the stages are in ``search_bow.py``.

A bag is two arrays: words (m,) int64, ascending, and a value of each (m,) float64.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from descbench.retrieval.asmk import Aggregated, InvertedFile


class Bag(NamedTuple):
    """A sparse vector over words."""

    words: np.ndarray
    values: np.ndarray


def count_words(words: np.ndarray) -> Bag:
    """How often each word occurs among words of any shape."""
    found, counts = np.unique(np.asarray(words).ravel(), return_counts=True)
    return Bag(found.astype(np.int64), counts.astype(np.float64))


def weighted(counts: Bag, idf: np.ndarray) -> Bag:
    """The bag of counts times idf, of length 1; all zeros where no word has a weight.

    Args:
        counts: of an image.
        idf: (K,) squared idf of words, as the statistics of an index hold it.
    """
    values = counts.values * np.sqrt(idf[counts.words].astype(np.float64))
    length = np.sqrt((values**2).sum())
    return Bag(counts.words, values / length if length else values)


def mean_bag(bags: list[Bag]) -> Bag:
    """Mean of bags, of length 1; all zeros where they are."""
    words = np.concatenate([bag.words for bag in bags])
    found, place = np.unique(words, return_inverse=True)
    values = np.bincount(place, np.concatenate([bag.values for bag in bags]), len(found)) / len(bags)
    length = np.sqrt((values**2).sum())
    return Bag(found, values / length if length else values)


def count_images(words: np.ndarray, offsets: np.ndarray) -> Aggregated:
    """Counts of the words of consecutive images, as entries of one number for an inverted file.

    Args:
        words: (N,) word of each feature.
        offsets: (I + 1,) first feature of each image.
    """
    bags = [count_words(words[low:high]) for low, high in pairwise(offsets)]
    nothing = np.zeros(0)
    counts = np.concatenate([nothing, *(bag.values for bag in bags)]).astype(np.float32)
    found = np.concatenate([nothing, *(bag.words for bag in bags)]).astype(np.int64)
    entries = np.concatenate(([0], np.cumsum([len(bag.words) for bag in bags], dtype=np.int64)))
    return Aggregated(counts[:, None], found, entries)


class BowSearcher:
    """Searches one inverted file of counts.

    A score is the inner product of two bags of length 1, in float64, summed in ascending order of words: 0 for images
    and queries without a word that has a weight.

    Args:
        lists: inverted file whose entries are counts.
        idf: (K,) squared idf of words.

    Raises:
        ValueError: entries of more than one number, or idf of another number of words.
    """

    def __init__(self, lists: InvertedFile, idf: np.ndarray) -> None:
        if lists.rows.ndim != 2 or lists.rows.shape[1] != 1 or len(idf) != len(lists.word_offsets) - 1:
            raise ValueError(f"entries {lists.rows.shape}, {len(lists.word_offsets) - 1} words, idf {idf.shape}")
        self._offsets, self._images = lists.word_offsets, lists.image_ids
        self._counts, self._root = lists.rows[:, 0], np.sqrt(idf.astype(np.float64))
        self._first, self._num_images = lists.first_image, lists.num_images
        squares = self._counts.astype(np.float64) ** 2 * np.repeat(idf.astype(np.float64), lists.counts)
        lengths = np.sqrt(np.bincount(self._positions(slice(None)), squares, self._num_images))
        self._scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    def _positions(self, entries: slice | np.ndarray) -> np.ndarray:
        return self._images[entries].astype(np.int64) - self._first

    def search(self, query: Bag) -> np.ndarray:
        """Scores (num_images,) float64 of all images for a bag of length 1."""
        starts = self._offsets[query.words]
        lengths = self._offsets[query.words + 1] - starts
        before = np.cumsum(lengths) - lengths
        entries = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        votes = np.repeat(query.values * self._root[query.words], lengths) * self._counts[entries]
        return np.bincount(self._positions(entries), votes, self._num_images) * self._scale
