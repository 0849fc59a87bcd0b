"""Rows of ASMK: aggregation, the inverted file, search, and all of a query.

The plain side is the definition that the tests use (``benchmarks/plain/asmk.py``): exact quantisation by faiss, NumPy
for each word of each image, Python for each entry of the inverted file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import faiss
import numpy as np

from benchmarks.case import Case
from benchmarks.plain import asmk as plain
from benchmarks.town import DIM, Town
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.asmk import Aggregated, Searcher, aggregate, invert

SEARCH = {"similarity_threshold": 0.0, "alpha": 3.0}


def asmk_cases(town: Town) -> Iterator[Case]:
    """All rows of this module, in the order of the table."""
    quantiser = NearestCentroids(town.centroids)
    yield from _aggregation(town, quantiser)
    yield from _searching(town, quantiser)
    yield from _two_threads(town, quantiser)


def _aggregation(town: Town, quantiser: NearestCentroids) -> Iterator[Case]:
    for name, count, assignments in (
        ("aggregate_db", town.sizes.images, 1),
        ("aggregate_query", town.sizes.queries, 5),
    ):
        vectors, offsets = town.images(count)
        words = quantiser.search(vectors, assignments)
        inputs = (vectors, words, offsets, town.centroids)
        yield Case(
            name,
            lambda inputs=inputs: plain.aggregate(*inputs, True),
            lambda inputs=inputs: aggregate(*inputs, binary=True, threads=1),
            lambda theirs, ours: _equal(theirs, (ours.rows, ours.words, ours.offsets)),
            f"{count} images of {town.sizes.descriptors} descriptors, {len(town.centroids)} words, "
            f"assignment to {assignments}, quantised before",
        )
    rows = town.codes(town.sizes.images, town.sizes.words)
    yield Case(
        "ivf_build",
        lambda: plain.invert(rows.rows, rows.words, rows.offsets, town.sizes.words),
        lambda: invert(rows, town.sizes.words),
        lambda theirs, ours: _equal(
            [np.concatenate(part) for part in zip(*(entry for entry in theirs if len(entry[0])), strict=True)],
            (ours.image_ids, ours.rows),
        ),
        f"{len(rows.words)} entries, {town.sizes.words} words",
    )


def _searching(town: Town, quantiser: NearestCentroids) -> Iterator[Case]:
    sizes = town.sizes
    for name, images, num_words in (
        ("search_short", 5 * sizes.images, sizes.words),
        ("search_long", sizes.long_images, sizes.long_words),
    ):
        search = Search(town.codes(images, num_words), num_words)
        queries = town.codes(sizes.queries, num_words)
        note = f"{sizes.queries} queries, {images} images, {num_words} words, {search.entries / num_words:.1f} a list"
        if name == "search_short":
            kept = search
        yield Case(
            name,
            lambda search=search, queries=queries: search.plainly(queries),
            lambda search=search, queries=queries: search.searcher.search(queries),
            np.array_equal,
            note,
        )
    vectors, offsets = town.images(sizes.queries)

    flat = faiss.IndexFlatL2(DIM)
    flat.add(town.centroids)

    def plainly() -> np.ndarray:
        _, words = flat.search(vectors, 5)
        return kept.plainly(Aggregated(*plain.aggregate(vectors, words, offsets, town.centroids, True)))

    def ours() -> np.ndarray:
        words = quantiser.search(vectors, 5, 1)
        return kept.searcher.search(aggregate(vectors, words, offsets, town.centroids, binary=True, threads=1))

    note = f"quantise, aggregate and search {sizes.queries} queries of {sizes.descriptors} descriptors, as search_short"
    yield Case("query_end_to_end", plainly, ours, _nearly, note)


def _two_threads(town: Town, quantiser: NearestCentroids) -> Iterator[Case]:
    """Ours with two threads against ours with one."""
    sizes = town.sizes
    vectors, offsets = town.images(10 * sizes.images)
    inputs = (vectors, quantiser.search(vectors, 1), offsets, town.centroids)
    yield Case(
        "aggregate_two_threads",
        lambda: aggregate(*inputs, binary=True, threads=1),
        lambda: aggregate(*inputs, binary=True, threads=2),
        lambda one, two: _equal((one.rows, one.words, one.offsets), (two.rows, two.words, two.offsets)),
        f"{10 * sizes.images} images; plain: ours on one thread",
        threads=2,
    )
    lists = invert(town.codes(5 * sizes.long_images, sizes.words), sizes.words)
    one, two = (Searcher(lists, **SEARCH, threads=threads) for threads in (1, 2))
    queries = town.codes(10 * sizes.queries, sizes.words)
    yield Case(
        "search_two_threads",
        lambda: one.search(queries),
        lambda: two.search(queries),
        np.array_equal,
        f"{10 * sizes.queries} queries, {5 * sizes.long_images} images; plain: ours on one thread",
        threads=2,
    )


class Search:
    """One database, ready to be searched both ways."""

    def __init__(self, rows: Aggregated, num_words: int) -> None:
        lists = invert(rows, num_words)
        self.entries = len(lists.image_ids)
        self.searcher = Searcher(lists, **SEARCH, threads=1)
        self._lists = [
            (lists.image_ids[low:high].astype(np.int64), lists.rows[low:high])
            for low, high in pairwise(lists.word_offsets)
        ]
        self._norms = lists.image_norms()

    def plainly(self, queries: Aggregated) -> np.ndarray:
        """Scores by the plain definition."""
        thresholds = (SEARCH["similarity_threshold"], SEARCH["alpha"])
        return np.array(
            [
                plain.search(queries.rows[a:b], queries.words[a:b], self._lists, self._norms, *thresholds, None)
                for a, b in pairwise(queries.offsets)
            ]
        )


def _nearly(theirs: np.ndarray, ours: np.ndarray) -> bool:
    """Of two words equally near within the rounding of float32 faiss may take the other: one vote of thousands."""
    return np.allclose(theirs, ours, rtol=0.01, atol=0.01 * theirs.max())


def _equal(theirs: Any, ours: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(theirs, ours, strict=True))
