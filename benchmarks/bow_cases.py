"""Rows of bags of words: one query over a million documents, and spatial verification."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.case import Case, Sizes
from benchmarks.plain import bow as plain
from descbench.retrieval.asmk import InvertedFile
from descbench.retrieval.bow import BowSearcher, count_words, weighted
from descbench.retrieval.geometry import Frames, QueryWords, verify
from descbench.retrieval.ranking import rank_scores

_WORDS = 65536
_KEPT = 100
_ERROR = 15.0
# Every fifth image shows the query's scene, in a quarter of its features.
_RELATED = 5


def bow_cases(sizes: Sizes) -> Iterator[Case]:
    """All rows of this module, in the order of the table."""
    yield _query(sizes.documents, sizes.document_words, sizes.descriptors)
    yield _verification(sizes.verified, sizes.frames)


def _query(documents: int, words: int, features: int) -> Case:
    random = np.random.default_rng(0)
    size = min(_WORDS, documents * words // 8)
    each = documents * words // size
    # One image in each of so many stretches of the database: lists ascend, and no image stands in one twice.
    stretch = documents // each
    images = np.arange(each, dtype=np.uint32) * np.uint32(stretch) + random.integers(
        0, stretch, (size, each), np.uint32
    )
    counts = random.integers(1, 4, (size * each, 1)).astype(np.float32)
    lists = InvertedFile(np.arange(size + 1) * each, images.ravel(), counts, 0, documents)
    idf = (np.log(documents / np.full(size, each)) ** 2).astype(np.float32)
    searcher, ids = BowSearcher(lists, idf), np.arange(documents)
    query = random.integers(0, size, features)
    found, times = np.unique(query, return_counts=True)
    asked = dict(zip(found.tolist(), times.tolist(), strict=True))
    rows = counts.reshape(size, each)
    postings = {word: list(zip(images[word].tolist(), rows[word].tolist(), strict=True)) for word in asked}
    # Lengths come from the whole index, of which the plain side has the query's lists alone.
    squares = np.bincount(images.ravel(), counts[:, 0].astype(np.float64) ** 2, documents) * float(idf[0])
    lengths = dict(enumerate(np.sqrt(squares).tolist()))
    plain_idf = np.sqrt(idf.astype(np.float64)).tolist()

    def ours() -> tuple[np.ndarray, np.ndarray]:
        scores = searcher.search(weighted(count_words(query), idf))
        best, values = rank_scores(ids, scores[None], _KEPT)
        return best[0], values[0]

    return Case(
        "bow_query",
        lambda: plain.search(asked, postings, plain_idf, lengths, _KEPT),
        ours,
        lambda theirs, found: np.allclose([score for _, score in theirs], found[1], rtol=0, atol=1e-9),
        f"{documents} documents of {words} words, {size} words in all, a query of {features}, the {_KEPT} best",
    )


def _verification(images: int, features: int) -> Case:
    random = np.random.default_rng(1)
    query, words = _draw(random, features), random.integers(0, _WORDS, features)
    others = []
    for number in range(images):
        frames, theirs = _draw(random, features), random.integers(0, _WORDS, features)
        shared = features // 4 if number % _RELATED == 0 else 0
        theirs[:shared] = words[:shared]
        frames.points[:shared] = 1.2 * query.points[:shared] + 30
        frames.sizes[:shared], frames.angles[:shared] = 1.2 * query.sizes[:shared], query.angles[:shared]
        others.append((frames, theirs))
    plain_words = [(frames, theirs.tolist()) for frames, theirs in others]

    def plainly() -> list[list[tuple[int, int]]]:
        asked = words.tolist()
        return [
            plain.inliers(query, frames, plain.correspondences(asked, theirs), _ERROR) for frames, theirs in plain_words
        ]

    def ours() -> list[np.ndarray]:
        asked = QueryWords(words[:, None])
        return [verify(query, frames, asked.correspondences(theirs), _ERROR).pairs for frames, theirs in others]

    def same(theirs: list[list[tuple[int, int]]], found: list[np.ndarray]) -> bool:
        return all(pairs == list(map(tuple, ours.tolist())) for pairs, ours in zip(theirs, found, strict=True))

    note = f"{images} images of {features} features, {_WORDS} words, every fifth of the query's scene"
    return Case("verify_geometry", plainly, ours, same, note)


def _draw(random: np.random.Generator, features: int) -> Frames:
    return Frames(
        random.uniform(0, 1000, (features, 2)), random.uniform(3, 30, features), random.uniform(0, 2 * np.pi, features)
    )
