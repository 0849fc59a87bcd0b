"""What is measured: for each row the plain way, our way, and a check that both give the same.

The plain side of ASMK is the definition that the tests use (``tests/unit/plain_asmk.py``): exact
quantisation by faiss, NumPy for each word of each image, Python for each entry of the inverted file.
The plain side of the store is HDF5 with a group for each image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tests.unit import plain_asmk as plain

from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.asmk import Aggregated, Searcher, aggregate, invert

DIM = 128
SEARCH = {"similarity_threshold": 0.0, "alpha": 3.0}


@dataclass(frozen=True)
class Sizes:
    """How much of everything: descriptors of an image, images, words of the two codebooks, queries, pixels."""

    descriptors: int = 1000
    images: int = 40
    words: int = 65536
    queries: int = 8
    long_images: int = 1000
    long_words: int = 4096
    kmeans_images: int = 40
    kmeans_size: int = 32768
    mutual: int = 2000
    vlad_images: int = 2000
    vlad_queries: int = 500
    stored_images: int = 1000
    image_side: int = 512


QUICK = Sizes(
    descriptors=40,
    images=6,
    words=300,
    queries=2,
    long_images=30,
    long_words=50,
    kmeans_images=10,
    kmeans_size=50,
    mutual=60,
    vlad_images=40,
    vlad_queries=5,
    stored_images=5,
    image_side=96,
)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: name of the row, fixed in the design.
        plain, ours: what is timed; both return something that ``same`` compares.
        same: whether the two results are equal.
        note: sizes.
        threads: threads of our side.
        prepare: called before each measurement of a side, not timed.
    """

    name: str
    plain: Callable[[], Any]
    ours: Callable[[], Any]
    same: Callable[[Any, Any], bool]
    note: str
    threads: int = 1
    prepare: Callable[[], None] = lambda: None


class Town:
    """Descriptors scattered around random words, as a codebook sees those of images."""

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.centroids = self._normal((sizes.words, DIM))
        self.sizes = sizes

    def images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors (N, D) of so many images, and the first descriptor of each (count + 1,)."""
        per_image = self.sizes.descriptors
        words = self.generator.integers(0, len(self.centroids), count * per_image)
        vectors = self.centroids[words] + 0.3 * self._normal((len(words), DIM))
        return vectors, np.arange(count + 1) * per_image

    def codes(self, images: int, words: int) -> Aggregated:
        """Binary codes of images that have about nine words in ten descriptors, without any descriptors."""
        chosen = [np.unique(self.generator.integers(0, words, self.sizes.descriptors)) for _ in range(images)]
        offsets = np.cumsum([0, *map(len, chosen)])
        rows = self.generator.integers(0, 256, (offsets[-1], DIM // 8), np.uint8)
        return Aggregated(rows, np.concatenate(chosen), offsets)

    def _normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.generator.standard_normal(shape, np.float32)


def all_cases(sizes: Sizes, folder: Path) -> Iterator[Case]:
    """All rows, in the order of the table; ``folder`` holds their files meanwhile."""
    from benchmarks.extract_cases import extract_cases
    from benchmarks.nearest_cases import nearest_cases
    from benchmarks.store_cases import store_cases

    town = Town(sizes)
    quantiser = NearestCentroids(town.centroids)
    yield from _aggregation(town, quantiser)
    yield from _searching(town, quantiser)
    yield from _two_threads(town, quantiser)
    yield from nearest_cases(town, sizes, folder)
    yield from store_cases(town.sizes.stored_images, town.sizes.descriptors, folder)
    yield from extract_cases(town.sizes.image_side, folder)


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
